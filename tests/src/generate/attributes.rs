//! The attributes that each element has, with values from the pool: what libvirt or the parser
//! refuses is left out, what the semantics accept and ignore is made only on request.

use std::fmt::Display;

use nwfilter_ctl::model::{Attr, Family, Protocol, Semantics};
use proptest::{option, prelude::*, sample::select, strategy::Union};

use super::{Options, pool};

/// Attributes that belong together, such as an address and its mask.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) attributes: Vec<(Attr, String)>,
    pub(super) negated: bool,
    /// The `protocol` without which these attributes are refused.
    pub(super) needs: Option<&'static str>,
}

type Values = BoxedStrategy<String>;
pub(super) type Groups = Vec<BoxedStrategy<Group>>;

/// A group of one attribute.
fn one(attr: Attr, values: Values) -> BoxedStrategy<Group> {
    many(vec![(attr, values.prop_map(Some).boxed())])
}

/// A group of an attribute and one that may come with it.
fn with(attr: Attr, values: Values, second: Attr, more: Values) -> BoxedStrategy<Group> {
    many(vec![
        (attr, values.prop_map(Some).boxed()),
        (second, option::weighted(0.5, more).boxed()),
    ])
}

fn many(attributes: Vec<(Attr, BoxedStrategy<Option<String>>)>) -> BoxedStrategy<Group> {
    let (names, values): (Vec<_>, Vec<_>) = attributes.into_iter().unzip();
    (values, prop::bool::weighted(0.3))
        .prop_map(move |(values, negated)| Group {
            attributes: names
                .iter()
                .zip(values)
                .filter_map(|(attr, value)| Some((*attr, value?)))
                .collect(),
            negated,
            needs: None,
        })
        .boxed()
}

fn needs(protocol: &'static str, group: BoxedStrategy<Group>) -> BoxedStrategy<Group> {
    group
        .prop_map(move |group| Group {
            needs: Some(protocol),
            ..group
        })
        .boxed()
}

/// Numbers, mostly in decimal.
fn numbers(pool: impl IntoIterator<Item = impl Into<u32>>) -> Values {
    let pool: Vec<u32> = pool.into_iter().map(Into::into).collect();
    (select(pool), prop::bool::weighted(0.2))
        .prop_map(|(number, hex)| {
            if hex {
                format!("{number:#x}")
            } else {
                number.to_string()
            }
        })
        .boxed()
}

fn texts(pool: &[&str]) -> Values {
    select(pool.iter().map(ToString::to_string).collect::<Vec<_>>()).boxed()
}

fn or(values: Values, others: &[&str]) -> Values {
    prop_oneof![3 => values, 1 => texts(others)].boxed()
}

fn shown<T: Display>(pool: &[T]) -> Values {
    select(pool.iter().map(ToString::to_string).collect::<Vec<_>>()).boxed()
}

/// A range of numbers in order: both ends, or only the first. With `ignored`, sometimes the end
/// alone.
fn range(
    low: Attr,
    high: Attr,
    pool: impl IntoIterator<Item = impl Into<u32>>,
    variables: &[&str],
    options: Options,
) -> Groups {
    let pool: Vec<u32> = pool.into_iter().map(Into::into).collect();
    let pairs = (
        select(pool.clone()),
        select(pool.clone()),
        prop::bool::weighted(0.3),
    );
    let both = pairs
        .prop_map(move |(a, b, negated)| Group {
            attributes: vec![(low, a.min(b).to_string()), (high, a.max(b).to_string())],
            negated,
            needs: None,
        })
        .boxed();
    let mut groups = vec![both, one(low, numbers(pool.clone()))];
    if !variables.is_empty() {
        groups.push(one(low, texts(variables)));
    }
    if options.ignored_combinations {
        groups.push(one(high, numbers(pool)));
    }
    vec![Union::new(groups).boxed()]
}

fn macs() -> Values {
    or(
        shown(pool::MACS),
        &["$MAC", "$MAC", "$MACS[@3]", "$MACS[1]"],
    )
}

fn mac_masks(options: Options) -> Values {
    match options.semantics {
        Semantics::Strict => shown(pool::MAC_MASKS),
        // Without any bit, ebtables refuses it.
        Semantics::Libvirt => shown(&pool::MAC_MASKS[1..]),
    }
}

fn v4(local: bool) -> Values {
    let own: &[&str] = if local {
        &["$IP", "$IP[@0]", "$IP[0]", "$LOCAL[@4]"]
    } else {
        &["$IP", "$IP[0]"]
    };
    or(shown(pool::IPV4), own)
}

fn v6() -> Values {
    or(shown(pool::IPV6), &["$IPV6[@1]", "$IPV6[0]"])
}

fn addresses(family: Family, local: bool) -> (Values, Values) {
    match family {
        Family::V4 => {
            let masks = or(shown(pool::PREFIXES_V4), &["255.255.255.0", "255.0.0.0"]);
            (v4(local), masks)
        }
        Family::V6 => {
            let masks = or(shown(pool::PREFIXES_V6), &["ffff:ffff::"]);
            (v6(), masks)
        }
    }
}

/// What rules of `element` may test.
pub(super) fn groups(element: Protocol, local: bool, options: Options) -> Groups {
    if element == Protocol::None {
        return Vec::new();
    }
    let mut groups = match element.family() {
        None => ethernet(element, local, options),
        Some(family) => inet(element, family, local, options),
    };
    groups.push(one(Attr::Comment, texts(&["a comment", "&lt;&amp;&gt;"])));
    groups
}

fn ethernet(element: Protocol, local: bool, options: Options) -> Groups {
    let mut groups = vec![with(
        Attr::SrcMacAddr,
        macs(),
        Attr::SrcMacMask,
        mac_masks(options),
    )];
    if element != Protocol::Stp {
        groups.push(with(
            Attr::DstMacAddr,
            macs(),
            Attr::DstMacMask,
            mac_masks(options),
        ));
    }
    if options.ignored_combinations {
        groups.push(one(Attr::SrcMacMask, mac_masks(options)));
    }
    let ethertypes = || numbers(pool::ETHERTYPES.to_vec());
    let names = ["arp", "ipv4", "IPv6", "rarp", "vlan"];
    match element {
        Protocol::Mac => groups.push(one(Attr::ProtocolId, or(ethertypes(), &names))),
        Protocol::Vlan => {
            let ids = or(numbers(pool::VLANS.to_vec()), &["$VLANS[@5]"]);
            groups.push(one(Attr::VlanId, ids));
            // What ebtables can make of a decimal read as hexadecimal.
            let inner = match options.semantics {
                Semantics::Strict => or(ethertypes(), &names),
                Semantics::Libvirt => texts(&["arp", "ipv4", "2054", "806", "0x806"]),
            };
            groups.push(one(Attr::EncapProtocol, inner));
        }
        Protocol::Stp => groups.extend(stp(options)),
        Protocol::Arp | Protocol::Rarp => groups.extend(arp(local)),
        Protocol::Ip => groups.extend(ip(Family::V4, local, options)),
        Protocol::Ipv6 => groups.extend(ip(Family::V6, local, options)),
        _ => {}
    }
    groups
}

fn stp(options: Options) -> Groups {
    let small = || numbers(vec![0_u32, 1, 2, 128, 0x80, 0x81]);
    let mut groups = vec![
        one(Attr::Type, small()),
        one(Attr::Flags, small()),
        with(
            Attr::RootAddress,
            macs(),
            Attr::RootAddressMask,
            mac_masks(options),
        ),
        with(
            Attr::SenderAddress,
            macs(),
            Attr::SenderAddressMask,
            mac_masks(options),
        ),
    ];
    let shorts = [0_u32, 1, 0x100, 0x8000, 0x8001, 0xffff];
    for (low, high) in [
        (Attr::RootPriority, Attr::RootPriorityHi),
        (Attr::SenderPriority, Attr::SenderPriorityHi),
        (Attr::Port, Attr::PortHi),
        (Attr::Age, Attr::AgeHi),
        (Attr::MaxAge, Attr::MaxAgeHi),
        (Attr::HelloTime, Attr::HelloTimeHi),
        (Attr::ForwardDelay, Attr::ForwardDelayHi),
    ] {
        groups.extend(range(low, high, shorts, &[], options));
    }
    let longs = [0_u32, 1, 0xffff, 0x1_0000, u32::MAX];
    groups.extend(range(Attr::RootCost, Attr::RootCostHi, longs, &[], options));
    groups
}

fn arp(local: bool) -> Groups {
    let (ips, masks) = addresses(Family::V4, local);
    let opcodes = or(
        numbers(pool::OPCODES.to_vec()),
        &["Request", "reply", "Request_Reverse"],
    );
    vec![
        one(Attr::HwType, numbers(vec![1_u32, 6, 0])),
        one(Attr::ProtocolType, numbers(vec![0x800_u32, 0x86dd])),
        one(Attr::Opcode, opcodes),
        one(Attr::ArpSrcMacAddr, macs()),
        one(Attr::ArpDstMacAddr, macs()),
        with(
            Attr::ArpSrcIpAddr,
            ips.clone(),
            Attr::ArpSrcIpMask,
            masks.clone(),
        ),
        with(Attr::ArpDstIpAddr, ips, Attr::ArpDstIpMask, masks),
        one(Attr::Gratuitous, texts(&["true", "1", "yes", "false"])),
    ]
}

/// `ip` and `ipv6`.
fn ip(family: Family, local: bool, options: Options) -> Groups {
    let (ips, masks) = addresses(family, local);
    let protocols = or(
        numbers(pool::PROTOCOLS.to_vec()),
        &["tcp", "UDP", "icmp", "icmpv6", "ah"],
    );
    let mut groups = vec![
        with(Attr::SrcIpAddr, ips.clone(), Attr::SrcIpMask, masks.clone()),
        with(Attr::DstIpAddr, ips, Attr::DstIpMask, masks.clone()),
        one(Attr::IpProtocol, protocols),
    ];
    if options.ignored_combinations {
        groups.push(one(Attr::DstIpMask, masks));
    }
    for protocol in ["17", "tcp", "132", "33"] {
        for group in ports(local, options) {
            groups.push(needs(protocol, group));
        }
    }
    match family {
        Family::V4 => groups.push(one(Attr::Dscp, numbers(pool::DSCPS.to_vec()))),
        Family::V6 => {
            for _ in 0..2 {
                groups.push(needs("icmpv6", icmpv6_of_ipv6()));
            }
        }
    }
    groups
}

/// Types and codes, in all the forms that they take on `ipv6`.
fn icmpv6_of_ipv6() -> BoxedStrategy<Group> {
    let ends = |pool: &'static [u8]| {
        (
            select(pool),
            select(pool),
            option::weighted(0.7, Just(())),
            option::weighted(0.4, Just(())),
        )
            .prop_map(|(a, b, low, high)| {
                (
                    low.map(|()| a.min(b).to_string()),
                    high.map(|()| a.max(b).to_string()),
                )
            })
    };
    (
        ends(pool::ICMPV6_TYPES),
        ends(pool::ICMP_CODES),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(types, codes, negated)| {
            let values = [
                (Attr::Type, types.0),
                (Attr::TypeEnd, types.1),
                (Attr::Code, codes.0),
                (Attr::CodeEnd, codes.1),
            ];
            let attributes = values
                .into_iter()
                .filter_map(|(attr, value)| Some((attr, value?)))
                .collect();
            Group {
                attributes,
                negated,
                needs: None,
            }
        })
        .boxed()
}

fn ports(local: bool, options: Options) -> Groups {
    let variables: &[&str] = if local {
        &["$PORTS[@2]", "$PORTS[1]", "$LOCALPORT[@6]"]
    } else {
        &["$PORTS[@2]", "$PORTS[0]"]
    };
    let mut groups = range(
        Attr::SrcPortStart,
        Attr::SrcPortEnd,
        pool::PORTS.to_vec(),
        variables,
        options,
    );
    groups.extend(range(
        Attr::DstPortStart,
        Attr::DstPortEnd,
        pool::PORTS.to_vec(),
        variables,
        options,
    ));
    groups
}

fn inet(element: Protocol, family: Family, local: bool, options: Options) -> Groups {
    let (ips, masks) = addresses(family, local);
    let states = [
        "NEW",
        "ESTABLISHED",
        "RELATED",
        "INVALID",
        "NEW,ESTABLISHED",
        "ESTABLISHED,RELATED",
        "new, related",
        "NEW,ESTABLISHED,RELATED,INVALID",
        "NONE",
    ];
    let mut groups = vec![
        one(Attr::SrcMacAddr, macs()),
        with(
            Attr::SrcMacAddr,
            macs(),
            Attr::SrcMacMask,
            mac_masks(options),
        ),
        with(
            Attr::DstMacAddr,
            macs(),
            Attr::DstMacMask,
            mac_masks(options),
        ),
        with(Attr::SrcIpAddr, ips.clone(), Attr::SrcIpMask, masks.clone()),
        with(Attr::DstIpAddr, ips.clone(), Attr::DstIpMask, masks.clone()),
        address_range(Attr::SrcIpFrom, Attr::SrcIpTo, family, true),
        // libvirt reads the end of an IPv6 range as an IPv4 address.
        address_range(
            Attr::DstIpFrom,
            Attr::DstIpTo,
            family,
            family == Family::V4 || options.semantics == Semantics::Strict,
        ),
        one(Attr::Dscp, numbers(pool::DSCPS.to_vec())),
    ];
    if options.connections {
        groups.push(one(Attr::State, texts(&states)));
    }
    if options.limits {
        groups.push(one(Attr::ConnlimitAbove, texts(&["0", "1", "2"])));
    }
    if options.sets {
        let flags = texts(&["src", "dst", "src,dst", "dst,src"]);
        groups.push(many(vec![
            (Attr::IpSet, texts(&["set", "other"]).prop_map(Some).boxed()),
            (Attr::IpSetFlags, flags.prop_map(Some).boxed()),
        ]));
    }
    if options.ignored_combinations {
        groups.push(one(Attr::SrcIpMask, masks));
        groups.push(many(vec![
            (Attr::SrcIpAddr, ips.clone().prop_map(Some).boxed()),
            (Attr::SrcIpFrom, ips.prop_map(Some).boxed()),
        ]));
    }
    match element {
        Protocol::Tcp | Protocol::TcpIpv6 => {
            groups.extend(ports(local, options));
            groups.extend(ports(local, options));
            let flags = [
                "SYN,ACK/SYN",
                "ALL/NONE",
                "ALL/SYN",
                "RST/RST",
                "FIN,SYN/FIN",
                "SYN,ACK/SYN,ACK",
                "URG/URG",
                "PSH,URG/PSH",
            ];
            groups.push(one(Attr::Flags, texts(&flags)));
            if options.tcp_options {
                groups.push(one(Attr::TcpOption, numbers(vec![2_u32, 3, 8, 1, 254])));
            }
        }
        Protocol::Udp | Protocol::UdpIpv6 | Protocol::Sctp | Protocol::SctpIpv6 => {
            groups.extend(ports(local, options));
            groups.extend(ports(local, options));
        }
        Protocol::Icmp | Protocol::IcmpV6 => {
            let types = if family == Family::V4 {
                pool::ICMP_TYPES
            } else {
                pool::ICMPV6_TYPES
            };
            let codes = || numbers(pool::ICMP_CODES.to_vec());
            for _ in 0..3 {
                groups.push(with(
                    Attr::Type,
                    numbers(types.to_vec()),
                    Attr::Code,
                    codes(),
                ));
            }
            if options.ignored_combinations {
                groups.push(one(Attr::Code, codes()));
            }
        }
        _ => {}
    }
    groups
}

/// A range of addresses in order: both ends, if there may be an end, or only the first.
fn address_range(from: Attr, to: Attr, family: Family, end: bool) -> BoxedStrategy<Group> {
    let pairs = match family {
        Family::V4 => (select(pool::IPV4), select(pool::IPV4))
            .prop_map(|(a, b)| (a.min(b).to_string(), a.max(b).to_string()))
            .boxed(),
        Family::V6 => (select(pool::IPV6), select(pool::IPV6))
            .prop_map(|(a, b)| (a.min(b).to_string(), a.max(b).to_string()))
            .boxed(),
    };
    (pairs, any::<bool>(), prop::bool::weighted(0.3))
        .prop_map(move |((low, high), both, negated)| {
            let mut attributes = vec![(from, low)];
            if both && end {
                attributes.push((to, high));
            }
            Group {
                attributes,
                negated,
                needs: None,
            }
        })
        .boxed()
}
