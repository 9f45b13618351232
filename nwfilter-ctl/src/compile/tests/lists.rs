//! Flat lists, as printed.

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
    assert_eq!(text, include_str!("clean-traffic.txt"));
}

#[test]
fn values_are_written_as_people_write_them() {
    let compiled = compiled(
        "<rule action='drop' direction='in'>\
           <mac srcmacaddr='02:00:00:00:00:00' srcmacmask='ff:ff:00:00:00:00' protocolid='arp'/></rule>\
         <rule action='reject' direction='in'>\
           <tcp srcipaddr='10.1.0.0' srcipmask='16' dscp='46' flags='SYN/SYN' dstportstart='80' dstportend='90'/></rule>\
         <rule action='drop' direction='in'><udp match='no' srcipfrom='10.0.0.1' srcipto='10.0.0.6'/></rule>\
         <rule action='drop' direction='in'><all-ipv6 srcipaddr='fd00::' srcipmask='32'/></rule>\
         <rule action='drop' direction='in'><all state='NEW,INVALID'/></rule>",
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
            "drop if EtherType 0x86dd and IPv6 source, first half fd00:0:0:0/32 \
             and IPv6 source, last half any",
            "drop if EtherType 0x0800 and connection new, invalid",
            "accept",
        ]
    );
}
