//! Where the two readings differ: negated lists, lost tests, values read by the tools.

use super::{Filters, tests, top};
use crate::model::Semantics::{self, Libvirt, Strict};
use crate::resolve::{ResolveError, Warning};

fn resolved(text: &str, parameters: &str, semantics: Semantics) -> Vec<String> {
    tests(&top(text).resolve(parameters, semantics).unwrap())
}

#[test]
fn a_negated_list_is_none_of_them_or_one_rule_each() {
    let text = "out drop mac !srcmacaddr=$A";
    let parameters = "A=2:0:0:0:0:1,2:0:0:0:0:2,2:0:0:0:0:1";
    assert_eq!(
        resolved(text, parameters, Strict),
        ["srcmacaddr!={02:00:00:00:00:01,02:00:00:00:00:02}($A)"]
    );
    assert_eq!(
        resolved(text, parameters, Libvirt),
        [
            "srcmacaddr!=02:00:00:00:00:01($A[0])",
            "srcmacaddr!=02:00:00:00:00:02($A[1])"
        ]
    );
    let warnings = top(text).resolve(parameters, Strict).unwrap().warnings;
    assert!(
        matches!(warnings.as_slice(), [Warning::NoneOf { variable, .. }] if &**variable == "A"),
        "{warnings:?}"
    );
    assert!(
        top(text)
            .resolve(parameters, Libvirt)
            .unwrap()
            .warnings
            .is_empty()
    );
    assert!(
        top(text)
            .resolve("A=2:0:0:0:0:1", Strict)
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn a_negated_list_follows_the_positive_tests_of_its_iterator() {
    let text = "out drop ip !srcmacaddr=$A srcipaddr=$B";
    let parameters = "A=2:0:0:0:0:1,2:0:0:0:0:2,2:0:0:0:0:3 B=1.1.1.1,2.2.2.2,1.1.1.1";
    assert_eq!(
        resolved(text, parameters, Strict),
        [
            "srcmacaddr!={02:00:00:00:00:01,02:00:00:00:00:03}($A) srcipaddr=1.1.1.1($B[0])",
            "srcmacaddr!=02:00:00:00:00:02($A[1]) srcipaddr=2.2.2.2($B[1])",
        ]
    );
    assert_eq!(resolved(text, parameters, Libvirt).len(), 3);
}

#[test]
fn a_negated_list_of_another_iterator_is_whole_in_each_instance() {
    assert_eq!(
        resolved(
            "out drop tcp srcportstart=$A[@1] !dscp=$B[@2]",
            "A=1,2 B=3,4",
            Strict
        ),
        [
            "srcportstart=1($A[0]) dscp!={3,4}($B)",
            "srcportstart=2($A[1]) dscp!={3,4}($B)"
        ]
    );
}

#[test]
fn a_variable_in_a_positive_and_a_negated_test_stays_in_step() {
    let text = "out drop ip srcipaddr=$A !dstipaddr=$A";
    for semantics in [Strict, Libvirt] {
        assert_eq!(
            resolved(text, "A=1.1.1.1,2.2.2.2", semantics),
            [
                "srcipaddr=1.1.1.1($A[0]) dstipaddr!=1.1.1.1($A[0])",
                "srcipaddr=2.2.2.2($A[1]) dstipaddr!=2.2.2.2($A[1])",
            ]
        );
    }
}

#[test]
fn a_negated_mask_or_code_takes_no_list() {
    for text in [
        "out drop ip !srcipaddr=$A !srcipmask=$B",
        "out drop ip !srcipaddr=1.0.0.0 !srcipmask=$B",
        "out drop icmp !type=8 !code=$B",
        "out drop udp !srcportstart=1 !srcportend=$B",
    ] {
        let filters = top(text);
        let error = filters.error("A=1.0.0.0,2.0.0.0 B=8,16");
        assert!(
            matches!(error, ResolveError::NegatedPairs { values: 2, .. }),
            "{text}: {error}"
        );
        // One value for all of the addresses is a mask that they share.
        assert!(
            filters.resolve("A=1.0.0.0,2.0.0.0 B=8,8", Strict).is_ok(),
            "{text}"
        );
        assert!(
            filters.resolve("A=1.0.0.0,2.0.0.0 B=8,16", Libvirt).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn libvirt_loses_tests_whose_value_is_a_variable() {
    for (text, parameters, strict) in [
        (
            "out accept tcp dscp=1 state=$A",
            "A=NEW",
            "dscp=1 state=NEW($A[0])",
        ),
        (
            "out accept tcp dscp=1 state=$A[0]",
            "A=NEW",
            "dscp=1 state=NEW($A[0])",
        ),
        (
            "out accept arp opcode=1 gratuitous=$A",
            "A=true",
            "opcode=1 gratuitous=true($A[0])",
        ),
    ] {
        let kept = strict.split(' ').next().unwrap();
        assert_eq!(resolved(text, parameters, Strict), [strict]);
        let filters = top(text);
        let resolved = filters.resolve(parameters, Libvirt).unwrap();
        assert_eq!(tests(&resolved), [kept]);
        assert!(
            matches!(resolved.warnings.as_slice(), [Warning::Lost { .. }]),
            "{text}"
        );
    }
    // The list still multiplies the rule, and a missing one is still missing.
    assert_eq!(
        resolved("out accept tcp state=$A", "A=NEW,INVALID", Libvirt),
        ["", ""]
    );
    let error = top("out accept tcp state=$A")
        .resolve("", Libvirt)
        .unwrap_err();
    assert!(matches!(error, ResolveError::MissingVariables(_)));
    // `flags` of TCP is lost, that of STP is a number like any other.
    assert_eq!(resolved("out accept tcp flags=$A", "A=0x1", Libvirt), [""]);
    assert_eq!(
        resolved("out accept stp flags=$A", "A=0x1", Libvirt),
        ["flags=1($A[0])"]
    );
}

#[test]
fn strict_reads_what_libvirt_loses_or_says_why_not() {
    let error = top("out accept tcp flags=$A").error("A=SYN");
    let text = error.to_string();
    assert!(
        text.contains("`SYN`") && text.contains("MASK/FLAGS"),
        "{text}"
    );
    let error = top("out accept tcp state=$A").error("A=FRESH");
    assert!(matches!(error, ResolveError::Value { .. }), "{error}");
}

#[test]
fn a_warning_is_given_once() {
    let filters = top("ref a\nref a").root("a", "out accept tcp state=$A");
    let resolved = filters.resolve("A=NEW,INVALID", Libvirt).unwrap();
    assert_eq!(resolved.instances.len(), 4);
    assert_eq!(resolved.warnings.len(), 1);
}

#[test]
fn a_variable_as_comment() {
    let filters = top("out accept tcp comment=$A");
    assert_eq!(filters.tests("A=web"), ["comment=\"web\"($A[0])"]);
    let error = filters.resolve("A=web", Libvirt).unwrap_err();
    assert!(matches!(error, ResolveError::CommentVariable { .. }));
}

#[test]
fn libvirt_leaves_values_of_variables_to_the_tools() {
    for (text, value, strict, libvirt) in [
        (
            "out drop arp protocoltype=$A",
            "2048",
            Some("protocoltype=0x0800"),
            Some("protocoltype=0x2048"),
        ),
        (
            "out drop mac protocolid=$A",
            "2054",
            Some("protocolid=0x0806"),
            Some("protocolid=0x2054"),
        ),
        (
            "out drop mac protocolid=$A",
            "vlan",
            Some("protocolid=0x8100"),
            None,
        ),
        (
            "out drop vlan encap-protocol=$A",
            "arp",
            Some("encap-protocol=0x0806"),
            Some("encap-protocol=0x0806"),
        ),
        ("out drop vlan vlanid=$A", "0x10", Some("vlanid=16"), None),
        (
            "out drop tcp dstportstart=$A",
            "010",
            Some("dstportstart=10"),
            Some("dstportstart=8"),
        ),
        (
            "out drop tcp dstportstart=$A",
            "ff",
            Some("dstportstart=255"),
            None,
        ),
        (
            "out drop ip srcipaddr=$A",
            "10.1",
            Some("srcipaddr=10.0.0.1"),
            Some("srcipaddr=10.1.0.0"),
        ),
        (
            "out drop all connlimit-above=$A",
            "0x8",
            None,
            Some("connlimit-above=8"),
        ),
    ] {
        let filters = top(text);
        let parameters = format!("A={value}");
        for (semantics, expected) in [(Strict, strict), (Libvirt, libvirt)] {
            let got = filters
                .resolve(&parameters, semantics)
                .map(|resolved| tests(&resolved));
            match (expected, got) {
                (Some(expected), Ok(got)) => {
                    assert_eq!(got, [format!("{expected}($A[0])")], "{text}");
                }
                (None, Err(ResolveError::Value { .. })) => {}
                (_, got) => panic!("{text} {value} {semantics:?}: {got:?}"),
            }
        }
        if let (Some(strict_text), Ok(resolved)) = (strict, filters.resolve(&parameters, Strict)) {
            let differs = matches!(
                resolved.warnings.as_slice(),
                [Warning::ReadDifferently { .. }]
            );
            assert_eq!(differs, libvirt != Some(strict_text), "{text} {value}");
        }
    }
}

#[test]
fn literals_are_passed_on_as_they_are() {
    for semantics in [Strict, Libvirt] {
        assert_eq!(
            resolved("out drop vlan encap-protocol=arp", "", semantics),
            ["encap-protocol=0x0806"]
        );
    }
}

#[test]
fn statematch_and_all_actions_reach_the_instances() {
    let filters = Filters::default().root(
        "top",
        "in accept\nout drop\ninout reject tcp\nin return\nin continue",
    );
    let lines = |filters: &Filters| -> Vec<String> {
        let resolved = filters.resolve("", Strict).unwrap();
        resolved.instances.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        lines(&filters),
        [
            "top:1 root 500 in accept none",
            "top:2 root 500 out drop none",
            "top:3 root 500 inout reject tcp",
            "top:4 root 500 in return none",
            "top:5 root 500 in continue none",
        ]
    );
}

#[test]
fn a_range_that_ends_before_it_starts_is_refused() {
    for text in [
        "out drop tcp dstportstart=2 dstportend=1",
        "out drop tcp-ipv6 dstportstart=2 dstportend=$LOW",
        "out drop sctp !srcportstart=2 !srcportend=1",
        "out drop ip protocol=tcp dstportstart=2 dstportend=1",
        "out drop ipv6 protocol=icmpv6 type=2 typeend=1",
        "out drop ipv6 protocol=icmpv6 code=2 codeend=1",
        "out drop stp root-cost=2 root-cost-hi=1",
        "out drop stp port=2 port-hi=1",
    ] {
        for semantics in [Strict, Libvirt] {
            let error = top(text).resolve("LOW=1", semantics).unwrap_err();
            assert!(
                matches!(error, ResolveError::EmptyRange { .. }),
                "{text}: {error}"
            );
        }
    }
    // libvirt's tools do not look at these; they never match.
    for text in [
        "out drop udp dstportstart=2 dstportend=1",
        "out drop tcp srcipfrom=10.0.0.2 srcipto=10.0.0.1",
        "out drop tcp dstportstart=2 dstportend=2",
    ] {
        for semantics in [Strict, Libvirt] {
            assert!(top(text).resolve("", semantics).is_ok(), "{text}");
        }
    }
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    for text in [
        "out drop ip !protocol=tcp dstportstart=22",
        "out drop ipv6 !protocol=udp srcportstart=22",
        "out drop ipv6 !protocol=icmpv6 type=1",
        "out drop ipv6 protocol=tcp type=1",
        "out drop ipv6 code=1",
        "out drop ipv6 protocol=$P type=1",
        "out drop tcp !srcipaddr=10.0.0.0 !srcipmask=0",
        "out drop all-ipv6 !dstipaddr=::1 !dstipmask=$ZERO",
    ] {
        for semantics in [Strict, Libvirt] {
            let error = top(text).resolve("P=tcp ZERO=0", semantics).unwrap_err();
            assert!(
                matches!(error, ResolveError::Unbindable { .. }),
                "{text}: {error}"
            );
        }
    }
    for text in [
        "out drop ip !protocol=tcp",
        "out drop ipv6 protocol=$P type=1",
        "out drop tcp srcipaddr=10.0.0.0 srcipmask=0",
        // ebtables takes it; it never matches.
        "out drop ip !srcipaddr=10.0.0.0 !srcipmask=0",
    ] {
        for semantics in [Strict, Libvirt] {
            assert!(top(text).resolve("P=icmpv6", semantics).is_ok(), "{text}");
        }
    }
}

#[test]
fn ebtables_takes_no_mac_mask_of_zero() {
    for text in [
        "out drop mac srcmacaddr=2:0:0:0:0:1 srcmacmask=0:0:0:0:0:0",
        "out drop ip !dstmacaddr=2:0:0:0:0:1 !dstmacmask=0:0:0:0:0:0",
    ] {
        assert!(top(text).resolve("", Strict).is_ok());
        let error = top(text).resolve("", Libvirt).unwrap_err();
        assert!(matches!(error, ResolveError::Unbindable { .. }), "{error}");
    }
}

#[test]
fn libvirt_does_not_swap_the_source_of_a_bpdu() {
    let text = "inout drop stp srcmacaddr=2:0:0:0:0:1";
    assert!(top(text).resolve("", Strict).is_ok());
    let error = top(text).resolve("", Libvirt).unwrap_err();
    assert_eq!(
        error.to_string(),
        "filter `top`, line 1: the rule cannot be bound: libvirt does not exchange the addresses \
         of `stp`"
    );
}
