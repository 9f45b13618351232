//! DHCP for IPv6 (RFC 8415) as far as leases need it: addresses in replies, and those that a client
//! gives back. Relayed messages, prefixes and names are not looked at.

use std::net::Ipv6Addr;

const IA_NA: u16 = 3;
const IA_TA: u16 = 4;
const IA_ADDRESS: u16 = 5;
const STATUS: u16 = 13;
/// Bytes of an association for addresses before its options: number and two times.
const IA_NA_FIXED: usize = 12;
/// Of one for temporary addresses: its number.
const IA_TA_FIXED: usize = 4;

/// What a message is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind6 {
    /// The server gives addresses, or confirms.
    Reply,
    /// The client gives addresses back.
    Release,
    /// The client refuses addresses: somebody else uses them.
    Decline,
    /// Of no consequence for leases.
    Other,
}

/// An address in a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offered {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds; `u32::MAX` is for ever, and 0 takes it away.
    pub valid: u32,
}

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message6 {
    /// What it is about.
    pub kind: Kind6,
    /// Addresses whose status is not an error, in the order of the message.
    pub addresses: Vec<Offered>,
}

/// The options of `bytes`: code and value. `None` in place of one that is cut off; then it ends.
fn options(bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|rest| !rest.is_empty())?;
        rest = None;
        let read = |bytes: &'_ [u8]| -> Option<(u16, usize)> {
            let header = bytes.first_chunk::<4>()?;
            let code = u16::from_be_bytes([header[0], header[1]]);
            let length = u16::from_be_bytes([header[2], header[3]]);
            Some((code, usize::from(length)))
        };
        let Some((code, length)) = read(bytes) else {
            return Some(None);
        };
        let Some(value) = bytes.get(4..4 + length) else {
            return Some(None);
        };
        rest = Some(&bytes[4 + length..]);
        Some(Some((code, value)))
    })
}

/// Whether options contain a status that is an error. `None` if they cannot be read.
fn failed(bytes: &[u8]) -> Option<bool> {
    let mut failed = false;
    for option in options(bytes) {
        let (code, value) = option?;
        if code == STATUS {
            failed |= *value.first_chunk::<2>()? != [0, 0];
        }
    }
    Some(failed)
}

impl Message6 {
    /// From the payload of a UDP datagram. `None` if it is no message between client and server.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (header, rest) = payload.split_first_chunk::<4>()?;
        let kind = match header[0] {
            7 => Kind6::Reply,
            8 => Kind6::Release,
            9 => Kind6::Decline,
            1..=6 | 10 | 11 => Kind6::Other,
            _ => return None,
        };
        let mut addresses = Vec::new();
        for option in options(rest) {
            let (code, value) = option?;
            let fixed = match code {
                IA_NA => IA_NA_FIXED,
                IA_TA => IA_TA_FIXED,
                _ => continue,
            };
            let inner = value.get(fixed..)?;
            if failed(inner)? {
                continue;
            }
            for option in options(inner) {
                let (code, value) = option?;
                if code != IA_ADDRESS {
                    continue;
                }
                let (address, rest) = value.split_first_chunk::<16>()?;
                let (times, rest) = rest.split_first_chunk::<8>()?;
                if !failed(rest)? {
                    let [.., a, b, c, d] = *times;
                    addresses.push(Offered {
                        address: Ipv6Addr::from(*address),
                        valid: u32::from_be_bytes([a, b, c, d]),
                    });
                }
            }
        }
        // Nothing is known to be valid if the whole message says that something failed.
        if failed(rest)? && matches!(kind, Kind6::Reply) {
            addresses.clear();
        }
        Some(Self { kind, addresses })
    }
}
