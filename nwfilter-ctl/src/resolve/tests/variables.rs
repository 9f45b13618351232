//! Section 3 of the semantics reference: iteration, indices, precedence, missing variables.

use super::{Filters, top};
use crate::model::Semantics;
use crate::resolve::ResolveError;

#[test]
fn one_iterator_walks_its_lists_in_parallel() {
    let filters = top("out accept tcp srcportstart=$A dstportstart=$B");
    assert_eq!(
        filters.tests("A=1,2,3 B=11,12,13"),
        [
            "srcportstart=1($A[0]) dstportstart=11($B[0])",
            "srcportstart=2($A[1]) dstportstart=12($B[1])",
            "srcportstart=3($A[2]) dstportstart=13($B[2])",
        ]
    );
}

#[test]
fn written_and_unwritten_iterator_0_are_the_same() {
    let filters = top("out accept tcp srcportstart=$A dstportstart=$B[@0]");
    assert_eq!(filters.tests("A=1,2 B=11,12").len(), 2);
}

#[test]
fn iterators_multiply_and_0_is_the_fastest() {
    // 2 appears before 1 and 0.
    let filters = top("out accept tcp srcportstart=$A[@2] dstportstart=$B[@1] dscp=$C");
    assert_eq!(
        filters.tests("A=1,2 B=11,12 C=21,22"),
        [
            "srcportstart=1($A[0]) dstportstart=11($B[0]) dscp=21($C[0])",
            "srcportstart=1($A[0]) dstportstart=11($B[0]) dscp=22($C[1])",
            "srcportstart=2($A[1]) dstportstart=11($B[0]) dscp=21($C[0])",
            "srcportstart=2($A[1]) dstportstart=11($B[0]) dscp=22($C[1])",
            "srcportstart=1($A[0]) dstportstart=12($B[1]) dscp=21($C[0])",
            "srcportstart=1($A[0]) dstportstart=12($B[1]) dscp=22($C[1])",
            "srcportstart=2($A[1]) dstportstart=12($B[1]) dscp=21($C[0])",
            "srcportstart=2($A[1]) dstportstart=12($B[1]) dscp=22($C[1])",
        ]
    );
}

#[test]
fn a_variable_multiplies_with_itself_through_two_iterators() {
    let filters = top("out accept tcp srcportstart=$A[@1] dstportstart=$A[@2]");
    assert_eq!(
        filters.tests("A=1,2"),
        [
            "srcportstart=1($A[0]) dstportstart=1($A[0])",
            "srcportstart=2($A[1]) dstportstart=1($A[0])",
            "srcportstart=1($A[0]) dstportstart=2($A[1])",
            "srcportstart=2($A[1]) dstportstart=2($A[1])",
        ]
    );
}

#[test]
fn duplicate_tuples_of_one_iterator_are_skipped() {
    let filters = top("out accept tcp srcportstart=$A dstportstart=$B");
    assert_eq!(
        filters.tests("A=1,1,2,1 B=11,12,11,11"),
        [
            "srcportstart=1($A[0]) dstportstart=11($B[0])",
            "srcportstart=1($A[1]) dstportstart=12($B[1])",
            "srcportstart=2($A[2]) dstportstart=11($B[2])",
        ]
    );
}

#[test]
fn duplicates_are_counted_per_iterator() {
    let filters = top("out accept tcp srcportstart=$A[@1] dstportstart=$B[@2]");
    assert_eq!(filters.tests("A=1,2,1 B=11,11").len(), 2);
}

#[test]
fn an_element_is_constant() {
    let filters = top("out accept tcp srcportstart=$A dstportstart=$A[2]");
    assert_eq!(
        filters.tests("A=1,2,3"),
        [
            "srcportstart=1($A[0]) dstportstart=3($A[2])",
            "srcportstart=2($A[1]) dstportstart=3($A[2])",
            "srcportstart=3($A[2]) dstportstart=3($A[2])",
        ]
    );
}

#[test]
fn elements_need_no_equal_lengths() {
    let filters = top("out accept tcp srcportstart=$A[1] dstportstart=$B[0]");
    assert_eq!(
        filters.tests("A=1,2 B=11"),
        ["srcportstart=2($A[1]) dstportstart=11($B[0])"]
    );
}

#[test]
fn lists_of_one_iterator_need_equal_lengths() {
    let filters = top("\nout accept tcp srcportstart=$A[@3] dstportstart=$B[@3]");
    let error = filters.error("A=1,2 B=11,12,13");
    let ResolveError::Cardinality {
        site,
        iterator: 3,
        first,
        second,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*first, ("A".into(), 2));
    assert_eq!(*second, ("B".into(), 3));
    assert_eq!((&*site.filter, site.line), ("top", 2));
    assert_eq!(
        error.to_string(),
        "filter `top`, line 2: `A` with 2 values and `B` with 3 values are read by the same \
         iterator 3, which needs lists of equal length"
    );
}

#[test]
fn duplicates_count_for_the_length() {
    let filters = top("out accept tcp srcportstart=$A dstportstart=$B");
    assert!(matches!(
        filters.error("A=1,1 B=11"),
        ResolveError::Cardinality { .. }
    ));
}

#[test]
fn instances_of_a_rule_stand_together_and_in_order() {
    let filters = top("in accept ip srcipaddr=$A\nin drop 400 mac");
    let resolved = filters.resolve("A=1.1.1.1,2.2.2.2", Semantics::Strict);
    let lines: Vec<_> = resolved
        .unwrap()
        .instances
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        [
            "top:1 root 500 in accept ip srcipaddr=1.1.1.1($A[0])",
            "top:1 root 500 in accept ip srcipaddr=2.2.2.2($A[1])",
            "top:2 root 400 in drop mac",
        ]
    );
}

#[test]
fn the_outermost_parameter_wins() {
    let filters = top("ref middle A=2\nout accept tcp srcportstart=$A")
        .root("middle", "ref inner A=3 B=3")
        .root("inner", "out accept tcp srcportstart=$A dstportstart=$B");
    assert_eq!(
        filters.tests("A=1 B=1"),
        [
            "srcportstart=1($A[0]) dstportstart=1($B[0])",
            "srcportstart=1($A[0])"
        ]
    );
    // Without the binding's A the outer filterref's holds, but only below it.
    let missing = filters.error("B=1").to_string();
    assert!(
        missing.starts_with("no value for variable A (filter `top`, line 2"),
        "{missing}"
    );
    let filters = top("ref middle A=2")
        .root("middle", "ref inner A=3 B=3")
        .root("inner", "out accept tcp srcportstart=$A dstportstart=$B");
    assert_eq!(
        filters.tests(""),
        ["srcportstart=2($A[0]) dstportstart=3($B[0])"]
    );
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let filters = top("ref inner A=2,3,4").root("inner", "out accept tcp srcportstart=$A");
    assert_eq!(filters.tests("A=1"), ["srcportstart=1($A[0])"]);
}

#[test]
fn parameters_of_one_reference_are_not_seen_by_the_next() {
    let filters = top("ref inner A=1\nref inner A=2\nref inner")
        .root("inner", "out accept tcp srcportstart=$A");
    assert!(matches!(
        filters.error(""),
        ResolveError::MissingVariables(_)
    ));
    let filters =
        top("ref inner A=1\nref inner A=2").root("inner", "out accept tcp srcportstart=$A");
    assert_eq!(
        filters.tests(""),
        ["srcportstart=1($A[0])", "srcportstart=2($A[0])"]
    );
}

#[test]
fn every_reference_has_its_own_list() {
    let filters = top("ref inner A=1,1\nref inner A=1,2,3\nref inner A=4")
        .root("inner", "out accept tcp srcportstart=$A");
    assert_eq!(
        filters.tests(""),
        [
            "srcportstart=1($A[0])",
            "srcportstart=1($A[0])",
            "srcportstart=2($A[1])",
            "srcportstart=3($A[2])",
            "srcportstart=4($A[0])",
        ]
    );
}

#[test]
fn mac_is_the_bindings_unless_it_is_passed() {
    let filters = top("out drop mac srcmacaddr=$MAC");
    assert_eq!(filters.tests(""), ["srcmacaddr=52:54:00:00:00:01($MAC[0])"]);
    assert_eq!(
        filters.tests("MAC=2:0:0:0:0:1"),
        ["srcmacaddr=02:00:00:00:00:01($MAC[0])"]
    );
    // It counts as the binding's own: a filterref does not override it.
    let filters = top("ref inner MAC=2:0:0:0:0:1").root("inner", "out drop mac srcmacaddr=$MAC");
    assert_eq!(filters.tests(""), ["srcmacaddr=52:54:00:00:00:01($MAC[0])"]);
}

#[test]
fn names_are_case_sensitive() {
    let error = top("out drop mac srcmacaddr=$mac").error("");
    assert!(
        matches!(error, ResolveError::MissingVariables(_)),
        "{error}"
    );
}

#[test]
fn all_missing_variables_are_listed_as_written_each_once() {
    let filters = top("out accept ip srcipaddr=$IP\nref inner\nout accept ip dstipaddr=$IP[@0]")
        .root(
            "inner",
            "\nout accept tcp srcportstart=$A[@1] dstportstart=$IP[0] dscp=$B\n\
         out accept tcp srcportstart=$A[@1] dstportstart=$A[@2] dscp=$B[1]",
        );
    let ResolveError::MissingVariables(missing) = filters.error("B=1") else {
        panic!();
    };
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        [
            "IP (filter `top`, line 1, `srcipaddr`)",
            "A[@1] (filter `inner`, line 2, `srcportstart`)",
            "IP[0] (filter `inner`, line 2, `dstportstart`)",
            "A[@2] (filter `inner`, line 3, `dstportstart`)",
            "B[1] (filter `inner`, line 3, `dscp`)",
        ]
    );
}

#[test]
fn missing_variables_come_before_bad_values() {
    let filters = top("out accept ip srcipaddr=$A\nout accept ip srcipaddr=$B");
    assert!(matches!(
        filters.error("A=x"),
        ResolveError::MissingVariables(_)
    ));
    assert!(matches!(
        filters.error("A=x B=y"),
        ResolveError::Value { .. }
    ));
}

#[test]
fn only_ip_through_iterator_0_can_be_learned() {
    for (text, can_be_learned) in [
        ("out accept ip srcipaddr=$IP", true),
        ("out accept ip srcipaddr=$IP dstipaddr=$IP[@0]", true),
        (
            "out accept ip srcipaddr=$IP\nout accept arp arpsrcipaddr=$IP",
            true,
        ),
        ("out accept ip srcipaddr=$IP[0]", false),
        ("out accept ip srcipaddr=$IP[@1]", false),
        ("out accept ip srcipaddr=$IP dstipaddr=$IP[@1]", false),
        ("out accept ip srcipaddr=$IP dstipaddr=$A", false),
        ("out accept ipv6 srcipaddr=$IPV6", false),
        ("out accept ip srcipaddr=$ip", false),
    ] {
        let learned = match top(text).error("") {
            ResolveError::AddressUnknown(missing) => {
                assert_eq!(missing.access.name, "IP");
                true
            }
            ResolveError::MissingVariables(_) => false,
            other => panic!("{text}: {other}"),
        };
        assert_eq!(learned, can_be_learned, "{text}");
    }
}

#[test]
fn a_value_that_does_not_fit_names_itself_and_what_was_expected() {
    let text = "\n  in accept ip srcipaddr=$A dstipaddr=192.0.2.1";
    let error = top(text).error("A=192.0.2.2,fe80::1");
    let ResolveError::Value { site, index: 1, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(&text[site.span.start..site.span.end], "$A");
    assert_eq!(site.line, 2);
    assert_eq!(
        error.to_string(),
        "filter `top`, line 2: `fe80::1`, value 1 of variable `A`, does not fit `srcipaddr`: \
         expected an IPv4 address such as `192.0.2.1`"
    );
}

#[test]
fn the_same_value_is_read_as_each_attribute_asks() {
    let filters = Filters::default().root(
        "top",
        "in accept ip protocol=$A\nin accept tcp dstportstart=$A",
    );
    assert_eq!(
        filters.tests("A=17"),
        ["protocol=17($A[0])", "dstportstart=17($A[0])"]
    );
    let ResolveError::Value { attr, .. } = filters.error("A=tcp") else {
        panic!();
    };
    assert_eq!(attr.as_str(), "dstportstart");
}

#[test]
fn an_empty_list_is_no_value() {
    let filters = top("ref inner A=1").root("inner", "out accept tcp srcportstart=$A");
    let mut binding = super::binding("");
    binding.parameters.0.insert("A".into(), Vec::new());
    let resolved = crate::resolve::resolve(&binding, &filters.0, Semantics::Strict).unwrap();
    assert_eq!(super::tests(&resolved), ["srcportstart=1($A[0])"]);
}
