//! MAC addresses.

use core::{fmt, str::FromStr};

/// An Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address as a number: first octet on the wire most significant, 48 bits.
    #[inline(always)]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The inverse of [`MacAddr::to_u64`]; the top 16 bits are ignored.
    pub const fn from_u64(value: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    /// Six two-digit lower-case groups with `:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six groups of one or two hexadecimal digits with `:` between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected six groups of one or two hexadecimal digits with ':' between them")
    }
}

impl core::error::Error for ParseMacError {}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut groups = text.split(':');
        for octet in &mut octets {
            let group = groups.next().ok_or(ParseMacError)?;
            let digits = group.bytes().all(|b| b.is_ascii_hexdigit());
            if !digits || !matches!(group.len(), 1 | 2) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(group, 16).map_err(|_| ParseMacError)?;
        }
        if groups.next().is_some() {
            return Err(ParseMacError);
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_and_two_digit_groups() {
        assert_eq!(
            "52:54:0:A:b:01".parse(),
            Ok(MacAddr([0x52, 0x54, 0, 0xa, 0xb, 1]))
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "1:2:3:4:5",
            "1:2:3:4:5:6:7",
            "52-54-00-00-00-01",
            "+1:2:3:4:5:6",
            "111:2:3:4:5:6",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text}");
        }
    }

    #[test]
    fn number_keeps_wire_order() {
        let mac = MacAddr([1, 2, 3, 4, 5, 6]);
        assert_eq!(mac.to_u64(), 0x0102_0304_0506);
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
    }
}
