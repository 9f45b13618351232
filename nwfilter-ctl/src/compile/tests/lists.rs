//! Flat lists, as printed.

use nwfilter_common::{Class, Field, LeafVerdict};

use super::*;

fn shown(compiled: &Compiled) -> String {
    compiled.to_string()
}

#[test]
fn clean_traffic() {
    let text = shown(&builtin(
        "clean-traffic",
        MAC,
        &[("IP", "10.0.0.1"), ("IP", "10.0.0.2")],
    ));
    if std::env::var_os("BLESS").is_some() {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/compile/tests/clean-traffic.txt"
        );
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(
        text,
        include_str!("clean-traffic.txt"),
        "if right, run with BLESS=1"
    );
}

#[test]
fn values_are_written_as_people_write_them() {
    let compiled = compiled(
        "<rule action='drop' direction='in'>\
           <mac srcmacaddr='02:00:00:00:00:00' srcmacmask='ff:ff:00:00:00:00' protocolid='arp'/></rule>\
         <rule action='reject' direction='in'>\
           <tcp srcipaddr='10.1.0.0' srcipmask='16' dscp='46' flags='SYN/SYN' dstportstart='80' dstportend='90'/></rule>\
         <rule action='drop' direction='in'><udp match='no' srcipfrom='10.0.0.1' srcipto='10.0.0.6'/></rule>",
    );
    let rules: Vec<String> = [TableLayer::Ethernet, TableLayer::Inet]
        .iter()
        .flat_map(|layer| &compiled.lists[&(FrameDirection::In, *layer)])
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        rules,
        [
            "drop if source MAC 02:00:00:00:00:00/16 and EtherType 0x0806",
            "accept",
            "reject if EtherType 0x0800 and protocol 6 and TCP flags 0x02-0x03, 0x06-0x07, \
             0x0a-0x0b, 0x0e-0x0f, 0x12-0x13, 0x16-0x17, 0x1a-0x1b, 0x1e-0x1f, 0x22-0x23, \
             0x26-0x27, 0x2a-0x2b, 0x2e-0x2f, 0x32-0x33, 0x36-0x37, 0x3a-0x3b, 0x3e-0x3f \
             and IPv4 source 10.1.0.0/16 and destination port 80-90 and traffic class 0xb8-0xbb",
            "drop if EtherType 0x0800 and protocol 17 and IPv4 source not 10.0.0.1-10.0.0.6",
            "accept",
        ]
    );
}

/// The inet rules of a direction, without the end of the layer.
fn inet(compiled: &Compiled, direction: FrameDirection) -> Vec<String> {
    let rules = &compiled.lists[&(direction, TableLayer::Inet)];
    let rules = rules[..rules.len() - 1].iter();
    rules.map(ToString::to_string).collect()
}

#[test]
fn a_swapped_rule_has_no_mac_test_and_is_left_out_without_another() {
    let compiled = compiled(
        "<rule action='drop' direction='out'><tcp srcmacaddr='02:00:00:00:00:01'/></rule>\
         <rule action='drop' direction='out'>\
           <udp srcmacaddr='02:00:00:00:00:01' dstmacaddr='02:00:00:00:00:02' dstportstart='53'/></rule>",
    );
    assert_eq!(
        inet(&compiled, FrameDirection::Out),
        [
            "drop if EtherType 0x0800 and protocol 6 and source MAC 02:00:00:00:00:01",
            "drop if EtherType 0x0800 and protocol 17 and source MAC 02:00:00:00:00:01 \
             and destination MAC 02:00:00:00:00:02 and destination port 53",
        ]
    );
    assert_eq!(
        inet(&compiled, FrameDirection::In),
        ["drop if EtherType 0x0800 and protocol 17 and source port 53"]
    );
}

#[test]
fn icmp_type_and_code_are_negated_as_a_unit_and_go_one_way() {
    let compiled = compiled(
        "<rule action='drop' direction='out'><icmp match='no' type='8' code='0'/></rule>\
         <rule action='drop' direction='out'><icmp type='3'/><icmp match='no' code='4'/></rule>\
         <rule action='accept' direction='inout' statematch='false'><icmp type='0'/></rule>",
    );
    assert_eq!(
        inet(&compiled, FrameDirection::Out),
        [
            "drop if EtherType 0x0800 and protocol 1 and ICMP type not 8",
            "drop if EtherType 0x0800 and protocol 1 and ICMP type 8 and ICMP code 1-255",
            "drop if EtherType 0x0800 and protocol 1 and ICMP type 3 and ICMP code not 4",
        ]
    );
    assert_eq!(inet(&compiled, FrameDirection::In), [""; 0]);
}

#[test]
fn a_negated_list_of_states_matches_what_is_untracked() {
    let rules = instances(
        "<rule action='drop' direction='out'><all match='no' state='NEW,ESTABLISHED'/></rule>",
    );
    let states = |semantics| {
        let compiled = compile(&rules, semantics).unwrap();
        let rules = &compiled.lists[&(FrameDirection::Out, TableLayer::Inet)];
        let states = |condition: &Condition| match condition {
            Condition::In(Field::CtState, set) => Some(set.clone()),
            _ => None,
        };
        rules[0].conditions.iter().find_map(states).unwrap()
    };
    let new_or_established = ValueSet::from_values(0..3);
    assert_eq!(states(Semantics::Strict), ValueSet::from_values(3..7));
    // libvirt loses the sign.
    assert_eq!(states(Semantics::Libvirt), new_or_established);
}

#[test]
fn a_test_that_holds_for_every_port_needs_a_port() {
    let compiled = compiled(
        "<rule action='return' direction='out'><udp dstportstart='0' dstportend='65535'/></rule>",
    );
    let rules = &compiled.lists[&(FrameDirection::Out, TableLayer::Inet)];
    let outcome = |class| {
        let layer = TableLayer::Inet;
        let special = specialise::specialise(rules, class, layer, Semantics::Strict);
        special[0].1.outcome
    };
    let decide = Outcome::Decide;
    assert_eq!(outcome(Class::Ip4Udp), decide(LeafVerdict::Accept));
    assert_eq!(outcome(Class::Ip4Fragment), decide(LeafVerdict::Drop));
}

#[test]
fn a_broken_list_of_tcp_options_leaves_doubt() {
    let list = |rule: &str| {
        let compiled = compiled(rule);
        let rules = &compiled.lists[&(FrameDirection::In, TableLayer::Inet)];
        rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        list("<rule action='accept' direction='in' statematch='0'><tcp option='200'/></rule>"),
        [
            "drop if EtherType 0x0800 and protocol 6 and no TCP option 200 and TCP options broken 1",
            "accept if EtherType 0x0800 and protocol 6 and TCP option 200",
            "accept",
        ]
    );
    assert_eq!(
        list("<rule action='drop' direction='in'><tcp match='no' option='3'/></rule>"),
        [
            "drop if EtherType 0x0800 and protocol 6 and no TCP option 3 and TCP options broken 1",
            "drop if EtherType 0x0800 and protocol 6 and no TCP option 3 and TCP options broken 0",
            "accept",
        ]
    );
}

#[test]
fn limits_and_sets_stand_in_the_list() {
    let compiled = compiled(
        "<rule action='drop' direction='inout'><all ipset='x' ipsetflags='src,dst'/></rule>\
         <rule action='drop' direction='out'><tcp match='no' connlimit-above='3'/></rule>",
    );
    let rules = &compiled.lists[&(FrameDirection::Out, TableLayer::Inet)];
    let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "drop if EtherType 0x0800 and in set x by dst,src",
            "drop if EtherType 0x0800 and protocol 6 and at most 3 connections (limit 0)",
            "accept",
        ]
    );
}
