//! The page of results: sections that begin with `## `, each of one measurement.

/// What every page begins with.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench --write docs/benchmarks.md`, as a whole or, with a name after `bench`, section by section;
do not edit. What counts are ratios within one section, which is one run.

";

/// The page with these sections in place of those of the same title, or behind the others.
pub(crate) fn merge(before: &str, measured: &[String]) -> String {
    let mut sections: Vec<&str> = split(before);
    for new in measured.iter().flat_map(|text| split(text)) {
        match sections.iter_mut().find(|old| title(old) == title(new)) {
            Some(old) => *old = new,
            None => sections.push(new),
        }
    }
    let sections = sections.iter().map(|section| section.trim_end());
    format!("{HEAD}{}\n", sections.collect::<Vec<_>>().join("\n\n"))
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
        let first = merge("", &["## A\n\none\n\n".into(), "## B\n\ntwo\n".into()]);
        assert_eq!(first, format!("{HEAD}## A\n\none\n\n## B\n\ntwo\n"));
        let second = merge(&first, &["## A\n\n### sub\n".into(), "## C\n".into()]);
        assert_eq!(
            second,
            format!("{HEAD}## A\n\n### sub\n\n## B\n\ntwo\n\n## C\n")
        );
    }
}
