//! `nwfilter-ctl explain-code`: what a finding means.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{Global, Outcome};
use crate::diag::{Code, closest};

/// Explain a code that `check` prints, with an example
#[derive(Args, Clone, Debug)]
pub struct ExplainCodeArgs {
    /// A code such as NWF0021, or its name such as illegal-value
    #[arg(value_name = "CODE")]
    pub code: String,
}

/// Prints the explanation.
///
/// # Errors
/// `out` or `errors` cannot be written to.
pub fn run(
    args: &ExplainCodeArgs,
    global: &Global,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<Outcome> {
    let Some(code) = Code::find(&args.code) else {
        let names = Code::ALL.iter().map(|code| code.name());
        let meant = closest(&args.code, names)
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let text = format!("there is no code `{}`{meant}", args.code);
        writeln!(errors, "error: {text}")?;
        if global.json {
            writeln!(out, "{}", json!({ "schema": 1, "error": text }))?;
        }
        return Ok(Outcome::Failed);
    };
    let severity = code.severity().as_str();
    if global.json {
        let document = json!({
            "schema": 1,
            "code": code.id(),
            "name": code.name(),
            "severity": severity,
            "title": code.title(),
            "explanation": code.explanation(),
        });
        writeln!(out, "{document:#}")?;
        return Ok(Outcome::Done);
    }
    writeln!(
        out,
        "{code} ({}), {severity}: {}\n",
        code.name(),
        code.title()
    )?;
    out.write_all(code.explanation().as_bytes())?;
    Ok(Outcome::Done)
}
