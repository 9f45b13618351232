//! Each kind of finding once: what it says, and what it points at.

use std::collections::BTreeSet;

use crate::{
    diag::{Code, Diagnostic},
    lint::{lint_filter, lint_set},
    model::{Entry, Filter, Rule, Semantics, Value},
    parse::{parse_binding, parse_filter},
};

const RULE: &str = "<rule action='drop' direction='in'>";

/// A rule with these elements, in a filter.
fn rule(elements: &str) -> String {
    format!("<filter name='t'>{RULE}{elements}</rule></filter>")
}

fn rules(filter: &Filter) -> impl Iterator<Item = &Rule> {
    filter.entries.iter().filter_map(|entry| match entry {
        Entry::Rule(rule) => Some(rule),
        Entry::Reference(_) => None,
    })
}

/// Everything found in a filter, by parser and lints.
fn all(text: &str, semantics: Semantics) -> Vec<Diagnostic> {
    let (filter, mut found) = parse_filter(text, semantics);
    if let Some(filter) = &filter {
        found.extend(lint_filter(filter, semantics));
        found.extend(
            lint_set(&[filter, filter])
                .into_iter()
                .map(|(_, found)| found),
        );
    }
    found
}

/// Code, text pointed at, and the start of the message, of findings in strict semantics.
fn cases() -> Vec<(Code, String, &'static str, &'static str)> {
    use Code as C;
    let nested = "<a>".repeat(40);
    vec![
        (C::DocumentTooLarge, format!("<filter name='t'>{}", " ".repeat(16 << 20)), " ", "the document has 16777233 bytes"),
        (C::MalformedXml, "<filter name='t>".into(), "<", "attribute value not closed"),
        (C::RepeatedXmlAttribute, "<filter name='t' name='u'/>".into(), "name", "attribute `name` appears twice"),
        (C::NestedTooDeeply, nested, "a", "elements are nested deeper than the limit of 32"),
        (C::DoctypeRefused, "<!DOCTYPE filter><filter name='t'/>".into(), "<!DOCTYPE", "document type"),
        (C::UnknownEntity, "<filter name='&x;'/>".into(), "&x;", "unknown entity `&x;`"),
        (C::WrongRoot, "<domain/>".into(), "domain", "the document's root element is `<domain>`"),
        (C::MissingAttribute, "<filter name=''/>".into(), "''", "attribute `name` of `<filter>` is empty"),
        (C::IllegalValue, rule("<ip dscp='64'/>"), "64", "`dscp` has the illegal value `64`"),
        (C::IllegalValue, "<filter name='a/b'/>".into(), "a/b", "`a/b` cannot be the name of a file"),
        (C::MalformedVariable, rule("<ip dscp='$A[@1001]'/>"), "$A[@1001]", "`$A[@1001]` is no variable"),
        (C::BadChain, "<filter name='t' chain='rootX'/>".into(), "rootX", "no chain can have the name `rootX`"),
        (C::BadChain, "<filter name='t' chain='ipv4-12345678'/>".into(), "ipv4-12345678", "the chain's name `ipv4-12345678` has 13"),
        (C::BadChain, "<filter name='t' chain='ipv4/x'/>".into(), "ipv4/x", "the chain's name `ipv4/x` has characters"),
        (C::BadChainPriority, "<filter name='t' chain='arp' priority='1001'/>".into(), "1001", "`1001` is no priority of a chain"),
        (C::MalformedUuid, "<filter name='t'><uuid> 12 </uuid></filter>".into(), "12", "`12` is no UUID"),
        (C::PortsWithoutProtocol, rule("<ip srcportstart='1'/><ip protocol='tcp'/>"), "1", "`srcportstart` needs a protocol"),
        (C::PortsWithoutProtocol, rule("<ip srcportstart='1' protocol='$P'/>"), "1", "`srcportstart` needs a protocol"),
        (C::FilterLoop, "<filter name='t'><filterref filter='t'/></filter>".into(), "t", "filter `t` refers to itself"),
        (C::DuplicateFilter, "<filter name='t'/>".into(), "", "filter `t` is defined by another document too"),
        (C::UnknownAttribute, rule("<tcp dcsp='1'/>"), "dcsp", "`<tcp>` has no attribute `dcsp`"),
        (C::UnknownElement, rule("<tpc/>"), "tpc", "unknown element `<tpc>` in `<rule>`"),
        (C::ElementIgnored, rule("<tcp/><udp/>"), "udp", "`<udp>` is ignored in a rule of `<tcp>`"),
        (C::RulePriorityReplaced, "<filter name='t'><rule action='drop' direction='in' priority='x'/></filter>".into(), "x", "`x` is no priority of a rule"),
        (C::BadChainPriority, "<filter name='t' priority='x'/>".into(), "x", "`x` is no priority of a chain"),
        (C::ChainPriorityIgnored, "<filter name='t' priority='7'/>".into(), "7", "the priority is ignored"),
        (C::ParameterDropped, "<filter name='t'><filterref filter='f'><parameter name='A' value=''/></filterref></filter>".into(), "''", "`` is no value of a parameter"),
        (C::CommentTruncated, rule(&format!("<tcp comment='{}'/>", "é".repeat(129))), "", "the comment has 258 bytes, 256 are kept"),
        (C::OddKeyword, rule("<tcp match='NO' dscp='1'/>"), "NO", "`match='NO'` does not negate"),
        (C::OddKeyword, rule("<arp gratuitous='TRUE'/>"), "TRUE", "`TRUE` is read as `false`"),
        (C::OddKeyword, "<filter name='t'><rule action='drop' direction='in' statematch='off'/></filter>".into(), "off", "`statematch='off'` leaves state matching on"),
        (C::AttributeOverwritten, rule("<tcp dscp='1'/><tcp dscp='2'/>"), "2", "attribute `dscp` of this rule is given again"),
        (C::TextIgnored, rule("<tcp/> or "), "or", "text in `<rule>` is ignored"),
        (C::TextIgnored, rule("<tcp dscp='$A[1]or'/>"), "or", "text after a variable is ignored"),
        (C::TextIgnored, rule("<mac srcmacaddr='1:2:3:4:5:6 x'/>"), "1:2:3:4:5:6 x", "what follows the blank"),
        (C::NumberWraps, rule("<stp root-cost='-1'/>"), "-1", "`-1` is read as 4294967295"),
        (C::SurprisingAddress, rule("<ip srcipaddr='10.1'/>"), "10.1", "`10.1` is read as 10.0.0.1"),
        (C::StpPriority, "<filter name='t' chain='stp'/>".into(), "stp", "chain `stp` gets priority 0"),
        (C::PortNegation, rule("<tcp match='no' dstportstart='80'/>"), "80", "libvirt matches this destination port"),
        (C::PortNegation, rule("<tcp match='no' srcportstart='1'/><tcp dstportstart='80'/>"), "80", "libvirt negates this destination port"),
        (C::SignChanged, rule("<icmp type='8'/><icmp match='no' code='0'/>"), "0", "libvirt does not negate `code`"),
        (C::SignChanged, rule("<ip srcipaddr='1.1.1.1'/><ip match='no' srcipmask='24'/>"), "24", "`srcipmask` is not negated"),
        (C::IpSetLost, rule("<tcp ipset='s' ipsetflags='src'/>"), "s", "libvirt forgets the address set of `<tcp>`"),
        (C::NegatedList, rule("<ip match='no' srcipaddr='$IP'/>"), "$IP", "libvirt negates each value of `$IP`"),
        (C::NotRead, rule("<icmp dstmacaddr='1:2:3:4:5:6'/>"), "dstmacaddr", "libvirt does not read `dstmacaddr` of `<icmp>`"),
        (C::NotRead, rule("<tcp-ipv6 flags='SYN/SYN'/>"), "flags", "libvirt does not read `flags` of `<tcp-ipv6>`"),
        (C::NotRead, rule("<stp msg-age='1'/>"), "msg-age", "libvirt does not read `msg-age` of `<stp>`"),
        (C::NotRead, rule("<igmp-ipv6/>"), "igmp-ipv6", "libvirt does not know the element"),
        (C::RangeEndFamily, rule("<all-ipv6 dstipfrom='::1' dstipto='::2'/>"), "::2", "libvirt takes only IPv4 addresses for `dstipto`"),
        (C::DscpIsTos, rule("<ip dscp='46'/>"), "46", "libvirt compares this with the whole TOS byte"),
        (C::EncapProtocolDead, rule("<vlan encap-protocol='arp'/>"), "arp", "libvirt compares this with the EtherType 0x2054"),
        (C::VariableVanishes, rule("<tcp state='$S'/>"), "$S", "libvirt drops the test of `state`"),
        (C::ArpMaskLeaks, rule("<arp arpsrcipaddr='10.0.0.0' arpsrcipmask='8' arpdstipaddr='10.0.0.1'/>"), "8", "libvirt gives `arpdstipaddr` the mask"),
        (C::IncompletePair, rule("<tcp dstportend='80'/>"), "80", "`dstportend` does nothing without `dstportstart`"),
        (C::RangeShadowed, rule("<tcp srcipfrom='1.1.1.1' srcipaddr='1.1.1.1'/>"), "1.1.1.1", "`srcipfrom` is ignored"),
        (C::EmptyRange, rule("<tcp dstportstart='2' dstportend='1'/>"), "1", "the range ends before `dstportstart`"),
        (C::ContinueInInet, "<filter name='t'><rule action='continue' direction='in'><tcp/></rule></filter>".into(), "<rule action='continue' direction='in'>", "libvirt cannot bind `continue`"),
        (C::IcmpTypeInOut, "<filter name='t'><rule action='drop' direction='inout'><icmp type='8'/></rule></filter>".into(), "8", "an ICMP type in an `inout` rule"),
        (C::ConnlimitOneWay, "<filter name='t'><rule action='drop' direction='inout'><tcp connlimit-above='8'/></rule></filter>".into(), "8", "a connection limit in an `inout` rule"),
        (C::CannotBind, rule("<tcp comment='$C'/>"), "$C", "libvirt cannot bind a rule whose `comment`"),
        (C::CannotBind, rule("<tcp ipset='s'/>"), "s", "`ipset` of `<tcp>` without `ipsetflags`"),
        (C::CannotBind, "<filter name='t'><filterref filter=''/></filter>".into(), "''", "no filter has an empty name"),
        (C::EmptyState, rule("<tcp state=','/>"), ",", "the list of states is empty"),
        (C::HiddenRule, format!("<filter name='t'>{RULE}<mac/></rule>{RULE}<arp/></rule></filter>"), RULE, "no frame gets to this rule: the rule in line 1 hides it"),
        (C::NeverMatches, rule("<tcp flags='SYN/ACK'/>"), "SYN/ACK", "these flags can never be set"),
        (C::NoCatchAll, "<filter name='t'><rule action='accept' direction='in'><arp/></rule></filter>".into(), "<rule action='accept' direction='in'>", "every frame that no rule decides passes"),
        (C::ChainEndAccepts, format!("<filter name='t' chain='arp'>{RULE}<arp/></rule></filter>"), RULE, "frames to the VM that reach the end of chain `arp`"),
        (C::BackendsDiffer, rule("<tcp/>"), RULE, "libvirt's two backends read a rule"),
        (C::RejectIsDrop, "<filter name='t'><rule action='reject' direction='in'/></filter>".into(), "<rule action='reject' direction='in'/>", "`reject` drops silently"),
        (C::DropBothWays, rule("<tcp/>"), RULE, "without `state`, this rule"),
        (C::InOutReceiver, "<filter name='t'><rule action='drop' direction='inout'><mac srcmacaddr='$MAC'/></rule></filter>".into(), "$MAC", "`srcmacaddr` of an `inout` rule"),
        (C::ChainWithoutEffect, format!("<filter name='t' chain='ipv4'>{RULE}<tcp/></rule></filter>"), RULE, "chain `ipv4` has no effect"),
    ]
}

#[test]
fn each_finding_points_at_the_culprit() {
    for (code, text, culprit, message) in cases() {
        let found = all(&text, Semantics::Strict);
        let short: String = text.chars().take(200).collect();
        let Some(found) = found
            .iter()
            .find(|found| found.code == code && found.message.starts_with(message))
        else {
            panic!("{code} {message:?} not found in {short}: {found:?}");
        };
        let span = found.primary.span;
        if code != Code::CommentTruncated {
            assert_eq!(&text[span.start..span.end], culprit, "{code} in {short}");
        }
        assert_eq!(found.severity, code.severity());
    }
}

#[test]
fn every_code_has_a_case() {
    let covered: BTreeSet<_> = cases().into_iter().map(|(code, ..)| code).collect();
    // Found before there is text, or only in large ones; bindings and sets of filters have their
    // own tests.
    let elsewhere = BTreeSet::from([
        Code::NotUtf8,
        Code::TooManyElements,
        Code::TooManyFindings,
        Code::IncompleteBinding,
        Code::ChainOrder,
        Code::ChainPrioritiesDiffer,
        Code::MissingFilter,
        Code::MisnamedFilter,
        Code::MissingVariable,
        Code::UnequalLists,
        Code::UnfitValue,
        Code::TooLarge,
        Code::Unsupported,
        Code::ReadDifferently,
    ]);
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !covered.contains(code) && !elsewhere.contains(code))
        .collect();
    assert_eq!(missing, Vec::<&Code>::new());
    assert_eq!(
        parse_binding("<filterbinding/>").1[0].code,
        Code::IncompleteBinding
    );
}

#[test]
fn all_problems_in_one_run_in_document_order() {
    use Code as C;
    let text = "<filter name='t' chain='foo'>\n\
                <rule action='x' direction='y'><tcp dscp='99' foo='1' option='256'/></rule>\n\
                <rule direction='in'><ip srcipaddr='1.2.3.4.5' dstportstart='1'/></rule>\n\
                <filterref/>\n</filter>";
    let (filter, found) = parse_filter(text, Semantics::Strict);
    assert_eq!(filter, None);
    assert_eq!(
        found.iter().map(|found| found.code).collect::<Vec<_>>(),
        [
            C::BadChain,
            C::IllegalValue,
            C::IllegalValue,
            C::IllegalValue,
            C::UnknownAttribute,
            C::IllegalValue,
            C::MissingAttribute,
            C::IllegalValue,
            C::PortsWithoutProtocol,
            C::MissingAttribute,
        ]
    );
}

#[test]
fn did_you_mean() {
    for (elements, help) in [
        ("<tcp dstportstrat='1'/>", "did you mean `dstportstart`?"),
        ("<tcp Match='no'/>", "did you mean `match`?"),
        ("<upd/>", "did you mean `<udp>`?"),
        ("<mac protocolid='ipv'/>", "did you mean `ipv4`?"),
        ("<arp opcode='Requets'/>", "did you mean `Request`?"),
    ] {
        let found = all(&rule(elements), Semantics::Strict);
        assert!(
            found
                .iter()
                .any(|found| found.help.as_deref() == Some(help)),
            "{elements} {found:?}"
        );
    }
}

#[test]
fn lines_count_from_one() {
    let text = format!(
        "<?xml version='1.0'?>\n<!--\n-->\n<filter name='t'>\n\n {RULE}</rule>{RULE}</rule>\n</filter>"
    );
    let filter = parse_filter(&text, Semantics::Strict).0.unwrap();
    let rules: Vec<_> = rules(&filter)
        .map(|rule| (rule.line, rule.span.start))
        .collect();
    assert_eq!(rules[0].0, 6);
    assert_eq!(rules[1].0, 6);
    assert!(text[rules[1].1..].starts_with(RULE));
}

/// In strict semantics the documented meaning is kept, in libvirt's what libvirt keeps.
#[test]
fn the_two_readings() {
    let attributes = |elements: &str, semantics| {
        let filter = parse_filter(&rule(elements), semantics).0.unwrap();
        let rule = rules(&filter).next().unwrap().clone();
        let list: Vec<String> = rule
            .attributes
            .iter()
            .map(|a| format!("{}{}", if a.negated { "!" } else { "" }, a.attr))
            .collect();
        (rule.protocol.as_str(), list.join(" "))
    };
    for (elements, strict, libvirt) in [
        (
            "<tcp match='no' dstportstart='1' dstportend='2'/>",
            "!dstportstart !dstportend",
            "dstportstart dstportend",
        ),
        ("<tcp-ipv6 flags='SYN/SYN' dscp='1'/>", "flags dscp", "dscp"),
        ("<udp ipset='s' ipsetflags='src'/>", "ipset ipsetflags", ""),
        (
            "<all ipset='s' ipsetflags='src'/>",
            "ipset ipsetflags",
            "ipset ipsetflags",
        ),
        (
            "<igmp srcmacmask='ff:0:0:0:0:0' srcmacaddr='1:1:1:1:1:1'/>",
            "srcmacaddr srcmacmask",
            "srcmacaddr",
        ),
        ("<stp port='1' port_hi='2'/>", "port port-hi", "port"),
        ("<stp port-hi='2' port_hi='3'/>", "port-hi", "port-hi"),
        (
            "<icmp type='1'/><icmp match='no' code='2'/>",
            "type !code",
            "type code",
        ),
    ] {
        assert_eq!(
            attributes(elements, Semantics::Strict).1,
            strict,
            "{elements}"
        );
        assert_eq!(
            attributes(elements, Semantics::Libvirt).1,
            libvirt,
            "{elements}"
        );
    }
    assert_eq!(attributes("<igmp-ipv6/>", Semantics::Strict).0, "igmp-ipv6");
    assert_eq!(attributes("<igmp-ipv6/>", Semantics::Libvirt).0, "none");
    assert_eq!(
        attributes("<igmp-ipv6/><tcp/>", Semantics::Libvirt).0,
        "tcp"
    );
}

#[test]
fn attributes_are_sorted_and_variables_kept() {
    let text = rule(
        "<tcp comment='c' state='NEW' dstportstart='$P[@2]' srcmacaddr='1:2:3:4:5:6' flags='SYN/SYN'/>",
    );
    let filter = parse_filter(&text, Semantics::Strict).0.unwrap();
    let rule = rules(&filter).next().unwrap();
    let attrs: Vec<_> = rule.attributes.iter().map(|a| a.attr).collect();
    assert!(attrs.is_sorted());
    let variable = rule
        .attributes
        .iter()
        .find(|a| matches!(a.value, Value::Variable(_)))
        .unwrap();
    assert_eq!(&text[variable.span.start..variable.span.end], "$P[@2]");
}
