//! The catalogue: rules of every element with every attribute in both signs and all directions, the
//! whole matrix of 4.6, chains, and ways of connections.

mod chains;
mod connections;
mod ethernet;
mod fragments;
mod inet;
mod matrix;
mod packets;
mod sets;
mod silent;
mod talk;

use super::{
    Batch, Row,
    ends::{Ends, Side},
};
use crate::{generate::Sent, judge::FrameDirection};

/// Everything there is to ask.
pub fn catalogue() -> Vec<Batch> {
    let mut batches = ethernet::batches();
    batches.extend(inet::batches());
    batches.extend(matrix::batches());
    batches.extend(sets::batches());
    batches.extend(chains::batches());
    batches.extend(silent::batches());
    batches.extend(connections::batches());
    batches
}

/// Every fifth row of each batch, which is something of everything: there are two, three or nine of
/// whatever rows alternate between.
pub fn sample(mut catalogue: Vec<Batch>) -> Vec<Batch> {
    for batch in &mut catalogue {
        let mut number = 0;
        batch.rows.retain(|_| {
            number += 1;
            number % 5 == 1
        });
    }
    catalogue
}

/// Both directions of frames.
const BOTH: [FrameDirection; 2] = [FrameDirection::Out, FrameDirection::In];

/// The directions of rules, and where their "source" is: `inout` is written from the receiver's side.
const DIRECTIONS: [(&str, Side); 3] =
    [("out", Side::Vm), ("in", Side::Peer), ("inout", Side::Peer)];

/// Tests that a rule makes.
#[derive(Clone, Copy, Debug)]
struct Tests {
    /// Attributes that are never negated: what `tested` needs beside it.
    fixed: &'static str,
    /// The attributes in question.
    tested: &'static str,
    /// Whether they can be negated.
    negatable: bool,
}

/// Attributes in both signs.
const fn tests(tested: &'static str) -> Tests {
    Tests {
        fixed: "",
        tested,
        negatable: true,
    }
}

/// Attributes that cannot be negated, or whose sign says nothing.
const fn positive(tested: &'static str) -> Tests {
    Tests {
        fixed: "",
        tested,
        negatable: false,
    }
}

/// Attributes that need others beside them.
const fn beside(fixed: &'static str, tested: &'static str) -> Tests {
    Tests {
        fixed,
        tested,
        negatable: true,
    }
}

/// A rule that drops what the element, `own` (which keeps it to the frames of its row) and the tests
/// match.
fn rule(element: &str, direction: &str, own: &str, tests: Tests, negated: bool) -> String {
    let Tests { fixed, tested, .. } = tests;
    let elements = if negated {
        format!("<{element} {own} {fixed}/><{element} match='no' {tested}/>")
    } else {
        format!("<{element} {own} {fixed} {tested}/>")
    };
    format!("<rule action='drop' direction='{direction}'>{elements}</rule>")
}

/// For each of the tests, in either sign and for each direction, a row with these frames. `own`
/// chooses the attributes that keep a rule to its row.
fn rows(
    element: &str,
    all: &[Tests],
    directions: &[(&str, Side)],
    own: impl Fn(&Tests) -> &'static str,
    frames: impl Fn(Ends) -> Vec<Sent>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for tests in all {
        for negated in [false, true] {
            if negated && !tests.negatable {
                continue;
            }
            for (direction, source) in directions {
                let ends = Ends(rows.len() as u16);
                let rule = rule(element, direction, own(tests), *tests, negated);
                rows.push(Row {
                    rules: vec![ends.fill(&rule, *source)],
                    frames: frames(ends),
                });
            }
        }
    }
    rows
}
