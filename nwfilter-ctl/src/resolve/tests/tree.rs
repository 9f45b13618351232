//! The walk over references, and every limit.

use super::{Filters, top};
use crate::model::Semantics;
use crate::resolve::{LimitKind, Limits, ResolveError, SourceError};

/// The lines of all instances.
fn lines(filters: &Filters) -> Vec<String> {
    let resolved = filters.resolve("", Semantics::Strict).unwrap();
    resolved.instances.iter().map(ToString::to_string).collect()
}

#[test]
fn depth_first_in_document_order_with_the_own_chain_and_priority() {
    let filters = top("out accept 1\nref a\nout accept 2\nref b\nout accept 3")
        .chain("a", "ipv4", -700, "ref c\nout drop 4")
        .chain("b", "arp-x", -5, "out drop 5\nref c")
        .chain("c", "mac", -800, "\nout return 6");
    assert_eq!(
        lines(&filters),
        [
            "top:1 root 1 out accept none",
            "c:2 mac(-800) 6 out return none",
            "a:2 ipv4(-700) 4 out drop none",
            "top:3 root 2 out accept none",
            "b:1 arp-x(-5) 5 out drop none",
            "c:2 mac(-800) 6 out return none",
            "top:5 root 3 out accept none",
        ]
    );
}

#[test]
fn rules_are_numbered_without_references() {
    let filters = top("ref a\nout accept\nref a\nout drop").root("a", "");
    let resolved = filters.resolve("", Semantics::Strict).unwrap();
    let numbers: Vec<_> = resolved.instances.iter().map(|i| i.origin.rule).collect();
    assert_eq!(numbers, [0, 1]);
}

#[test]
fn the_root_chain_has_no_priority() {
    let filters = Filters::default().chain("top", "root", 300, "out accept");
    assert_eq!(lines(&filters), ["top:1 root 500 out accept none"]);
}

#[test]
fn all_filters_of_the_tree_are_reported() {
    let filters = top("ref a")
        .root("a", "ref b\nref b")
        .root("b", "")
        .root("c", "");
    let resolved = filters.resolve("", Semantics::Strict).unwrap();
    let names: Vec<_> = resolved.filters.keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b", "top"]);
}

#[test]
fn a_missing_filter_is_reported_with_the_way_to_it() {
    let error = top("out accept\nref a")
        .root("a", "ref b")
        .root("b", "\n\nref nosuch")
        .error("");
    let ResolveError::Filter {
        name,
        error: SourceError::Missing,
        path,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(name, "nosuch");
    let path: Vec<_> = path
        .0
        .iter()
        .map(|site| (&*site.filter, site.line))
        .collect();
    assert_eq!(path, [("top", 2), ("a", 1), ("b", 3)]);
    assert_eq!(
        error.to_string(),
        "filter `nosuch`: there is no such filter (referenced by filter `b`, line 3, referenced \
         by filter `a`, line 1, referenced by filter `top`, line 2)"
    );
    assert_eq!(
        Filters::default().error("").to_string(),
        "filter `top`: there is no such filter"
    );
}

#[test]
fn cycles_are_found_wherever_they_start() {
    for (filters, expected, length) in [
        (top("ref top"), "top", 1),
        (
            top("ref a").root("a", "ref b").root("b", "ref top"),
            "top",
            3,
        ),
        (
            top("ref a")
                .root("a", "ref b")
                .root("b", "out accept\nref a"),
            "a",
            3,
        ),
    ] {
        let error = filters.error("");
        let ResolveError::Cycle { name, path } = &error else {
            panic!("{error}");
        };
        assert_eq!((&**name, path.0.len()), (expected, length));
    }
}

#[test]
fn a_filter_that_is_referenced_twice_is_no_cycle() {
    let filters = top("ref a\nref b")
        .root("a", "ref b")
        .root("b", "out accept");
    assert_eq!(lines(&filters).len(), 2);
}

/// `top` refers to `f1` and so on to `f{depth}`, which has a rule.
fn chain_of(depth: usize) -> Filters {
    let mut filters = top(if depth == 0 { "out accept" } else { "ref f1" });
    for level in 1..=depth {
        let text = if level == depth {
            "out accept".into()
        } else {
            format!("ref f{}", level + 1)
        };
        filters = filters.root(&format!("f{level}"), &text);
    }
    filters
}

/// The limit that an error names, and its message.
fn limit(error: ResolveError) -> (LimitKind, String) {
    match error {
        ResolveError::Limit { limit, .. } => (limit, error.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn the_depth_of_references_is_limited() {
    let deepest = Limits::default().depth;
    assert_eq!(lines(&chain_of(deepest)).len(), 1);
    let (kind, text) = limit(chain_of(deepest + 1).error(""));
    assert_eq!(kind, LimitKind::Depth);
    assert!(
        text.starts_with(
            "filter `f64`, line 1: more than 64 references deep (referenced by filter `f63`"
        ),
        "{text}"
    );
    // Far deeper than any stack.
    assert_eq!(limit(chain_of(10_000).error("")).0, LimitKind::Depth);
}

#[test]
fn a_shortcut_does_not_hide_the_depth() {
    // f2 is first met through the shortcut, and then deeper by one.
    let limits = Limits {
        depth: 3,
        ..Limits::default()
    };
    let filters = chain_of(3).root("top", "ref f2\nref f1");
    assert_eq!(
        filters.resolve_within("", limits).unwrap().instances.len(),
        2
    );
    let filters = chain_of(4).root("top", "ref f2\nref f1");
    assert_eq!(
        limit(filters.resolve_within("", limits).unwrap_err()).0,
        LimitKind::Depth
    );
}

#[test]
fn the_number_of_expanded_filters_is_limited() {
    // 2^30 occurrences of the last one, which has no rule.
    let mut filters = top("ref f1\nref f1");
    for level in 1..30 {
        let text = format!("ref f{0}\nref f{0}", level + 1);
        filters = filters.root(&format!("f{level}"), &text);
    }
    let filters = filters.root("f30", "");
    let (kind, text) = limit(filters.error(""));
    assert_eq!(kind, LimitKind::Filters);
    assert!(
        text.contains("more than 10000 filters in the expanded tree"),
        "{text}"
    );
}

#[test]
fn the_number_of_expanded_filters_counts_the_bindings_own() {
    let filters = top("ref a\nref a").root("a", "out accept");
    let limits = Limits {
        filters: 3,
        ..Limits::default()
    };
    assert_eq!(
        filters.resolve_within("", limits).unwrap().instances.len(),
        2
    );
    let limits = Limits {
        filters: 2,
        ..limits
    };
    assert_eq!(
        limit(filters.resolve_within("", limits).unwrap_err()).0,
        LimitKind::Filters
    );
}

#[test]
fn the_number_of_values_is_limited_wherever_they_are_given() {
    let limits = Limits {
        values: 2,
        ..Limits::default()
    };
    let filters = top("ref a B=1,2").root("a", "out accept");
    assert!(filters.resolve_within("A=1,2", limits).is_ok());
    let (kind, text) = limit(filters.resolve_within("A=1,2,3", limits).unwrap_err());
    assert_eq!(kind, LimitKind::Values);
    assert_eq!(
        text,
        "binding of `vnet0`: more than 2 values of one variable"
    );
    let filters = top("ref a B=1,2,3").root("a", "out accept");
    let (kind, text) = limit(filters.resolve_within("A=1,2", limits).unwrap_err());
    assert_eq!(kind, LimitKind::Values);
    assert_eq!(
        text,
        "filter `top`, line 1: more than 2 values of one variable"
    );
}

#[test]
fn the_number_of_rules_is_limited_before_and_after_expansion() {
    let limits = Limits {
        rules: 6,
        ..Limits::default()
    };
    let six = "out accept\n".repeat(6);
    assert!(top(&six).resolve_within("", limits).is_ok());
    let seven = "out accept\n".repeat(7);
    let (kind, text) = limit(top(&seven).resolve_within("", limits).unwrap_err());
    assert_eq!(kind, LimitKind::Rules);
    assert_eq!(
        text,
        "filter `top`, line 7: more than 6 rules after expansion"
    );

    let product = top("out accept tcp srcportstart=$A[@1] dstportstart=$B[@2]");
    assert_eq!(
        product
            .resolve_within("A=1,2 B=1,2,3", limits)
            .unwrap()
            .instances
            .len(),
        6
    );
    let error = product
        .resolve_within("A=1,2 B=1,2,3,4", limits)
        .unwrap_err();
    assert_eq!(limit(error).0, LimitKind::Rules);
}

#[test]
fn a_product_beyond_all_numbers_is_too_large() {
    let text = "out accept tcp srcportstart=$A[@1] srcportend=$A[@2] dstportstart=$A[@3] \
                dstportend=$A[@4] dscp=$A[@5] connlimit-above=$A[@6] option=$A[@7]";
    let values: Vec<_> = (0..1024).map(|value| value.to_string()).collect();
    let error = top(text).error(&format!("A={}", values.join(",")));
    assert_eq!(limit(error).0, LimitKind::Rules);
}

#[test]
fn the_number_of_values_in_tests_is_limited() {
    let limits = Limits {
        tests: 4,
        ..Limits::default()
    };
    let filters = top("out accept tcp srcportstart=$A dstportstart=1");
    assert!(filters.resolve_within("A=1,2", limits).is_ok());
    let error = filters.resolve_within("A=1,2,3", limits).unwrap_err();
    assert_eq!(limit(error).0, LimitKind::Tests);
    let filters = top("out accept tcp !srcportstart=$A");
    assert!(filters.resolve_within("A=1,2,3,4", limits).is_ok());
    let (kind, text) = limit(filters.resolve_within("A=1,2,3,4,5", limits).unwrap_err());
    assert_eq!(kind, LimitKind::Tests);
    assert_eq!(
        text,
        "filter `top`, line 1: more than 4 values in the tests of all rules"
    );
}

#[test]
fn every_error_in_a_filter_has_a_place() {
    let limits = Limits {
        rules: 1,
        ..Limits::default()
    };
    for (text, parameters, place) in [
        ("ref nosuch", "", "ref nosuch"),
        ("out accept\nref top", "", "ref top"),
        ("out accept ip srcipaddr=$IP", "", "$IP"),
        ("out accept ip srcipaddr=$A dstipaddr=$IP", "", "$A"),
        (
            "out accept tcp srcportstart=$A dstportstart=$B",
            "A=1 B=1,2",
            "$B",
        ),
        ("out accept tcp srcportstart=$A", "A=x", "$A"),
        ("out accept icmp !type=1 !code=$A", "A=1,2", "$A"),
        ("out accept\nout accept tcp", "", "out accept tcp"),
    ] {
        let error = top(text).resolve_within(parameters, limits).unwrap_err();
        let site = error.site().unwrap();
        assert_eq!(&text[site.span.start..site.span.end], place, "{error}");
        assert_eq!(&*site.filter, "top");
        assert_eq!(
            site.line as usize,
            1 + text[..site.span.start].matches('\n').count()
        );
    }
    assert!(Filters::default().error("").site().is_none());
}
