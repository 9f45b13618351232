//! Each lint, on filters that trigger it and on neighbours that do not.

use super::lint_filter;
use crate::{diag::Code, model::Semantics, parse::parse_filter};

/// The codes found in a filter with this start tag and content.
fn codes_of(start: &str, content: &str) -> Vec<Code> {
    let text = format!("<filter name='t' {start}>{content}</filter>");
    let (filter, found) = parse_filter(&text, Semantics::Strict);
    let filter = filter.unwrap_or_else(|| panic!("{text}: {found:?}"));
    let mut codes: Vec<_> = lint_filter(&filter, Semantics::Strict)
        .iter()
        .map(|found| found.code)
        .collect();
    codes.retain(|code| *code != Code::BackendsDiffer);
    codes
}

/// The codes found in a rule, with catch-alls after it.
fn rule(attributes: &str, elements: &str) -> Vec<Code> {
    let end = "<rule action='drop' direction='inout' priority='1000'/>\
               <rule action='drop' direction='inout' priority='1000'><all/></rule>\
               <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>";
    codes_of("", &format!("<rule {attributes}>{elements}</rule>{end}"))
}

const ACCEPT_IN: &str = "action='accept' direction='in'";
const DROP_OUT: &str = "action='drop' direction='out'";
const ACCEPT_INOUT: &str = "action='accept' direction='inout'";

#[test]
fn single_rules() {
    use Code as C;
    let cases: &[(&str, &str, &[Code])] = &[
        (ACCEPT_IN, "<mac protocolid='arp'/>", &[]),
        (ACCEPT_IN, "<tcp dstportstart='22'/>", &[]),
        (
            ACCEPT_IN,
            "<tcp match='no' dstportstart='$PORTS'/>",
            &[C::NegatedList],
        ),
        (ACCEPT_IN, "<tcp match='no' dstportstart='$PORTS[0]'/>", &[]),
        (ACCEPT_IN, "<mac match='no' srcmacaddr='$MAC'/>", &[]),
        (ACCEPT_IN, "<tcp srcportend='22'/>", &[C::IncompletePair]),
        (ACCEPT_IN, "<ip srcipmask='24'/>", &[C::IncompletePair]),
        (ACCEPT_IN, "<icmp code='1'/>", &[C::IncompletePair]),
        (ACCEPT_IN, "<all ipset='s'/>", &[C::IncompletePair]),
        (ACCEPT_IN, "<all ipset='s' ipsetflags='src'/>", &[]),
        (ACCEPT_IN, "<ipv6 protocol='icmpv6' typeend='9'/>", &[]),
        (
            ACCEPT_INOUT,
            "<mac srcmacaddr='$MAC'/>",
            &[C::InOutReceiver],
        ),
        (ACCEPT_INOUT, "<mac dstmacaddr='$MAC'/>", &[]),
        (ACCEPT_IN, "<ip dscp='8'/>", &[C::DscpIsTos]),
        (ACCEPT_IN, "<tcp dscp='8'/>", &[]),
        (
            ACCEPT_IN,
            "<vlan encap-protocol='arp'/>",
            &[C::EncapProtocolDead],
        ),
        (ACCEPT_IN, "<vlan encap-protocol='$P'/>", &[]),
        (
            ACCEPT_IN,
            "<arp arpsrcipaddr='1.0.0.0' arpsrcipmask='8' arpdstipaddr='1.2.3.4'/>",
            &[C::ArpMaskLeaks],
        ),
        (
            ACCEPT_IN,
            "<tcp dstportstart='9' dstportend='8'/>",
            &[C::EmptyRange],
        ),
        (ACCEPT_IN, "<tcp dstportstart='9' dstportend='9'/>", &[]),
        (
            ACCEPT_IN,
            "<tcp srcipfrom='1.1.1.2' srcipto='1.1.1.1'/>",
            &[C::EmptyRange],
        ),
        (
            ACCEPT_IN,
            "<tcp srcipfrom='1.1.1.2' srcipaddr='1.1.1.1'/>",
            &[C::RangeShadowed],
        ),
        (
            ACCEPT_IN,
            "<ip match='no' protocol='tcp' srcportstart='1'/>",
            &[C::CannotBind],
        ),
        (
            ACCEPT_IN,
            "<ipv6 protocol='tcp' type='1'/>",
            &[C::CannotBind],
        ),
        (ACCEPT_IN, "<ipv6 protocol='58' type='1'/>", &[]),
        (
            ACCEPT_IN,
            "<all match='no' srcipaddr='1.1.1.1' srcipmask='0'/>",
            &[C::CannotBind],
        ),
        (
            ACCEPT_INOUT,
            "<stp srcmacaddr='1:1:1:1:1:1'/>",
            &[C::CannotBind],
        ),
        (
            "action='continue' direction='in'",
            "<tcp/>",
            &[C::ContinueInInet],
        ),
        ("action='continue' direction='in'", "<mac/>", &[]),
        (ACCEPT_INOUT, "<icmp type='8'/>", &[C::IcmpTypeInOut]),
        (ACCEPT_IN, "<icmp type='8'/>", &[]),
        (
            ACCEPT_INOUT,
            "<tcp connlimit-above='1'/>",
            &[C::ConnlimitOneWay],
        ),
        (
            ACCEPT_IN,
            "<tcp connlimit-above='1'/>",
            &[C::ConnlimitOneWay],
        ),
        (
            "action='drop' direction='in'",
            "<tcp connlimit-above='1'/>",
            &[],
        ),
        (
            "action='reject' direction='in'",
            "<mac protocolid='arp'/>",
            &[C::RejectIsDrop],
        ),
        (DROP_OUT, "<tcp dstportstart='25'/>", &[C::DropBothWays]),
        (DROP_OUT, "<tcp dstportstart='25' state='NEW'/>", &[]),
        (DROP_OUT, "<icmp type='8'/>", &[]),
        (DROP_OUT, "<mac dstmacaddr='1:1:1:1:1:1'/>", &[]),
        (ACCEPT_IN, "<tcp flags='SYN/ACK'/>", &[C::NeverMatches]),
        (ACCEPT_IN, "<tcp flags='SYN,ACK/SYN'/>", &[]),
    ];
    for (attributes, elements, expected) in cases {
        assert_eq!(
            rule(attributes, elements),
            *expected,
            "{attributes} {elements}"
        );
    }
}

#[test]
fn chains() {
    let drop = |element: &str| format!("<rule action='drop' direction='inout'>{element}</rule>");
    let all = drop("");
    for (chain, content, expected) in [
        ("ipv4", drop("<arp/>") + &all, vec![Code::NeverMatches]),
        (
            "ipv4",
            drop("<mac protocolid='arp'/>") + &all,
            vec![Code::NeverMatches],
        ),
        (
            "ipv4",
            drop("<mac match='no' protocolid='arp'/>") + &all,
            vec![],
        ),
        ("ipv4-x", drop("<ip dstipaddr='1.1.1.1'/>") + &all, vec![]),
        ("mac", drop("<arp/>") + &all, vec![]),
        (
            "ipv4",
            drop("<tcp dstportstart='1' state='NEW'/>"),
            vec![Code::ChainWithoutEffect],
        ),
        (
            "ipv4",
            drop("<ip dstipaddr='1.1.1.1'/>"),
            vec![Code::ChainEndAccepts],
        ),
        (
            "ipv4",
            "<rule action='accept' direction='in'><ip dscp='0'/></rule>".into(),
            vec![Code::DscpIsTos],
        ),
        // A catch-all for one direction leaves the other open.
        (
            "ipv4",
            drop("<ip dstipaddr='1.1.1.1'/>") + "<rule action='return' direction='in'/>",
            vec![Code::ChainEndAccepts],
        ),
    ] {
        assert_eq!(
            codes_of(&format!("chain='{chain}'"), &content),
            expected,
            "{chain} {content}"
        );
    }
}

#[test]
fn catch_alls() {
    let accept = |element: &str| format!("<rule action='accept' direction='in'>{element}</rule>");
    let drop = |element: &str| format!("<rule action='drop' direction='inout'>{element}</rule>");
    let tcp = accept("<tcp dstportstart='22'/>");
    let tcp6 = accept("<tcp-ipv6 dstportstart='22'/>");
    let arp = accept("<mac protocolid='arp'/>");
    for (content, expected) in [
        (tcp.clone(), 1),
        (tcp.clone() + &drop("<all/>"), 0),
        (tcp.clone() + &drop("<all-ipv6/>"), 1),
        (tcp.clone() + &tcp6, 2),
        (tcp6.clone() + &drop("<all-ipv6/>"), 0),
        (tcp.clone() + "<filterref filter='other'/>", 0),
        (arp.clone(), 1),
        (arp + &drop(""), 0),
        (drop("<mac protocolid='arp'/>"), 0),
    ] {
        assert_eq!(
            codes_of("", &content),
            vec![Code::NoCatchAll; expected],
            "{content}"
        );
    }
}

#[test]
fn hidden_rules() {
    let rule = |head: &str, element: &str| {
        let (action, rest) = head.split_once(' ').unwrap();
        format!("<rule action='{action}' direction={rest}>{element}</rule>")
    };
    let hidden = |content: &str| {
        let mut codes = codes_of("", content);
        codes.retain(|code| *code == Code::HiddenRule);
        codes.len()
    };
    // The second rule is hidden by the first one, or is not.
    for (first, second, expected) in [
        (
            ("accept 'in'", "<tcp dstportstart='22'/>"),
            ("accept 'in'", "<tcp dstportstart='22'/>"),
            1,
        ),
        (
            ("accept 'in'", "<tcp/>"),
            ("accept 'in'", "<tcp dstportstart='22'/>"),
            1,
        ),
        (
            ("accept 'in'", "<tcp dstportstart='22'/>"),
            ("accept 'in'", "<tcp/>"),
            0,
        ),
        (("accept 'in'", "<tcp/>"), ("accept 'out'", "<tcp/>"), 0),
        // The first one does not match packets that belong to no connection.
        (("accept 'in'", "<tcp/>"), ("drop 'in'", "<tcp/>"), 0),
        (("accept 'inout'", "<tcp/>"), ("drop 'in'", "<tcp/>"), 1),
        (("drop 'inout'", "<all/>"), ("accept 'in'", "<tcp/>"), 1),
        (("drop 'in'", "<all/>"), ("accept 'out'", "<tcp/>"), 1),
        (
            ("drop 'in'", "<tcp srcportstart='1'/>"),
            ("accept 'out'", "<tcp srcportstart='1'/>"),
            0,
        ),
        (
            ("drop 'inout'", "<all/>"),
            ("accept 'in'", "<tcp-ipv6/>"),
            0,
        ),
        (
            ("accept 'in'", "<tcp dstportstart='20' dstportend='30'/>"),
            ("accept 'in'", "<tcp dstportstart='22'/>"),
            1,
        ),
        (
            ("accept 'in'", "<tcp dstportstart='20' dstportend='30'/>"),
            ("accept 'in'", "<tcp dstportstart='22' dstportend='31'/>"),
            0,
        ),
        (
            ("accept 'in'", "<tcp srcipaddr='10.0.0.0' srcipmask='8'/>"),
            ("accept 'in'", "<tcp srcipaddr='10.1.2.3'/>"),
            1,
        ),
        (
            (
                "accept 'in'",
                "<tcp match='no' srcipaddr='10.0.0.0' srcipmask='8'/>",
            ),
            ("accept 'in'", "<tcp match='no' srcipaddr='10.1.2.3'/>"),
            0,
        ),
        (
            ("accept 'in'", "<tcp state='NEW'/>"),
            ("accept 'in'", "<tcp/>"),
            0,
        ),
        (
            ("accept 'in'", "<tcp state='NEW'/>"),
            ("accept 'in'", "<tcp state='NEW'/>"),
            1,
        ),
        (
            ("accept 'in'", "<icmp type='8'/>"),
            ("accept 'in'", "<icmp type='8'/>"),
            1,
        ),
        (
            ("drop 'out'", "<mac protocolid='arp'/>"),
            ("accept 'out'", "<mac protocolid='arp'/>"),
            1,
        ),
        (("drop 'out'", ""), ("accept 'out'", "<arp opcode='1'/>"), 1),
        (
            ("drop 'inout'", ""),
            ("accept 'out'", "<arp opcode='1'/>"),
            1,
        ),
        (
            ("drop 'out'", ""),
            ("accept 'inout'", "<arp opcode='1'/>"),
            0,
        ),
        (
            ("drop 'inout'", "<mac srcmacaddr='1:1:1:1:1:1'/>"),
            ("drop 'out'", "<mac srcmacaddr='1:1:1:1:1:1'/>"),
            0,
        ),
        (
            ("drop 'inout'", "<mac srcmacaddr='1:1:1:1:1:1'/>"),
            ("drop 'in'", "<arp srcmacaddr='1:1:1:1:1:1'/>"),
            1,
        ),
        (("continue 'out'", ""), ("accept 'out'", "<arp/>"), 0),
        (("drop 'out'", ""), ("accept 'out'", "<tcp/>"), 0),
        (
            ("return 'out'", "<mac srcmacaddr='$MAC'/>"),
            ("return 'out'", "<mac srcmacaddr='$MAC[0]'/>"),
            0,
        ),
    ] {
        let content = rule(first.0, first.1) + &rule(second.0, second.1);
        assert_eq!(hidden(&content), expected, "{content}");
    }
    // Order is by priority.
    let late = "<rule action='drop' direction='in' priority='900'><mac/></rule>";
    let early = "<rule action='accept' direction='in'><arp/></rule>";
    assert_eq!(hidden(&format!("{late}{early}")), 0);
    assert_eq!(hidden(&format!("{}{early}", late.replace("900", "100"))), 1);
}

#[test]
fn backends() {
    let differs = |head: &str, element: &str| {
        let text = format!("<filter name='t'><rule {head}>{element}</rule></filter>");
        let filter = parse_filter(&text, Semantics::Strict).0.unwrap();
        lint_filter(&filter, Semantics::Strict)
            .iter()
            .any(|found| found.code == Code::BackendsDiffer)
    };
    for (head, element, expected) in [
        (ACCEPT_IN, "<tcp dstportstart='22'/>", false),
        (ACCEPT_IN, "<mac protocolid='arp'/>", false),
        (ACCEPT_INOUT, "<tcp dstportstart='22'/>", true),
        (DROP_OUT, "<tcp dstportstart='22'/>", true),
        (DROP_OUT, "<tcp dstportstart='22' state='NEW'/>", false),
        ("action='drop' direction='inout'", "<all/>", false),
        ("action='reject' direction='inout'", "<all/>", true),
        (ACCEPT_IN, "<tcp state='NONE'/>", true),
        (ACCEPT_IN, "<tcp srcmacaddr='1:1:1:1:1:1'/>", true),
        (ACCEPT_IN, "<tcp match='no' dscp='1'/>", true),
        (ACCEPT_IN, "<tcp dscp='1'/>", false),
        (ACCEPT_IN, "<tcp-ipv6 dscp='1'/>", true),
        (ACCEPT_IN, "<tcp-ipv6 dscp='1' srcipaddr='::1'/>", false),
        (ACCEPT_IN, "<tcp flags='ALL/SYN,ACK'/>", true),
        (ACCEPT_IN, "<tcp flags='ALL/SYN'/>", false),
        (ACCEPT_IN, "<all ipset='s' ipsetflags='src'/>", true),
        (ACCEPT_IN, "<ip dscp='1'/>", true),
        (ACCEPT_IN, "<vlan encap-protocol='arp'/>", true),
        (ACCEPT_IN, "<rarp protocoltype='1'/>", true),
        (ACCEPT_IN, "<arp protocoltype='1'/>", false),
        (ACCEPT_IN, "<stp root-cost='1' root-cost-hi='2'/>", true),
        (ACCEPT_IN, "<stp root-cost='1'/>", false),
    ] {
        assert_eq!(differs(head, element), expected, "{head} {element}");
    }
}

#[test]
fn chains_of_one_tree() {
    let rule = "<rule action='drop' direction='in'/>";
    let filter = |name: &str, start: &str, content: &str| {
        let text = format!("<filter name='{name}' {start}>{content}</filter>");
        parse_filter(&text, Semantics::Strict).0.unwrap()
    };
    let top = filter("top", "", "<filterref filter='a'/><filterref filter='b'/>");
    for (first, second, expected) in [
        (
            "chain='ipv4-x'",
            "chain='ipv4-y'",
            vec![(2, Code::ChainOrder)],
        ),
        ("chain='ipv4-x'", "chain='ipv4-y' priority='-650'", vec![]),
        ("chain='ipv4-x'", "chain='ipv6-x' priority='-700'", vec![]),
        (
            "chain='mac-x'",
            "chain='ipv6-x' priority='-800'",
            vec![(1, Code::ChainOrder)],
        ),
        ("chain='ipv4-x'", "chain='ipv4-x'", vec![]),
        (
            "chain='ipv4-x'",
            "chain='ipv4-x' priority='1'",
            vec![(2, Code::ChainPrioritiesDiffer)],
        ),
        ("chain='root' priority='5'", "chain='root'", vec![]),
    ] {
        let (a, b) = (filter("a", first, rule), filter("b", second, rule));
        let found = super::lint_set(&[&top, &a, &b]);
        let found: Vec<_> = found
            .iter()
            .map(|(index, found)| (*index, found.code))
            .collect();
        assert_eq!(found, expected, "{first} {second}");
        // Filters that are not used together have no order.
        assert_eq!(super::lint_set(&[&a, &b]), []);
    }
    // Chains without rules are no chains.
    let (a, b) = (
        filter("a", "chain='ipv4-x'", ""),
        filter("b", "chain='ipv4-y'", rule),
    );
    assert_eq!(super::lint_set(&[&top, &a, &b]), []);
}
