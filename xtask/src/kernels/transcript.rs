//! What a guest writes while its tests run, and what follows from it. Everything is output of test
//! programs but for what begins with [`MARK`]: those are the lines of the guest's first program.

use super::series::Series;

/// Begins what is not output of a test.
pub(crate) const MARK: &str = "nwfilter-guest:";

/// What a guest has said so far.
#[derive(Default)]
pub(crate) struct Transcript {
    /// What `uname -r` says.
    release: String,
    /// The suite that runs, and how many of its tests have passed.
    running: Option<(String, u64)>,
    /// Suites that have ended.
    ended: Vec<String>,
    passed: u64,
    findings: Vec<String>,
    complete: bool,
}

/// What has become of a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) release: String,
    /// How many tests have passed.
    pub(crate) passed: u64,
    /// What was not as it should be.
    pub(crate) findings: Vec<String>,
}

impl Transcript {
    /// Takes in a line without its end; returns what of it tests have written.
    pub(crate) fn line<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        // What a test has written last may have no end of line.
        let (output, mark) = match line.split_once(MARK) {
            Some((output, mark)) => ((!output.is_empty()).then_some(output), Some(mark)),
            None => (Some(line), None),
        };
        if let Some(output) = output
            && let Some((_, passed)) = &mut self.running
        {
            *passed += passed_tests(output);
        }
        if let Some(mark) = mark {
            self.mark(mark.trim());
        }
        output
    }

    fn mark(&mut self, mark: &str) {
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        match word {
            "kernel" => rest.clone_into(&mut self.release),
            "begin" => self.running = Some((rest.to_owned(), 0)),
            "end" => self.end(rest),
            "done" => self.complete = true,
            _ => self.findings.push(mark.to_owned()),
        }
    }

    fn end(&mut self, status: &str) {
        let Some((suite, passed)) = self.running.take() else {
            self.findings
                .push("a suite ends that has not begun".to_owned());
            return;
        };
        self.passed += passed;
        if status != "0" {
            self.findings
                .push(format!("suite `{suite}` failed with status {status}"));
        } else if passed == 0 {
            self.findings.push(format!("suite `{suite}` has no test"));
        }
        self.ended.push(suite);
    }

    /// Judges a guest of a series after its end, which was to run suites.
    pub(crate) fn judge<'a>(
        mut self,
        series: Series,
        suites: impl IntoIterator<Item = &'a str>,
    ) -> Outcome {
        if !self.complete {
            let place = match (&self.running, self.release.is_empty()) {
                (Some((suite, _)), _) => format!("it was in suite `{suite}`"),
                (None, true) => "its kernel did not start".to_owned(),
                (None, false) => "it was between suites".to_owned(),
            };
            self.findings
                .push(format!("the guest did not reach its end: {place}"));
        } else if !self.release.starts_with(&format!("{series}.")) {
            self.findings
                .push(format!("it was kernel `{}`", self.release));
        }
        for suite in suites {
            if self.complete && !self.ended.iter().any(|ended| ended == suite) {
                self.findings.push(format!("suite `{suite}` did not run"));
            }
        }
        Outcome {
            release: self.release,
            passed: self.passed,
            findings: self.findings,
        }
    }
}

/// What the last line of Rust's test programs says: `test result: ok. 3 passed; 0 failed; ...`.
fn passed_tests(line: &str) -> u64 {
    let number = || {
        let (_, result) = line.strip_prefix("test result: ")?.split_once(". ")?;
        result.split_once(" passed;")?.0.parse().ok()
    };
    number().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str =
        "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out";

    fn judge(lines: &[&str]) -> Outcome {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.line(&line.replace('@', MARK));
        }
        transcript.judge(Series::new(6, 1), ["a", "b"])
    }

    #[test]
    fn a_guest_that_ran_everything_has_nothing_to_find() {
        let outcome = judge(&[
            "@ kernel 6.1.0-56-cloud-amd64",
            "@ begin a",
            RESULT,
            "@ end 0",
            "@ begin b",
            RESULT,
            RESULT,
            "@ end 0",
            "@ done",
        ]);
        let expected = Outcome {
            release: "6.1.0-56-cloud-amd64".to_owned(),
            passed: 9,
            findings: Vec::new(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn what_goes_wrong_is_found() {
        let whole = [
            "@ kernel 6.1.0-56",
            "@ begin a",
            RESULT,
            "@ end 0",
            "@ begin b",
            RESULT,
            "@ end 0",
            "@ done",
        ];
        let cases: [(usize, &str, &str); 7] = [
            (0, "@ kernel 6.12.1", "it was kernel `6.12.1`"),
            (3, "@ end 101", "suite `a` failed with status 101"),
            (
                2,
                "test result: ok. 0 passed; 0 failed;",
                "suite `a` has no test",
            ),
            (5, "nothing", "suite `b` has no test"),
            (4, "@ begin c", "suite `b` did not run"),
            (1, "@ cannot load veth", "cannot load veth"),
            (
                7,
                "",
                "the guest did not reach its end: it was between suites",
            ),
        ];
        for (position, line, finding) in cases {
            let mut lines = whole;
            lines[position] = line;
            let findings = judge(&lines).findings;
            assert!(
                findings.contains(&finding.to_owned()),
                "{line}: {findings:?}"
            );
        }
        let unfinished = |lines| judge(lines).findings;
        let end = "the guest did not reach its end:";
        assert_eq!(unfinished(&[]), [format!("{end} its kernel did not start")]);
        assert_eq!(
            unfinished(&whole[..3]),
            [format!("{end} it was in suite `a`")]
        );
    }

    #[test]
    fn only_what_tests_wrote_is_output() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.line(&format!("{MARK} begin a")), None);
        assert_eq!(transcript.line("test x ... ok"), Some("test x ... ok"));
        assert_eq!(transcript.line(""), Some(""));
        assert_eq!(
            transcript.line(&format!("half a line{MARK} end 139")),
            Some("half a line")
        );
        assert!(transcript.running.is_none());
    }
}
