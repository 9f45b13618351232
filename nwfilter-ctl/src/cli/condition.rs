//! Fields, values and conditions in words.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::{CtState, Field, MacAddr, Slot};

use crate::{
    compile::{Condition, SlotTest, ValueSet},
    model::TCP_FLAG_NAMES,
};

/// A condition with the values of the port: `source IPv4 = 10.0.0.1 (slot 1)`.
pub(super) fn condition(condition: &Condition, slots: &[Slot]) -> String {
    match condition {
        Condition::In(field, set) => {
            // Whichever is shorter to say.
            let others = set.complement(field.max_value());
            let (sign, set) = if others.intervals().len() < set.intervals().len() {
                ("!=", &others)
            } else {
                ("=", set)
            };
            format!("{} {sign} {}", name(*field), values(*field, set))
        }
        Condition::Slots(test, negated) => {
            let sign = if *negated { "!=" } else { "=" };
            format!(
                "{} {sign} {}",
                subject(test.field),
                slot_values(*test, slots)
            )
        }
        Condition::Bit(test, wanted) => {
            let no = if *wanted { "" } else { "no " };
            format!("{no}TCP option {}", test.option_kind())
        }
        Condition::Set(test, wanted) => {
            let not = if *wanted { "" } else { "not " };
            format!("{not}in set {} by {}", test.name, test.directions())
        }
        Condition::Limit(test, above) => {
            let more = if *above { "more than" } else { "at most" };
            format!("{more} {} connections (limit {})", test.most, test.number)
        }
    }
}

/// What a test with slots is about: of IPv6 addresses both halves.
pub(super) const fn subject(field: Field) -> &'static str {
    match field {
        Field::Ip6SrcHigh => "source IPv6",
        Field::Ip6DstHigh => "destination IPv6",
        field => name(field),
    }
}

fn slot_values(test: SlotTest, slots: &[Slot]) -> String {
    let stride = usize::from(test.stride());
    let numbers = (0..usize::from(test.count)).map(|nth| usize::from(test.first) + nth * stride);
    let described: Vec<String> = numbers.map(|at| slot(test.field, at, slots)).collect();
    let after = usize::from(test.first) + usize::from(test.count) * stride;
    let last = after.saturating_sub(1);
    let range = if last > usize::from(test.first) {
        format!("slots {}-{last}", test.first)
    } else {
        format!("slot {}", test.first)
    };
    format!("{} ({range})", braced(&described))
}

/// The value in a slot, or in a pair of slots, that is compared with a field.
pub(super) fn slot(field: Field, at: usize, slots: &[Slot]) -> String {
    let Some(high) = slots.get(at) else {
        return "nothing".into();
    };
    if field.low_half().is_some() {
        let low = slots.get(at + 1).copied().unwrap_or_default();
        let address = address6(high.value, low.value);
        let mask = u128::from(high.mask) << 64 | u128::from(low.mask);
        return match (mask, mask.leading_ones()) {
            (u128::MAX, _) => address.to_string(),
            (mask, ones) if mask.count_ones() == ones => format!("{address}/{ones}"),
            _ => format!("{address}/{}", address6(high.mask, low.mask)),
        };
    }
    let text = value(field, high.value);
    if high.mask == field.max_value() {
        text
    } else {
        format!("{text}/{}", value(field, high.mask))
    }
}

pub(super) fn address6(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low))
}

/// A set of values: one, or a list in braces.
fn values(field: Field, set: &ValueSet) -> String {
    let described: Vec<String> = set
        .intervals()
        .iter()
        .flat_map(|&(low, high)| match field {
            // Names have no order.
            Field::CtState | Field::TcpFlags => (low..=high).map(|one| value(field, one)).collect(),
            _ => vec![interval(field, low, high)],
        })
        .collect();
    braced(&described)
}

fn braced(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        values => format!("{{{}}}", values.join(", ")),
    }
}

fn interval(field: Field, low: u64, high: u64) -> String {
    if low == high {
        return value(field, low);
    }
    let is_address = matches!(
        field,
        Field::Ip4Src
            | Field::Ip4Dst
            | Field::ArpSrcIp
            | Field::ArpDstIp
            | Field::Ip6SrcHigh
            | Field::Ip6DstHigh
    );
    let host = low ^ high;
    let is_prefix = host & host.wrapping_add(1) == 0 && low & host == 0;
    if is_address && is_prefix {
        let bits = field.bits() - host.count_ones();
        return format!("{}/{bits}", value(field, low));
    }
    format!("{}-{}", value(field, low), value(field, high))
}

/// A value as people write it.
pub(super) fn value(field: Field, value: u64) -> String {
    match field {
        Field::SrcMac
        | Field::DstMac
        | Field::ArpSrcMac
        | Field::ArpDstMac
        | Field::StpRootAddress
        | Field::StpSenderAddress => MacAddr::from_u64(value).to_string(),
        Field::EtherType | Field::VlanEncap | Field::ArpProtocol => format!("{value:#06x}"),
        Field::TrafficClass | Field::StpFlags => format!("{value:#04x}"),
        Field::Ip4Src | Field::Ip4Dst | Field::ArpSrcIp | Field::ArpDstIp => {
            Ipv4Addr::from(value as u32).to_string()
        }
        Field::Ip6SrcHigh | Field::Ip6DstHigh => address6(value, 0).to_string(),
        Field::Ip6SrcLow | Field::Ip6DstLow => address6(0, value).to_string(),
        Field::ArpMacs | Field::ArpIps | Field::ArpGratuitous => {
            if value == 0 { "no" } else { "yes" }.into()
        }
        Field::TcpFlags => tcp_flags(value),
        Field::CtState => state(value).into(),
        _ => value.to_string(),
    }
}

fn tcp_flags(value: u64) -> String {
    let set: Vec<&str> = TCP_FLAG_NAMES
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| value & (1 << bit) != 0)
        .map(|(_, name)| name)
        .collect();
    if set.is_empty() {
        "none".into()
    } else {
        set.join("+")
    }
}

fn state(value: u64) -> &'static str {
    const STATES: [(CtState, &str); 7] = [
        (CtState::New, "new"),
        (CtState::EstablishedOriginal, "established"),
        (CtState::EstablishedReply, "established (reply)"),
        (CtState::RelatedOriginal, "related"),
        (CtState::RelatedReply, "related (reply)"),
        (CtState::Invalid, "invalid"),
        (CtState::Untracked, "untracked"),
    ];
    STATES
        .into_iter()
        .find(|(state, _)| *state as u64 == value)
        .map_or("unknown", |(_, name)| name)
}

/// A field for people.
pub(super) const fn name(field: Field) -> &'static str {
    match field {
        Field::SrcMac => "source MAC",
        Field::DstMac => "destination MAC",
        Field::EtherType => "EtherType",
        Field::VlanId => "VLAN id",
        Field::VlanEncap => "EtherType in the VLAN",
        Field::ArpHwType => "ARP hardware type",
        Field::ArpProtocol => "ARP protocol type",
        Field::ArpOpcode => "ARP opcode",
        Field::ArpMacs => "ARP for MAC addresses",
        Field::ArpIps => "ARP for IPv4 addresses",
        Field::ArpSrcMac => "ARP sender MAC",
        Field::ArpDstMac => "ARP target MAC",
        Field::ArpSrcIp => "ARP sender IP",
        Field::ArpDstIp => "ARP target IP",
        Field::ArpGratuitous => "gratuitous ARP",
        Field::Ip4Src => "source IPv4",
        Field::Ip4Dst => "destination IPv4",
        Field::Ip6SrcHigh => "source IPv6, first half",
        Field::Ip6SrcLow => "source IPv6, last half",
        Field::Ip6DstHigh => "destination IPv6, first half",
        Field::Ip6DstLow => "destination IPv6, last half",
        Field::IpProtocol => "IP protocol",
        Field::TrafficClass => "traffic class",
        Field::SrcPort => "source port",
        Field::DstPort => "destination port",
        Field::IcmpType => "ICMP type",
        Field::IcmpCode => "ICMP code",
        Field::TcpFlags => "TCP flags",
        Field::CtState => "connection",
        Field::StpType => "BPDU type",
        Field::StpFlags => "BPDU flags",
        Field::StpRootPriority => "STP root priority",
        Field::StpRootAddress => "STP root MAC",
        Field::StpRootCost => "STP root cost",
        Field::StpSenderPriority => "STP sender priority",
        Field::StpSenderAddress => "STP sender MAC",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: Field, set: ValueSet) -> String {
        condition(&Condition::In(field, set), &[])
    }

    #[test]
    fn sets_are_said_the_short_way() {
        let port = Field::DstPort;
        assert_eq!(of(port, ValueSet::single(80)), "destination port = 80");
        assert_eq!(
            of(port, ValueSet::range(67, 68)),
            "destination port = 67-68"
        );
        let two = ValueSet::from_values([80, 443]);
        assert_eq!(of(port, two.clone()), "destination port = {80, 443}");
        assert_eq!(
            of(port, two.complement(0xffff)),
            "destination port != {80, 443}"
        );
        let net = ValueSet::prefix(0x0a00_0000, 0xff00_0000, u64::from(u32::MAX));
        assert_eq!(of(Field::Ip4Src, net), "source IPv4 = 10.0.0.0/8");
        let odd = ValueSet::range(0x0a00_0001, 0x0a00_0002);
        assert_eq!(of(Field::Ip4Src, odd), "source IPv4 = 10.0.0.1-10.0.0.2");
        let answered = ValueSet::from_values([0, 1]);
        assert_eq!(
            of(Field::CtState, answered),
            "connection = {new, established}"
        );
        assert_eq!(
            of(Field::TcpFlags, ValueSet::single(0x12)),
            "TCP flags = SYN+ACK"
        );
    }

    #[test]
    fn slots_show_the_values_of_the_port() {
        let full = |value, field: Field| Slot {
            value,
            mask: field.max_value(),
        };
        let mac = full(0x5254_0000_0001, Field::SrcMac);
        let test = |field, first, count| {
            Condition::Slots(
                SlotTest {
                    field,
                    first,
                    count,
                },
                false,
            )
        };
        assert_eq!(
            condition(&test(Field::SrcMac, 0, 1), &[mac]),
            "source MAC = 52:54:00:00:00:01 (slot 0)"
        );
        let high = full(0x2001_0db8_0000_0000, Field::Ip6SrcHigh);
        let low = full(1, Field::Ip6SrcLow);
        assert_eq!(
            condition(&test(Field::Ip6SrcHigh, 1, 1), &[mac, high, low]),
            "source IPv6 = 2001:db8::1 (slots 1-2)"
        );
        let part = Slot {
            value: 0x0a00_0000,
            mask: 0xffff_ff00,
        };
        assert_eq!(
            condition(
                &test(Field::Ip4Src, 0, 2),
                &[part, full(0x0a00_0002, Field::Ip4Src)]
            ),
            "source IPv4 = {10.0.0.0/255.255.255.0, 10.0.0.2} (slots 0-1)"
        );
    }
}
