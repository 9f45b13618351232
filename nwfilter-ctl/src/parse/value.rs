//! The spellings of attribute values (section 2.2 of the semantics reference). Blanks count except
//! where a function says otherwise.

use std::net::{Ipv4Addr, Ipv6Addr};

use nwfilter_common::MacAddr;
use thiserror::Error;

use super::{Kind, Names, spec};
use crate::model::{
    Attr, CtStates, Datum, Family, Protocol, SetDirection, TCP_FLAG_NAMES, TcpFlags,
};

/// Longest comment, in bytes; the rest is cut off.
pub(super) const MAX_COMMENT: usize = 256;
/// Longest name of an address set, in characters.
const MAX_SET_NAME: usize = 31;
/// What C's `isspace` calls a blank.
pub(super) const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];
/// Most dimensions of an address set.
const MAX_SET_DIRECTIONS: usize = 6;

/// Why a text is not a value of an attribute.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ValueError {
    /// The element has no such attribute.
    #[error("`{protocol}` has no attribute `{attr}`")]
    NoSuchAttribute {
        /// The element.
        protocol: Protocol,
        /// The attribute.
        attr: Attr,
    },
    /// Not of the attribute's type, or out of its range.
    #[error("expected {expected}")]
    Illegal {
        /// What a value looks like.
        expected: String,
    },
}

/// A value and the one thing about its spelling that is written back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParsedValue {
    /// The value.
    pub datum: Datum,
    /// A number given in hexadecimal that has no name.
    pub hex: bool,
}

impl From<Datum> for ParsedValue {
    fn from(datum: Datum) -> Self {
        Self { datum, hex: false }
    }
}

/// Reads a literal value, or an element of a variable's list, of an attribute.
///
/// # Errors
/// The element has no such attribute, or the text is not a value of its type.
pub fn parse_value(protocol: Protocol, attr: Attr, text: &str) -> Result<Datum, ValueError> {
    parse_literal(protocol, attr, text).map(|value| value.datum)
}

/// As [`parse_value`], and tells whether a number was given in hexadecimal.
///
/// # Errors
/// As [`parse_value`].
pub fn parse_literal(
    protocol: Protocol,
    attr: Attr,
    text: &str,
) -> Result<ParsedValue, ValueError> {
    let spec = spec(protocol, attr).ok_or(ValueError::NoSuchAttribute { protocol, attr })?;
    parse_kind(spec.kind, text)
        // The opcode's spelling is not kept.
        .map(|value| ParsedValue {
            hex: value.hex && attr != Attr::Opcode,
            ..value
        })
        .ok_or_else(|| ValueError::Illegal {
            expected: spec.kind.expected(),
        })
}

fn parse_kind(kind: Kind, text: &str) -> Option<ParsedValue> {
    let datum = match kind {
        Kind::Number {
            min,
            max,
            hex,
            names,
        } => return number(text, min, max, hex, names),
        Kind::Mac => Datum::Mac(mac(text)?),
        Kind::MacMask => Datum::MacMask(mac(text).filter(|mask| {
            let bits = mask.to_u64();
            bits.count_zeros() == bits.trailing_zeros() + 16 || bits == 0
        })?),
        Kind::Address(Family::V4) => Datum::Ipv4(ipv4(text)?),
        Kind::Address(Family::V6) => Datum::Ipv6(text.parse().ok()?),
        Kind::Mask(family) => Datum::Prefix(prefix(family, text)?),
        Kind::Bool => Datum::Bool(matches!(text, "true" | "1" | "yes")),
        Kind::States => Datum::States(states(text)?),
        Kind::TcpFlags => Datum::TcpFlags(tcp_flags(text)?),
        Kind::SetName => Datum::Text(set_name(text)?),
        Kind::SetDirections => Datum::SetDirections(set_directions(text)?),
        Kind::Comment => Datum::Text(truncated(text, MAX_COMMENT).to_owned()),
    };
    Some(datum.into())
}

/// Decimal, then hexadecimal, then a name. The first reading that fits the width decides; it is not
/// followed by another when the value is out of range.
fn number(text: &str, min: u32, max: u32, hex: bool, names: Names) -> Option<ParsedValue> {
    let in_range = |value: &u32| (min..=max).contains(value);
    if let Some(value) = unsigned(text, 10) {
        return Some(value)
            .filter(in_range)
            .map(|value| Datum::Number(value).into());
    }
    if let Some(value) = unsigned(text, 16).filter(|_| hex) {
        let has_name = names.iter().any(|(_, number)| *number == value);
        return Some(value).filter(in_range).map(|value| ParsedValue {
            datum: Datum::Number(value),
            hex: !has_name,
        });
    }
    names
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, value)| Datum::Number(*value).into())
}

/// C's `strtoul` for 32 bits: leading blanks and a sign pass, base 16 takes `0x`, and a negative
/// number means its 32-bit complement. Nothing may follow the digits.
pub(super) fn unsigned(text: &str, base: u32) -> Option<u32> {
    let text = text.trim_start_matches(BLANKS);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) if base == 16 => rest,
        _ => text,
    };
    // `from_str_radix` would take another sign.
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let value = u32::from_str_radix(digits, base).ok()?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// Six groups of one or two hexadecimal digits; a blank or a character beyond ASCII after them ends
/// the address, and what follows is not looked at.
pub(super) fn mac(text: &str) -> Option<MacAddr> {
    let after = |c: char| c <= ' ' || !c.is_ascii();
    let end = text.find(after).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// One to four parts, each decimal, octal (`0`) or hexadecimal (`0x`); the last one fills the bytes
/// that are left: C's `inet_aton`.
///
/// `getaddrinfo` also takes an IPv4 address in the notation of IPv6 (`::ffff:192.0.2.1`).
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok()?.to_ipv4_mapped();
    }
    let mut parts = [0_u32; 4];
    let mut count = 0;
    for part in text.split('.') {
        *parts.get_mut(count)? = ipv4_part(part)?;
        count += 1;
    }
    let (last, leading) = parts[..count].split_last()?;
    let mut address = 0_u32;
    for part in leading {
        address = address << 8 | u32::from(u8::try_from(*part).ok()?);
    }
    let bits = 8 * (4 - leading.len() as u32);
    if u64::from(*last) >> bits != 0 {
        return None;
    }
    let shifted = u64::from(address) << bits;
    Some(Ipv4Addr::from(shifted as u32 | *last))
}

fn ipv4_part(text: &str) -> Option<u32> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    u32::from_str_radix(digits, base).ok()
}

/// A prefix length, or a contiguous mask in the family's address syntax.
fn prefix(family: Family, text: &str) -> Option<u8> {
    let width = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    if let Some(length) = unsigned(text, 10) {
        return u8::try_from(length).ok().filter(|length| *length <= width);
    }
    let mask = match family {
        Family::V4 => u128::from(ipv4(text)?.to_bits()) << 96,
        Family::V6 => text.parse::<Ipv6Addr>().ok()?.to_bits(),
    };
    let ones = mask.leading_ones();
    (ones == mask.count_ones()).then_some(ones as u8)
}

/// Splits the longest of `words` (none of which begins another) off the start of `text`, in any
/// case, and the commas and blanks before it.
fn next_word(text: &str, words: &[&str]) -> Option<(Option<usize>, usize)> {
    let start = text.len()
        - text
            .trim_start_matches(|c: char| c == ',' || BLANKS.contains(&c))
            .len();
    let rest = text.get(start..)?;
    if rest.is_empty() {
        return Some((None, start));
    }
    words.iter().enumerate().find_map(|(index, word)| {
        let head = rest.get(..word.len())?;
        head.eq_ignore_ascii_case(word)
            .then_some((Some(index), start + word.len()))
    })
}

/// The words of a list, as a set of bits in the order of `words`. Separators may be missing.
fn word_set(mut text: &str, words: &[&str]) -> Option<u32> {
    let mut set = 0;
    loop {
        let (word, end) = next_word(text, words)?;
        let Some(word) = word else { return Some(set) };
        set |= 1 << word;
        text = &text[end..];
    }
}

fn states(text: &str) -> Option<CtStates> {
    let set = word_set(text, &["NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE"])?;
    Some(if set & 1 << 4 != 0 {
        CtStates::empty()
    } else {
        CtStates::from_bits_truncate(set as u8)
    })
}

fn tcp_flags(text: &str) -> Option<TcpFlags> {
    let (mask, flags) = text.split_once('/')?;
    Some(TcpFlags {
        mask: tcp_flag_set(mask)?,
        flags: tcp_flag_set(flags)?,
    })
}

fn tcp_flag_set(text: &str) -> Option<u8> {
    const ALL: u32 = 0x3f;
    let [fin, syn, rst, psh, ack, urg] = TCP_FLAG_NAMES;
    let set = word_set(text, &[fin, syn, rst, psh, ack, urg, "ALL", "NONE"])?;
    Some(if set & 1 << 6 != 0 {
        ALL as u8
    } else {
        (set & ALL) as u8
    })
}

fn set_name(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:-+ ".contains(&b);
    (text.len() <= MAX_SET_NAME && text.bytes().all(allowed)).then(|| text.to_owned())
}

fn set_directions(text: &str) -> Option<Vec<SetDirection>> {
    let directions: Vec<_> = text
        .split(',')
        .map(|word| match word {
            _ if word.eq_ignore_ascii_case("src") => Some(SetDirection::Src),
            _ if word.eq_ignore_ascii_case("dst") => Some(SetDirection::Dst),
            _ => None,
        })
        .collect::<Option<_>>()?;
    (directions.len() <= MAX_SET_DIRECTIONS).then_some(directions)
}

/// The longest prefix of at most `max` bytes that ends between characters.
fn truncated(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
