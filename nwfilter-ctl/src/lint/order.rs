//! Lints that look at the order of a filter's rules: rules that no frame gets to, and what becomes
//! of frames that no rule decides.

use std::collections::HashMap;

use super::{
    cover::hides,
    view::{is_catch_all, is_final, is_inet, rules, tests},
};
use crate::{
    diag::{Code, Diagnostic},
    model::{Action, Direction, Entry, Family, Filter, Rule},
};

/// Each rule is compared with so many wider ones at most.
const MAX_WIDE: usize = 64;
/// A rule with more tests than this is only compared with its twins.
const MAX_TESTS: usize = 4;

/// The rules of one layer in the order in which frames see them.
fn in_order(filter: &Filter, inet: bool) -> Vec<&Rule> {
    let mut list: Vec<_> = rules(filter).filter(|rule| is_inet(rule) == inet).collect();
    list.sort_by_key(|rule| rule.priority);
    list
}

/// Rules that stand behind a rule that decides everything that they match.
pub(super) fn hidden(filter: &Filter, found: &mut Vec<Diagnostic>) {
    for inet in [false, true] {
        let mut wide: Vec<&Rule> = Vec::new();
        let mut twins: HashMap<String, &Rule> = HashMap::new();
        for rule in in_order(filter, inet) {
            let key = key(rule);
            let twin = twins.get(&key).copied().filter(|twin| hides(twin, rule));
            let hiding = twin.or_else(|| wide.iter().copied().find(|wide| hides(wide, rule)));
            if let Some(hiding) = hiding {
                found.push(report(hiding, rule));
                continue;
            }
            if !is_final(rule) {
                continue;
            }
            twins.entry(key).or_insert(rule);
            if tests(rule).count() <= MAX_TESTS && wide.len() < MAX_WIDE {
                wide.push(rule);
            }
        }
    }
}

/// Equal for rules with the same tests in the same direction.
fn key(rule: &Rule) -> String {
    use std::fmt::Write;
    let mut key = format!("{} {:?}", rule.protocol, rule.direction);
    for test in tests(rule) {
        // Writing to a string cannot fail.
        let _ = write!(key, " {}{}{:?}", test.attr, test.negated, test.value);
    }
    key
}

fn report(hiding: &Rule, hidden: &Rule) -> Diagnostic {
    let message = format!(
        "no frame gets to this rule: the rule in line {} hides it",
        hiding.line
    );
    let found = Diagnostic::new(Code::HiddenRule, hidden.span, message).also(
        hiding.span,
        "matches everything that the other rule matches",
    );
    if hiding.priority < hidden.priority || hiding.span.start < hidden.span.start {
        found
    } else {
        found.help("rules are tried by priority, then in the order of the document")
    }
}

/// What becomes of frames that no rule decides.
pub(super) fn ends(filter: &Filter, found: &mut Vec<Diagnostic>) {
    let ethernet = in_order(filter, false);
    if filter.chain != "root" {
        found.extend(chain_end(filter, &ethernet));
    } else if !has_references(filter) {
        found.extend(no_catch_all(
            &ethernet,
            "frame",
            "<rule action='drop' direction='inout'/>",
        ));
    }
    if has_references(filter) {
        return;
    }
    let inet = in_order(filter, true);
    for (family, packet, element) in [
        (Family::V4, "IPv4 packet", "all"),
        (Family::V6, "IPv6 packet", "all-ipv6"),
    ] {
        let list: Vec<_> = inet
            .iter()
            .copied()
            .filter(|rule| rule.protocol.family() == Some(family))
            .collect();
        let help = format!("<rule action='drop' direction='inout'><{element}/></rule>");
        found.extend(no_catch_all(&list, packet, &help));
    }
}

/// Another filter may hold the catch-all.
fn has_references(filter: &Filter) -> bool {
    filter
        .entries
        .iter()
        .any(|entry| matches!(entry, Entry::Reference(_)))
}

/// Accepting something says that something else is not to pass.
fn no_catch_all(ordered: &[&Rule], what: &str, help: &str) -> Option<Diagnostic> {
    let accepts = ordered.iter().any(|rule| rule.action == Action::Accept);
    let stops = ordered
        .iter()
        .any(|rule| matches!(rule.action, Action::Drop | Action::Reject) && is_catch_all(rule));
    let all_pass = ordered
        .iter()
        .any(|rule| rule.action == Action::Accept && is_catch_all(rule));
    let last = ordered.last()?;
    (accepts && !stops && !all_pass).then(|| {
        let message = format!("every {what} that no rule decides passes");
        Diagnostic::new(Code::NoCatchAll, last.span, message)
            .label("this is the last rule")
            .help(format!("to drop the rest, end with `{help}`"))
    })
}

/// The end of a chain accepts, and the root chain's remaining rules are not asked.
fn chain_end(filter: &Filter, ordered: &[&Rule]) -> Option<Diagnostic> {
    let open = |direction: Direction| {
        let concerns =
            |rule: &&&Rule| rule.direction == direction || rule.direction == Direction::InOut;
        let mut concerned = ordered.iter().filter(concerns).peekable();
        concerned.peek().is_some()
            && ordered
                .iter()
                .filter(concerns)
                .all(|rule| !(is_catch_all(rule) && is_final(rule)))
            && ordered
                .iter()
                .filter(concerns)
                .any(|rule| rule.action != Action::Accept)
    };
    let way = match (open(Direction::In), open(Direction::Out)) {
        (true, true) => "",
        (true, false) => " to the VM",
        (false, true) => " from the VM",
        (false, false) => return None,
    };
    let last = ordered.last()?;
    let message = format!(
        "frames{way} that reach the end of chain `{}` are accepted",
        filter.chain
    );
    Some(
        Diagnostic::new(Code::ChainEndAccepts, last.span, message)
            .label(
                "this is the chain's last rule in this filter; rules of the root chain that \
                    follow are not asked",
            )
            .help(
                "end the chain with a rule without an element: `return` goes back to the root \
                   chain",
            ),
    )
}
