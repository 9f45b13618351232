//! What everybody said: counts, and the differences with their reasons.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use nwfilter_ctl::{
    model::{Action, Attr, Direction, Protocol},
    resolve::Instance,
};

use super::{
    Batch, Reason,
    reason::Difference,
    run::{LIBVIRT, Versions},
};
use crate::{
    generate::Sent,
    judge::{Decision, Verdict},
};

/// What is said of one frame.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether libvirt lets it pass.
    pub libvirt: bool,
    /// The judge's decision.
    pub judge: Decision,
    /// The engine's, or why the compiler refuses the rules.
    pub engine: Result<Decision, String>,
}

/// A frame of a row, and what is said of it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) row: usize,
    pub(super) sent: Sent,
    pub(super) said: Said,
}

/// Counts of frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Rules that were asked about.
    pub rules: usize,
    /// Verdicts of libvirt.
    pub verdicts: usize,
    /// Those that let a frame pass.
    pub passed: usize,
    /// Those that the judge agrees with.
    pub judge: usize,
    /// Those that the engine was asked about, too.
    pub asked: usize,
    /// Those that the engine agrees with.
    pub engine: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.rules += other.rules;
        self.verdicts += other.verdicts;
        self.passed += other.passed;
        self.judge += other.judge;
        self.asked += other.asked;
        self.engine += other.engine;
    }
}

/// Differences of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    pub(super) count: usize,
    /// The first.
    pub(super) example: String,
}

/// A cell of the matrix.
pub(super) type Cell = (&'static str, &'static str, &'static str);

/// Everything that was said.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) versions: Versions,
    /// All frames.
    pub all: Count,
    pub(super) batches: Vec<(&'static str, Count)>,
    pub(super) elements: BTreeMap<(Protocol, Option<Attr>), Count>,
    /// By kind of rule, action and direction.
    pub(super) matrix: BTreeMap<Cell, Count>,
    pub(super) explained: BTreeMap<Reason, Explained>,
    /// Differences that nothing explains.
    pub unexplained: Vec<String>,
    /// Rows that tell nothing: all their frames pass, or none does.
    pub idle: Vec<String>,
    /// Why the compiler refuses rules, and how many frames have no engine's verdict therefore.
    pub(super) refused: BTreeMap<String, usize>,
}

impl Report {
    /// The reasons that explain nothing.
    pub fn unused(&self) -> Vec<Reason> {
        let unused = |reason: &Reason| !self.explained.contains_key(reason);
        Reason::ALL.into_iter().filter(unused).collect()
    }

    pub(super) fn add(&mut self, batch: &Batch, answers: &[Answer]) -> Result<()> {
        let instances = batch.case().resolve(LIBVIRT)?;
        let mut total = Count::default();
        let mut rule = 0;
        for (number, row) in batch.rows.iter().enumerate() {
            let own = rule..rule + row.rules.len() as u32;
            rule = own.end;
            let is_own = |instance: &&Instance| {
                row.rules.is_empty()
                    || &*instance.origin.filter == "main" && own.contains(&instance.origin.rule)
            };
            let rules: Vec<&Instance> = instances.iter().filter(is_own).collect();
            let start = answers.partition_point(|answer| answer.row < number);
            let end = answers.partition_point(|answer| answer.row <= number);
            let answers = &answers[start..end];

            let mut count = Count {
                rules: row.rules.len(),
                ..Count::default()
            };
            for last in 1..=answers.len() {
                let difference = Difference {
                    instances: &instances,
                    rules: &rules,
                    row,
                    tracked: batch.tracked,
                    answers: &answers[..last],
                };
                count.add(self.count(batch, &difference));
            }
            let accepts = |answer: &Answer| answer.said.judge.verdict == Verdict::Accept;
            if answers.iter().all(accepts) || !answers.iter().any(accepts) {
                self.idle.push(describe(batch, &rules, answers.last()));
            }
            let mut keys: Vec<(Protocol, Option<Attr>)> = rules
                .iter()
                .flat_map(|rule| {
                    let attrs = rule.tests.iter().map(|test| Some(test.attr));
                    let all = std::iter::once(None).chain(attrs);
                    all.map(|attr| (rule.protocol, attr))
                })
                .collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                self.elements.entry(key).or_default().add(count);
            }
            if let (true, [rule]) = (batch.name.starts_with("matrix"), &rules[..]) {
                let cell = (batch.name, action(rule.action), direction(rule.direction));
                self.matrix.entry(cell).or_default().add(count);
            }
            total.add(count);
        }
        self.all.add(total);
        self.batches.push((batch.name, total));
        Ok(())
    }

    /// Looks at the last answer.
    fn count(&mut self, batch: &Batch, difference: &Difference<'_>) -> Count {
        let Some(answer) = difference.answers.last() else {
            return Count::default();
        };
        let Said {
            libvirt,
            judge,
            engine,
        } = &answer.said;
        let agrees = |decision: &Decision| (decision.verdict == Verdict::Accept) == *libvirt;
        let count = Count {
            rules: 0,
            verdicts: 1,
            passed: usize::from(*libvirt),
            judge: usize::from(agrees(judge)),
            asked: usize::from(engine.is_ok()),
            engine: usize::from(engine.as_ref().is_ok_and(agrees)),
        };
        let text = || describe(batch, difference.rules, Some(answer));
        match engine {
            Ok(engine) if engine != judge => {
                self.unexplained
                    .push(format!("judge and engine: {}", text()));
            }
            Ok(_) => {}
            Err(why) => *self.refused.entry(why.clone()).or_default() += 1,
        }
        if !agrees(judge) {
            match Reason::of(difference) {
                Some(reason) => {
                    let explained = self.explained.entry(reason).or_default();
                    explained.count += 1;
                    if explained.count == 1 {
                        explained.example = text();
                    }
                }
                None => self.unexplained.push(text()),
            }
        }
        count
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Drop => "drop",
        Action::Reject => "reject",
        Action::Return => "return",
        Action::Continue => "continue",
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::InOut => "inout",
    }
}

/// Rules, frame and verdicts.
fn describe(batch: &Batch, rules: &[&Instance], answer: Option<&Answer>) -> String {
    let mut text = format!("{}\n", batch.name);
    let Some(Answer { row, sent, said }) = answer else {
        return text;
    };
    // Writing to a String does not fail.
    match &batch.rows[*row].rules[..] {
        [] => {
            let filter = rules.first().map(|rule| rule.origin.filter.clone());
            let _ = writeln!(text, "row {row}, {filter:?}");
        }
        rules => {
            for rule in rules {
                let _ = writeln!(text, "{rule}");
            }
        }
    }
    let _ = write!(text, "{:?} ", sent.direction);
    for byte in &sent.bytes {
        let _ = write!(text, "{byte:02x}");
    }
    let passes = |passes: bool| if passes { "passes" } else { "is dropped" };
    let why = |decision: &Decision| {
        let passes = passes(decision.verdict == Verdict::Accept);
        let cause = match &decision.cause {
            crate::judge::Cause::Rule(origin) => {
                format!("by rule {} of {}", origin.rule, origin.filter)
            }
            crate::judge::Cause::EndOfChain(chain) => format!("at the end of chain {chain}"),
            crate::judge::Cause::EndOfLayer => "at the end of the layer".to_owned(),
            crate::judge::Cause::Missing => "because a header is missing".to_owned(),
        };
        format!("{passes} {cause} ({:?} layer)", decision.layer)
    };
    let Said {
        libvirt,
        judge,
        engine,
    } = said;
    let _ = writeln!(text, "\nlibvirt: {}", passes(*libvirt));
    let _ = writeln!(text, "judge: {}", why(judge));
    if let Ok(engine) = engine {
        let _ = writeln!(text, "engine: {}", why(engine));
    }
    text
}
