//! Cases as text: the documents as they are, then one line per frame with direction, seconds since
//! the first frame, and hex. What a failing test prints can be kept in a file and read back.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error, Result, bail, ensure};
use nwfilter_ctl::{model::Semantics, parse::parse_filter};

use super::{Case, FilterText, Sent};
use crate::judge::FrameDirection;

const SECOND: u64 = 1_000_000_000;

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.filters {
            f.write_str(&filter.xml)?;
        }
        f.write_str(&self.binding)?;
        let start = self.frames.first().map_or(0, |frame| frame.now);
        for frame in &self.frames {
            let direction = match frame.direction {
                FrameDirection::In => "in",
                FrameDirection::Out => "out",
            };
            write!(f, "{direction} {} ", (frame.now - start) / SECOND)?;
            for byte in &frame.bytes {
                write!(f, "{byte:02x}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

/// As [`Display`](fmt::Display): proptest shows a failing case this way.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl FromStr for Case {
    type Err = Error;

    /// The inverse of [`Display`](fmt::Display), except that the first frame comes at second 1,000.
    /// Empty lines and lines that begin with `#` are skipped outside documents.
    fn from_str(text: &str) -> Result<Self> {
        let mut case = Self {
            filters: Vec::new(),
            binding: String::new(),
            frames: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let number = number + 1;
            let end = if line.starts_with("<filterbinding") {
                "</filterbinding>"
            } else if line.starts_with("<filter") {
                "</filter>"
            } else if line.is_empty() || line.starts_with('#') {
                continue;
            } else {
                let frame = frame(line).with_context(|| format!("line {number}"))?;
                case.frames.push(frame);
                continue;
            };
            let mut xml = format!("{line}\n");
            while !xml.contains(end) {
                let Some((_, line)) = lines.next() else {
                    bail!("line {number}: the document has no end; expected `{end}`");
                };
                xml.push_str(line);
                xml.push('\n');
            }
            if end == "</filterbinding>" {
                case.binding = xml;
            } else {
                let (filter, found) = parse_filter(&xml, Semantics::Strict);
                let filter = filter.with_context(|| format!("line {number}: {found:#?}"))?;
                case.filters.push(FilterText {
                    name: filter.name,
                    xml,
                });
            }
        }
        ensure!(!case.binding.is_empty(), "there is no <filterbinding>");
        Ok(case)
    }
}

fn frame(line: &str) -> Result<Sent> {
    let words: Vec<&str> = line.split(' ').collect();
    let [direction, seconds, hex] = words[..] else {
        bail!("expected direction, seconds and hex, found `{line}`");
    };
    let direction = match direction {
        "in" => FrameDirection::In,
        "out" => FrameDirection::Out,
        other => bail!("expected `in` or `out`, found `{other}`"),
    };
    let seconds: u64 = seconds
        .parse()
        .with_context(|| format!("seconds `{seconds}`"))?;
    ensure!(
        hex.is_ascii() && hex.len() % 2 == 0,
        "expected pairs of hexadecimal digits"
    );
    let bytes = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).context("expected hexadecimal digits"))
        .collect::<Result<_>>()?;
    let now = seconds
        .checked_add(1000)
        .and_then(|seconds| seconds.checked_mul(SECOND));
    Ok(Sent {
        direction,
        bytes,
        now: now.context("too late")?,
    })
}
