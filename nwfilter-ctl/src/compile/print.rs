//! Flat lists for people: one line per rule, values in the notation of their field.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

use nwfilter_common::{Field, FrameDirection, LeafVerdict, MacAddr, TableLayer};

use super::{
    Compiled,
    rule::{Condition, FlatRule, LimitTest, Outcome, SlotTest},
    set::ValueSet,
};

/// The lists, each with a heading, each rule with its position and who it is.
impl Display for Compiled {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for ((direction, layer), rules) in &self.lists {
            let direction = match direction {
                FrameDirection::In => "in",
                FrameDirection::Out => "out",
            };
            let layer = match layer {
                TableLayer::Ethernet => "Ethernet",
                TableLayer::Inet => "inet",
            };
            writeln!(f, "{direction}, {layer} layer:")?;
            for (position, rule) in rules.iter().enumerate() {
                write!(f, "{position:5} {rule}")?;
                match self.entries.get(rule.entry as usize) {
                    Some(entry) => writeln!(f, "  [{entry}]")?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}

impl Display for FlatRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        for (i, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if i == 0 { " if " } else { " and " })?;
        }
        Ok(())
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decide(LeafVerdict::Accept) => f.write_str("accept"),
            Self::Decide(LeafVerdict::Drop) => f.write_str("drop"),
            Self::Decide(LeafVerdict::Reject) => f.write_str("reject"),
            Self::Decide(LeafVerdict::NoLayer) => f.write_str("no such layer"),
            Self::Skip(position) => write!(f, "go to {position}"),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(field, set) => {
                let outside = set.complement(field.max_value());
                // The shorter way to say it.
                let shorter = outside.intervals().len() < set.intervals().len();
                let (not, shown) = if shorter && !outside.is_empty() {
                    ("not ", &outside)
                } else {
                    ("", set)
                };
                write!(f, "{} {not}{}", name(*field), Values(*field, shown))
            }
            Self::Slots(
                SlotTest {
                    field,
                    first,
                    count,
                },
                negated,
            ) => {
                let not = if *negated { "not " } else { "" };
                let name = match field {
                    Field::Ip6SrcHigh => "IPv6 source",
                    Field::Ip6DstHigh => "IPv6 destination",
                    field => name(*field),
                };
                write!(f, "{name} {not}port address {first}")?;
                let count = count
                    * SlotTest::stride(SlotTest {
                        field: *field,
                        first: *first,
                        count: *count,
                    });
                if count > 1 {
                    write!(f, "..{}", first + count - 1)?;
                }
                Ok(())
            }
            Self::Bit(test, wanted) => {
                let not = if *wanted { "" } else { "no " };
                write!(f, "{not}TCP option {}", test.option_kind())
            }
            Self::Set(test, wanted) => {
                let not = if *wanted { "" } else { "not " };
                write!(f, "{not}in set {} by {}", test.name, test.directions())
            }
            Self::Limit(LimitTest { number, most }, above) => {
                let more = if *above { "more than" } else { "at most" };
                write!(f, "{more} {most} connections (limit {number})")
            }
        }
    }
}

/// A set of values of a field.
struct Values<'a>(Field, &'a ValueSet);

impl Display for Values<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(field, set) = *self;
        if set.is_full(field.max_value()) {
            return f.write_str("any");
        }
        if set.is_empty() {
            return f.write_str("none");
        }
        for (i, &(low, high)) in set.intervals().iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            value(f, field, low)?;
            if low == high {
                continue;
            }
            match prefix_length(field, low, high) {
                Some(length) if field.bits() >= 32 => write!(f, "/{length}")?,
                _ => {
                    f.write_str("-")?;
                    value(f, field, high)?;
                }
            }
        }
        Ok(())
    }
}

/// Length of the prefix that all values from `low` to `high`, and no others, have.
fn prefix_length(field: Field, low: u64, high: u64) -> Option<u32> {
    let host = low ^ high;
    let is_mask = host & host.wrapping_add(1) == 0 && low & host == 0;
    is_mask.then(|| field.bits() - host.count_ones())
}

fn value(f: &mut Formatter<'_>, field: Field, value: u64) -> fmt::Result {
    match field {
        Field::SrcMac
        | Field::DstMac
        | Field::ArpSrcMac
        | Field::ArpDstMac
        | Field::StpRootAddress
        | Field::StpSenderAddress => {
            let [_, _, octets @ ..] = value.to_be_bytes();
            write!(f, "{}", MacAddr(octets))
        }
        Field::Ip4Src | Field::Ip4Dst | Field::ArpSrcIp | Field::ArpDstIp => {
            write!(f, "{}", Ipv4Addr::from(value as u32))
        }
        Field::Ip6SrcHigh | Field::Ip6SrcLow | Field::Ip6DstHigh | Field::Ip6DstLow => {
            let group = |shift: u32| (value >> shift) as u16;
            write!(
                f,
                "{:x}:{:x}:{:x}:{:x}",
                group(48),
                group(32),
                group(16),
                group(0)
            )
        }
        Field::EtherType | Field::VlanEncap | Field::ArpProtocol => write!(f, "{value:#06x}"),
        Field::TrafficClass | Field::TcpFlags => write!(f, "{value:#04x}"),
        Field::CtState => f.write_str(match value {
            0 => "new",
            1 => "established original",
            2 => "established reply",
            3 => "related original",
            4 => "related reply",
            5 => "invalid",
            6 => "untracked",
            _ => "unknown",
        }),
        _ => write!(f, "{value}"),
    }
}

/// What a field is called.
const fn name(field: Field) -> &'static str {
    match field {
        Field::SrcMac => "source MAC",
        Field::DstMac => "destination MAC",
        Field::EtherType => "EtherType",
        Field::VlanId => "VLAN id",
        Field::VlanEncap => "EtherType in VLAN",
        Field::ArpHwType => "ARP hardware type",
        Field::ArpProtocol => "ARP protocol type",
        Field::ArpOpcode => "ARP opcode",
        Field::ArpMacs => "ARP has MACs",
        Field::ArpIps => "ARP has IPv4 addresses",
        Field::ArpSrcMac => "ARP sender MAC",
        Field::ArpDstMac => "ARP target MAC",
        Field::ArpSrcIp => "ARP sender IP",
        Field::ArpDstIp => "ARP target IP",
        Field::ArpGratuitous => "ARP gratuitous",
        Field::Ip4Src => "IPv4 source",
        Field::Ip4Dst => "IPv4 destination",
        Field::Ip6SrcHigh => "IPv6 source, first half",
        Field::Ip6SrcLow => "IPv6 source, last half",
        Field::Ip6DstHigh => "IPv6 destination, first half",
        Field::Ip6DstLow => "IPv6 destination, last half",
        Field::IpProtocol => "protocol",
        Field::TrafficClass => "traffic class",
        Field::SrcPort => "source port",
        Field::DstPort => "destination port",
        Field::IcmpType => "ICMP type",
        Field::IcmpCode => "ICMP code",
        Field::TcpFlags => "TCP flags",
        Field::CtState => "connection",
        Field::StpType => "STP type",
        Field::StpFlags => "STP flags",
        Field::StpRootPriority => "STP root priority",
        Field::StpRootAddress => "STP root address",
        Field::StpRootCost => "STP root cost",
        Field::StpSenderPriority => "STP sender priority",
        Field::StpSenderAddress => "STP sender address",
        Field::StpPort => "STP port",
        Field::StpAge => "STP age",
        Field::StpMaxAge => "STP maximum age",
        Field::StpHelloTime => "STP hello time",
        Field::StpForwardDelay => "STP forward delay",
        Field::TcpOptionsBroken => "TCP options broken",
        Field::TcpOptions0 => "TCP options 0-63",
        Field::TcpOptions1 => "TCP options 64-127",
        Field::TcpOptions2 => "TCP options 128-191",
        Field::TcpOptions3 => "TCP options 192-255",
    }
}
