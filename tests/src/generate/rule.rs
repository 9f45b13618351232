//! Rules as XML: every element, every attribute, both signs. Combinations that libvirt or the
//! parser refuses are left out; those that the semantics let pass but ignore only on request.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use nwfilter_ctl::model::{Attr, Family, Layer, Protocol, Semantics};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};

use super::{Options, pool};

/// A `<rule>`.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    action: &'static str,
    direction: &'static str,
    priority: Option<i32>,
    statematch: Option<&'static str>,
    element: Protocol,
    groups: Vec<Group>,
}

/// Attributes that belong together, such as an address and its mask.
#[derive(Clone, Debug)]
struct Group {
    attributes: Vec<(Attr, String)>,
    negated: bool,
    /// The `protocol` without which these attributes are refused.
    needs: Option<&'static str>,
}

type Values = BoxedStrategy<String>;
type Groups = Vec<BoxedStrategy<Group>>;

/// Rules by their element. Made once and shared, because there is much to make.
#[derive(Clone)]
pub(super) struct Rules(BTreeMap<Protocol, BoxedStrategy<Rule>>);

impl Rules {
    /// Rules for filters that are referenced, and so have parameters of their own (`local`), or for
    /// the main one.
    pub(super) fn new(local: bool, options: Options) -> Self {
        let elements = Protocol::ALL
            .iter()
            .filter(|element| options.allows(**element));
        Self(
            elements
                .map(|element| (*element, rule_of(*element, local, options)))
                .collect(),
        )
    }

    /// A rule of this element.
    ///
    /// # Panics
    ///
    /// When the options leave the element out.
    #[cfg(test)]
    pub(super) fn of_element(&self, element: Protocol) -> BoxedStrategy<Rule> {
        self.0[&element].clone()
    }

    /// A rule for a filter of this chain.
    pub(super) fn of_chain(&self, chain: &str) -> BoxedStrategy<Rule> {
        let any = Union::new(self.0.values().cloned()).boxed();
        let favourites: Vec<_> = favourites(chain)
            .iter()
            .filter_map(|element| self.0.get(element))
            .cloned()
            .collect();
        prop_oneof![2 => Union::new(favourites), 1 => any].boxed()
    }
}

/// The elements that match something in a chain.
fn favourites(chain: &str) -> &'static [Protocol] {
    use Protocol as P;
    match chain {
        chain if chain.starts_with("ipv4") => &[P::None, P::Mac, P::Ip, P::Ip, P::Ip, P::All],
        chain if chain.starts_with("ipv6") => &[P::None, P::Mac, P::Ipv6, P::Ipv6, P::AllIpv6],
        chain if chain.starts_with("arp") => &[P::None, P::Mac, P::Arp, P::Arp, P::Arp],
        chain if chain.starts_with("rarp") => &[P::None, P::Mac, P::Rarp, P::Rarp],
        chain if chain.starts_with("vlan") => &[P::None, P::Mac, P::Vlan, P::Vlan, P::Stp],
        chain if chain.starts_with("stp") => &[P::None, P::Mac, P::Stp, P::Stp],
        chain if chain.starts_with("mac") => &[P::None, P::Mac, P::Mac],
        _ => &[
            P::None,
            P::Mac,
            P::Ip,
            P::Arp,
            P::Tcp,
            P::Udp,
            P::Icmp,
            P::All,
            P::UdpIpv6,
        ],
    }
}

fn rule_of(element: Protocol, local: bool, options: Options) -> BoxedStrategy<Rule> {
    let inet = element.layer() == Layer::Inet;
    let actions: &[&'static str] = if inet && !options.continue_in_inet {
        &["accept", "accept", "drop", "reject", "return"]
    } else {
        &["accept", "drop", "drop", "return", "reject", "continue"]
    };
    let groups = groups(element, local, options);
    let groups = if groups.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        vec(Union::new(groups), 0..=3).boxed()
    };
    let priorities = select(vec![-1000, -750, -500, 0, 100, 499, 500, 501, 1000]);
    let statematch = option::weighted(0.15, select(vec!["false", "0", "true", "1"]));
    (
        select(actions),
        select(vec!["in", "out", "inout"]),
        option::weighted(0.4, priorities),
        statematch,
        groups,
    )
        .prop_map(move |(action, direction, priority, statematch, groups)| {
            let groups = compatible(element, direction, groups);
            Rule {
                action,
                direction,
                priority,
                statematch,
                element,
                groups,
            }
        })
        .boxed()
}

/// Drops the groups that would make the rule unusable beside earlier ones.
fn compatible(element: Protocol, direction: &str, groups: Vec<Group>) -> Vec<Group> {
    let mut kept: Vec<Group> = Vec::new();
    let needs = groups.iter().find_map(|group| group.needs);
    for mut group in groups {
        let repeats = group.attributes.iter().any(|(attr, _)| {
            kept.iter()
                .any(|other| other.attributes.iter().any(|(seen, _)| seen == attr))
        });
        let has = |wanted| group.attributes.iter().any(|(attr, _)| *attr == wanted);
        // ebtables cannot swap the source of a BPDU.
        let unswappable = element == Protocol::Stp && direction == "inout" && has(Attr::SrcMacAddr);
        let another_protocol = group.needs.is_some_and(|this| Some(this) != needs)
            || needs.is_some() && has(Attr::IpProtocol);
        if repeats || unswappable || another_protocol {
            continue;
        }
        let masks = [
            Attr::SrcIpMask,
            Attr::DstIpMask,
            Attr::ArpSrcIpMask,
            Attr::ArpDstIpMask,
        ];
        if group
            .attributes
            .iter()
            .any(|(attr, value)| masks.contains(attr) && value == "0")
        {
            group.negated = false; // Refused when negated.
        }
        kept.push(group);
    }
    // Networks and ranges of one side exclude each other, unless asked for as one group.
    for (network, range) in [
        (Attr::SrcIpAddr, Attr::SrcIpFrom),
        (Attr::DstIpAddr, Attr::DstIpFrom),
    ] {
        let has = |group: &Group, wanted| group.attributes.iter().any(|(attr, _)| *attr == wanted);
        if kept.iter().any(|group| has(group, network)) {
            kept.retain(|group| has(group, network) || !has(group, range));
        }
    }
    if let Some(protocol) = needs {
        let protocol = vec![(Attr::IpProtocol, protocol.to_owned())];
        kept.insert(
            0,
            Group {
                attributes: protocol,
                negated: false,
                needs: None,
            },
        );
    }
    kept
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  <rule action='{}' direction='{}'",
            self.action, self.direction
        )?;
        if let Some(priority) = self.priority {
            write!(f, " priority='{priority}'")?;
        }
        if let Some(statematch) = self.statematch {
            write!(f, " statematch='{statematch}'")?;
        }
        if self.element == Protocol::None {
            return f.write_str("/>\n");
        }
        f.write_str(">\n")?;
        let has_negated = self.groups.iter().any(|group| group.negated);
        for negated in [false, true] {
            let groups: Vec<_> = self
                .groups
                .iter()
                .filter(|g| g.negated == negated)
                .collect();
            if groups.is_empty() && (negated || has_negated) {
                continue;
            }
            write!(f, "    <{}", self.element)?;
            if negated {
                f.write_str(" match='no'")?;
            }
            for (attr, value) in groups.into_iter().flat_map(|group| &group.attributes) {
                write!(f, " {attr}='{value}'")?;
            }
            f.write_str("/>\n")?;
        }
        f.write_str("  </rule>\n")
    }
}

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

fn mac_masks() -> Values {
    shown(pool::MAC_MASKS)
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
fn groups(element: Protocol, local: bool, options: Options) -> Groups {
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
        mac_masks(),
    )];
    if element != Protocol::Stp {
        groups.push(with(
            Attr::DstMacAddr,
            macs(),
            Attr::DstMacMask,
            mac_masks(),
        ));
    }
    if options.ignored_combinations {
        groups.push(one(Attr::SrcMacMask, mac_masks()));
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
            mac_masks(),
        ),
        with(
            Attr::SenderAddress,
            macs(),
            Attr::SenderAddressMask,
            mac_masks(),
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
        with(Attr::SrcMacAddr, macs(), Attr::SrcMacMask, mac_masks()),
        with(Attr::DstMacAddr, macs(), Attr::DstMacMask, mac_masks()),
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
        one(Attr::State, texts(&states)),
    ];
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
            ];
            groups.push(one(Attr::Flags, texts(&flags)));
            groups.push(one(Attr::TcpOption, numbers(vec![2_u32, 3, 8, 1, 254])));
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
