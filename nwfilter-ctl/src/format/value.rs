//! The spellings of values that are written back.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    model::{
        Attr, Attribute, CtStates, Datum, Protocol, Selector, SetDirection, TCP_FLAG_NAMES, Value,
        VariableAccess,
    },
    parse::spec,
};

/// The value of an attribute, not escaped.
pub(super) fn value(protocol: Protocol, attribute: &Attribute) -> String {
    match &attribute.value {
        Value::Literal { datum: value, hex } => datum(protocol, attribute.attr, value, *hex),
        Value::Variable(access) => variable(access),
    }
}

/// `$NAME`, `$NAME[@N]` or `$NAME[I]`; the iterator 0 is left out, as libvirt does.
pub fn variable(access: &VariableAccess) -> String {
    let name = &access.name;
    match access.selector {
        Selector::Iterator { id: 0, .. } => format!("${name}"),
        Selector::Iterator { id, .. } => format!("${name}[@{id}]"),
        Selector::Element(index) => format!("${name}[{index}]"),
    }
}

/// A literal value of an attribute, not escaped. `hex` asks for hexadecimal where there is no name
/// for a number.
pub fn datum(protocol: Protocol, attr: Attr, datum: &Datum, hex: bool) -> String {
    match datum {
        Datum::Number(number) => {
            let names = spec(protocol, attr).map_or(&[][..], |spec| spec.kind.names());
            match names.iter().find(|(_, value)| value == number) {
                Some((name, _)) => (*name).to_owned(),
                None if hex => format!("{number:#x}"),
                None => number.to_string(),
            }
        }
        Datum::Mac(mac) | Datum::MacMask(mac) => mac.to_string(),
        Datum::Ipv4(address) => address.to_string(),
        Datum::Ipv6(address) => ipv6(*address),
        Datum::Prefix(length) => length.to_string(),
        Datum::Bool(value) => value.to_string(),
        Datum::States(states) => list(CT_STATES, |state| states.contains(state), "NONE"),
        Datum::TcpFlags(flags) => {
            format!("{}/{}", tcp_flags(flags.mask), tcp_flags(flags.flags))
        }
        Datum::Text(text) => text.clone(),
        Datum::SetDirections(directions) => {
            let words: Vec<_> = directions
                .iter()
                .map(|direction| match direction {
                    SetDirection::Src => "src",
                    SetDirection::Dst => "dst",
                })
                .collect();
            words.join(",")
        }
    }
}

const CT_STATES: [(&str, CtStates); 4] = [
    ("NEW", CtStates::NEW),
    ("ESTABLISHED", CtStates::ESTABLISHED),
    ("RELATED", CtStates::RELATED),
    ("INVALID", CtStates::INVALID),
];

fn list<T: Copy>(
    words: impl IntoIterator<Item = (&'static str, T)>,
    has: impl Fn(T) -> bool,
    none: &str,
) -> String {
    let words: Vec<_> = words
        .into_iter()
        .filter(|(_, bit)| has(*bit))
        .map(|(word, _)| word)
        .collect();
    if words.is_empty() {
        none.to_owned()
    } else {
        words.join(",")
    }
}

fn tcp_flags(flags: u8) -> String {
    if flags == 0x3f {
        return "ALL".into();
    }
    let bits = TCP_FLAG_NAMES.into_iter().zip(0_u8..);
    list(bits, |bit| flags & 1 << bit != 0, "NONE")
}

/// As C's `inet_ntop` writes it: RFC 5952, and the last 32 bits dotted not only in addresses that
/// are mapped but also in those that are compatible to IPv4.
fn ipv6(address: Ipv6Addr) -> String {
    let [head @ .., high, low] = address.segments();
    if head != [0; 6] || high == 0 {
        return address.to_string();
    }
    format!(
        "::{}",
        Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
    )
}
