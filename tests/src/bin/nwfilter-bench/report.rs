//! The page of results: sections that begin with `## `, each of one measurement. In each stands
//! beside every budget whether it was [`kept`]; the head of the page counts.

use std::fmt::Write as _;

/// What every page begins with.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --write docs/benchmarks.md`, as a whole or, with a name after `bench`, section by section;
do not edit. What counts are ratios within one section, which is one run. Program and eBPF object are built for release.

";

const MET: &str = "**met**";
const MISSED: &str = "**missed**";

/// Whether a budget is, as the page says it.
pub(crate) const fn kept(is_kept: bool) -> &'static str {
    if is_kept { MET } else { MISSED }
}

/// A budget that is a ratio, as a line of a list.
pub(crate) fn at_most(limit: f64, what: &str, measured: f64) -> String {
    let kept = kept(measured <= limit);
    format!("* Budget {kept}: {what}: at most {limit}, measured {measured:.2}\n")
}

/// The same for a ratio that is to be large.
pub(crate) fn at_least(limit: f64, what: &str, measured: f64) -> String {
    let kept = kept(measured >= limit);
    format!("* Budget {kept}: {what}: at least {limit}, measured {measured:.2}\n")
}

/// Sections with a line below each title that says when and where they were measured.
pub(crate) fn stamped(measured: &str, stamp: &str) -> String {
    let stamped = split(measured).into_iter().map(|section| {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        format!("{title}\n\n*{stamp}.*\n{text}")
    });
    stamped.collect()
}

/// The page with these sections in place of those of the same title, or behind the others.
pub(crate) fn merge(before: &str, measured: &[String], stamp: &str) -> String {
    let mut sections: Vec<&str> = split(before);
    for new in measured.iter().flat_map(|text| split(text)) {
        match sections.iter_mut().find(|old| title(old) == title(new)) {
            Some(old) => *old = new,
            None => sections.push(new),
        }
    }
    let mut page = format!("{HEAD}Latest run: {stamp}.\n\n{}", budgets(&sections));
    for section in sections {
        // Writing to a String does not fail.
        let _ = writeln!(page, "\n{}", section.trim_end());
    }
    page
}

/// How many budgets are met, and where they are not.
fn budgets(sections: &[&str]) -> String {
    let count = |what| {
        let count = |section: &&str| section.matches(what).count();
        sections.iter().map(count).sum::<usize>()
    };
    let mut text = format!("Budgets: {} met, {} missed.\n", count(MET), count(MISSED));
    for section in sections {
        let missed = section.matches(MISSED).count();
        if missed > 0 {
            let title = title(section).unwrap_or_default().trim_start_matches("## ");
            let _ = writeln!(text, "* {title}: {missed} missed");
        }
    }
    text
}

fn title(section: &str) -> Option<&str> {
    section.lines().next()
}

/// The sections of a page, without what is before the first.
fn split(page: &str) -> Vec<&str> {
    let starts = page.match_indices("## ").map(|(start, _)| start);
    let starts: Vec<usize> = starts
        .filter(|start| *start == 0 || page[..*start].ends_with('\n'))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([page.len()]);
    let sections = starts.iter().zip(ends);
    sections.map(|(start, end)| &page[*start..end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_namesake() {
        let first = merge("", &["## A\n\none\n\n".into(), "## B\n\ntwo\n".into()], "x");
        let head = |stamp| format!("{HEAD}Latest run: {stamp}.\n\nBudgets: 0 met, 0 missed.\n");
        assert_eq!(first, head("x") + "\n## A\n\none\n\n## B\n\ntwo\n");
        let second = merge(&first, &["## A\n\n### sub\n".into(), "## C\n".into()], "y");
        let sections = "\n## A\n\n### sub\n\n## B\n\ntwo\n\n## C\n";
        assert_eq!(second, head("y") + sections);
    }

    #[test]
    fn a_stamp_stands_below_each_title() {
        let text = stamped("## A\n\none\n\n## B\n\ntwo\n\n", "then");
        assert_eq!(text, "## A\n\n*then.*\n\none\n\n## B\n\n*then.*\n\ntwo\n\n");
    }

    #[test]
    fn the_head_counts_the_budgets_of_all_sections() {
        let speed = at_most(2.0, "frames", 2.1) + &at_least(3.0, "ports", 3.0);
        assert_eq!(
            speed,
            "* Budget **missed**: frames: at most 2, measured 2.10\n\
             * Budget **met**: ports: at least 3, measured 3.00\n"
        );
        let before = merge("", &[format!("## Speed\n\n{speed}")], "x");
        let page = merge(&before, &[format!("## Size\n\n{}\n", kept(true))], "x");
        let head = "Budgets: 2 met, 1 missed.\n* Speed: 1 missed\n\n## Speed\n";
        assert!(page.contains(head), "{page}");
    }
}
