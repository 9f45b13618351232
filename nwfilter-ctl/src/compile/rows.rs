//! Bit rows: a state of up to 64 rules about ranges of fields as one node. Whether a state gets one is up
//! to `tree`; what the datapath does with it is in `rows.rs` there.

use nwfilter_common::{Field, MAX_ROW_FIELDS, ROW_KEYS, ROW_RULES};

use super::{
    diagram::{Node, Rows},
    rule::Condition,
    set::ValueSet,
    state::{List, Pending, Windows},
};

/// The node of a state, for values in these windows; `None` if there are too many rules, fields or
/// bounds, or tests of something else than fields.
pub(super) fn node(list: &List<'_>, state: &[Pending], windows: &Windows) -> Option<Node> {
    let rules = state.len() - 1;
    if rules > ROW_RULES {
        return None;
    }
    let mut tests: Vec<(Field, Vec<(usize, &ValueSet)>)> = Vec::new();
    for (i, &pending) in state.iter().enumerate() {
        for condition in list.open_conditions(pending) {
            let Condition::In(field, set) = condition else {
                return None;
            };
            match tests.iter_mut().find(|(of, _)| of == field) {
                Some((_, tests)) => tests.push((i, set)),
                None => tests.push((*field, vec![(i, set)])),
            }
        }
    }
    if tests.len() > MAX_ROW_FIELDS {
        return None;
    }
    tests.sort_unstable_by_key(|(field, _)| *field);
    // Bits of all rules, and of "none", which is last.
    let all = u64::MAX >> (ROW_RULES - 1).saturating_sub(rules);
    let fields: Option<Vec<Rows>> = tests
        .iter()
        .map(|(field, tests)| {
            let window = windows.of(*field);
            let mut bounds: Vec<u64> = tests
                .iter()
                .flat_map(|(_, set)| window.bounds_of(set))
                .collect();
            bounds.sort_unstable();
            bounds.dedup();
            let row = |value: &u64| {
                let fails = tests.iter().filter(|(_, set)| !set.contains(*value));
                fails.fold(all, |row, (rule, _)| row & !(1 << rule))
            };
            let rows = [window.first].iter().chain(&bounds).map(row).collect();
            (bounds.len() <= ROW_KEYS).then_some(Rows {
                field: *field,
                bounds,
                rows,
            })
        })
        .collect();
    let matched = |pending: &Pending| {
        list.target(Pending {
            open: 0,
            ..*pending
        })
    };
    Some(Node::Rows(fields?, state.iter().map(matched).collect()))
}
