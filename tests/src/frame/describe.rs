//! One line about a frame, for people. Reads defensively, judges nothing.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use nwfilter_common::MacAddr;

use super::tcp;

/// What the frame is, in the manner of tcpdump: addresses, tags, then the innermost header that is
/// understood. A frame that ends early says so at the place where it does.
pub fn describe(frame: &[u8]) -> String {
    let mut line = String::new();
    // Writing to a String does not fail, so what comes back is only "ended early".
    if ethernet(&mut Bytes(frame), &mut line).is_none() {
        line.push_str(if line.is_empty() {
            "truncated"
        } else {
            ", truncated"
        });
    }
    line
}

/// What is still unread.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn ipv6(&mut self) -> Option<Ipv6Addr> {
        self.take::<16>().map(Ipv6Addr::from)
    }
}

/// Appends to the line.
macro_rules! say {
    ($line:expr, $($format:tt)+) => {
        let _ = write!($line, $($format)+);
    };
}

fn ethernet(bytes: &mut Bytes, line: &mut String) -> Option<()> {
    let destination = MacAddr(bytes.take()?);
    let source = MacAddr(bytes.take()?);
    say!(line, "{source} > {destination}");
    let mut ethertype = bytes.number()?;
    while matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
        let control = bytes.number()?;
        let name = if ethertype == 0x8100 {
            "vlan"
        } else {
            "outer vlan"
        };
        say!(line, ", {name} {}", control & 0xfff);
        if control >> 13 != 0 {
            say!(line, " prio {}", control >> 13);
        }
        ethertype = bytes.number()?;
    }
    match ethertype {
        0x0800 => ipv4(bytes, line),
        0x86dd => ipv6(bytes, line),
        0x0806 => arp("ARP", bytes, line),
        0x8035 => arp("RARP", bytes, line),
        length @ 0..0x600 => {
            // Padding is not content.
            let mut content = Bytes(bytes.slice(usize::from(length).min(bytes.0.len()))?);
            llc(&mut content, line)
        }
        other => {
            say!(line, ", type {other:#06x}, {} bytes", bytes.0.len());
            Some(())
        }
    }
}

fn llc(bytes: &mut Bytes, line: &mut String) -> Option<()> {
    let [destination, source, control] = bytes.take()?;
    if (destination, source, control) != (0x42, 0x42, 3) {
        say!(
            line,
            ", LLC {source:02x} > {destination:02x} control {control:02x}"
        );
        return Some(());
    }
    say!(line, ", STP");
    let [_, _, version, kind] = bytes.take()?;
    match (version, kind) {
        (_, 0x80) => {
            say!(line, " topology change");
            return Some(());
        }
        (0, 0) => {
            say!(line, " config");
        }
        (2, 2) => {
            say!(line, " rapid");
        }
        _ => {
            say!(line, " version {version} type {kind:#04x}");
        }
    }
    let flags = bytes.byte()?;
    let root_priority = bytes.number()?;
    let root = MacAddr(bytes.take()?);
    let cost = u32::from_be_bytes(bytes.take()?);
    let priority = bytes.number()?;
    let bridge = MacAddr(bytes.take()?);
    let port = bytes.number()?;
    say!(
        line,
        " flags {flags:#04x} root {root_priority:04x}.{root} cost {cost} bridge \
         {priority:04x}.{bridge} port {port:#06x}"
    );
    Some(())
}

fn arp(name: &str, bytes: &mut Bytes, line: &mut String) -> Option<()> {
    say!(line, ", {name}");
    let (hardware, protocol) = (bytes.number()?, bytes.number()?);
    let [hardware_length, protocol_length] = bytes.take()?;
    let operation = bytes.number()?;
    match operation {
        1 => line.push_str(" request"),
        2 => line.push_str(" reply"),
        3 => line.push_str(" reverse request"),
        4 => line.push_str(" reverse reply"),
        other => {
            say!(line, " operation {other}");
        }
    }
    if (hardware, protocol, hardware_length, protocol_length) != (1, 0x0800, 6, 4) {
        say!(
            line,
            " hardware {hardware}/{hardware_length} protocol {protocol:#06x}/{protocol_length}"
        );
        return Some(());
    }
    let sender = (MacAddr(bytes.take()?), Ipv4Addr::from(bytes.take::<4>()?));
    let target = (MacAddr(bytes.take()?), Ipv4Addr::from(bytes.take::<4>()?));
    say!(
        line,
        " {} is {}, target {} is {}",
        sender.1,
        sender.0,
        target.1,
        target.0
    );
    Some(())
}

fn ipv4(bytes: &mut Bytes, line: &mut String) -> Option<()> {
    let [first, service] = bytes.take()?;
    let total = usize::from(bytes.number()?);
    let [_, _, fragment_high, fragment_low, _, protocol, _, _] = bytes.take()?;
    let source = Ipv4Addr::from(bytes.take::<4>()?).to_string();
    let destination = Ipv4Addr::from(bytes.take::<4>()?).to_string();
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < 20 {
        say!(
            line,
            ", IPv4 {source} > {destination} with a bad header {first:#04x}"
        );
        return Some(());
    }
    let options = bytes.slice(header - 20)?;
    // Padding is not content.
    let body = total.saturating_sub(header).min(bytes.0.len());
    let mut content = Bytes(bytes.slice(body)?);
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    let (offset, more) = (fragment & 0x1fff, fragment & 0x2000 != 0);
    let packet = Packet {
        family: "IPv4",
        source,
        destination,
    };
    if offset == 0 {
        upper(protocol, &packet, &mut content, line)?;
    } else {
        packet.say(line);
        say!(line, " protocol {protocol}");
    }
    if service != 0 {
        say!(line, ", tos {service:#04x}");
    }
    if !options.is_empty() {
        say!(line, ", {} bytes of options", options.len());
    }
    say_fragment(line, offset, more);
    Some(())
}

fn ipv6(bytes: &mut Bytes, line: &mut String) -> Option<()> {
    let word = u32::from_be_bytes(bytes.take()?);
    let length = usize::from(bytes.number()?);
    let [mut next, _] = bytes.take()?;
    let packet = Packet {
        family: "IPv6",
        source: bytes.ipv6()?.to_string(),
        destination: bytes.ipv6()?.to_string(),
    };
    let mut content = Bytes(bytes.slice(length.min(bytes.0.len()))?);
    let mut extensions = String::new();
    let mut fragment = (0, false);
    while let 0 | 43 | 44 | 51 | 60 = next {
        let [following, units] = content.take()?;
        match next {
            44 => {
                let field = content.number()?;
                content.slice(4)?;
                fragment = (field >> 3, field & 1 != 0);
            }
            51 => {
                content.slice((usize::from(units) + 2) * 4 - 2)?;
            }
            _ => {
                content.slice(usize::from(units) * 8 + 6)?;
            }
        }
        extensions.push_str(match next {
            0 => ", hop-by-hop",
            43 => ", routing",
            51 => ", AH",
            60 => ", destination options",
            _ => "",
        });
        next = following;
        if fragment.0 != 0 {
            break;
        }
    }
    if fragment.0 == 0 {
        upper(next, &packet, &mut content, line)?;
    } else {
        packet.say(line);
        say!(line, " protocol {next}");
    }
    let class = word >> 20 & 0xff;
    if class != 0 {
        say!(line, ", class {class:#04x}");
    }
    line.push_str(&extensions);
    say_fragment(line, fragment.0, fragment.1);
    Some(())
}

/// The addresses of a packet.
struct Packet {
    family: &'static str,
    source: String,
    destination: String,
}

impl Packet {
    fn say(&self, line: &mut String) {
        say!(
            line,
            ", {} {} > {}",
            self.family,
            self.source,
            self.destination
        );
    }

    fn say_with_ports(&self, bytes: &mut Bytes, line: &mut String) -> Option<()> {
        let (Some(source), Some(destination)) = (bytes.number(), bytes.number()) else {
            self.say(line);
            return None;
        };
        let [open, close] = if self.family == "IPv6" {
            ["[", "]"]
        } else {
            ["", ""]
        };
        say!(
            line,
            ", {} {open}{}{close}:{source} > {open}{}{close}:{destination}",
            self.family,
            self.source,
            self.destination
        );
        Some(())
    }
}

/// The first header after IP's.
fn upper(protocol: u8, packet: &Packet, bytes: &mut Bytes, line: &mut String) -> Option<()> {
    match protocol {
        6 => {
            packet.say_with_ports(bytes, line)?;
            say!(line, " TCP");
            bytes.slice(8)?;
            let [words, flags] = bytes.take()?;
            let names = [
                (tcp::FIN, "FIN"),
                (tcp::SYN, "SYN"),
                (tcp::RST, "RST"),
                (tcp::PSH, "PSH"),
                (tcp::ACK, "ACK"),
                (tcp::URG, "URG"),
                (0x40, "ECE"),
                (0x80, "CWR"),
            ];
            for (_, name) in names.iter().filter(|(bit, _)| flags & bit != 0) {
                say!(line, " {name}");
            }
            let header = (usize::from(words >> 4) * 4).checked_sub(14)?;
            bytes.slice(header)?;
            say!(line, ", {} bytes", bytes.0.len());
        }
        17 | 136 => {
            packet.say_with_ports(bytes, line)?;
            say!(line, " {}", if protocol == 17 { "UDP" } else { "UDP-Lite" });
            bytes.slice(4)?;
            say!(line, ", {} bytes", bytes.0.len());
        }
        132 => {
            packet.say_with_ports(bytes, line)?;
            say!(line, " SCTP");
            bytes.slice(8)?;
            say!(line, ", {} bytes", bytes.0.len());
        }
        1 | 58 => {
            packet.say(line);
            say!(line, " {}", if protocol == 1 { "ICMP" } else { "ICMPv6" });
            let [kind, code] = bytes.take()?;
            match icmp_name(protocol, kind) {
                Some(name) => {
                    say!(line, " {name}");
                }
                None => {
                    say!(line, " type {kind}");
                }
            }
            if code != 0 {
                say!(line, " code {code}");
            }
            bytes.slice(2)?;
            if let (1, 0 | 8) | (58, 128 | 129) = (protocol, kind) {
                let (identifier, sequence) = (bytes.number()?, bytes.number()?);
                say!(line, " id {identifier} seq {sequence}");
            }
        }
        59 => {
            packet.say(line);
            say!(line, " nothing");
        }
        other => {
            packet.say(line);
            match other {
                2 => line.push_str(" IGMP"),
                50 => line.push_str(" ESP"),
                51 => line.push_str(" AH"),
                _ => {
                    say!(line, " protocol {other}");
                }
            }
            say!(line, ", {} bytes", bytes.0.len());
        }
    }
    Some(())
}

fn icmp_name(protocol: u8, kind: u8) -> Option<&'static str> {
    Some(match (protocol, kind) {
        (1, 0) | (58, 129) => "echo reply",
        (1, 8) | (58, 128) => "echo request",
        (1, 3) | (58, 1) => "unreachable",
        (1, 5) | (58, 137) => "redirect",
        (1, 11) | (58, 3) => "time exceeded",
        (58, 2) => "packet too big",
        (58, 133) => "router solicitation",
        (58, 134) => "router advertisement",
        (58, 135) => "neighbour solicitation",
        (58, 136) => "neighbour advertisement",
        _ => return None,
    })
}

fn say_fragment(line: &mut String, offset: u16, more: bool) {
    if offset != 0 || more {
        let end = if more { "+" } else { "" };
        say!(line, ", fragment at {}{end}", u32::from(offset) * 8);
    }
}
