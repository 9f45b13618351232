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
        write!(errors, "error: there is no code `{}`", args.code)?;
        if let Some(name) = closest(&args.code, Code::ALL.iter().map(|code| code.name())) {
            write!(errors, "; did you mean `{name}`?")?;
        }
        writeln!(errors)?;
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
