//! DHCP for IPv4 (RFC 2131, RFC 2132) as far as leases need it. A message that can be read in two
//! ways is not read at all: a client might read it the other way.

use std::net::Ipv4Addr;

use nwfilter_common::MacAddr;

/// Fixed part of a message, with the cookie that says that options follow.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the server's name and the boot file stand, which may hold options instead.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const BOOT_FILE: std::ops::Range<usize> = 108..236;

const PAD: u8 = 0;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const END: u8 = 255;

/// What a message is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The client asks for an address, or wants to keep the one it has.
    Request,
    /// The client refuses what it got: somebody else uses it.
    Decline,
    /// The server agrees.
    Ack,
    /// The server does not.
    Nak,
    /// The client gives an address back.
    Release,
    /// Of no consequence for leases.
    Other,
}

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// Ties request and answer together.
    pub transaction: u32,
    /// The client's hardware address.
    pub client: MacAddr,
    /// `ciaddr`: the address that the client has.
    pub client_address: Ipv4Addr,
    /// `yiaddr`: the address that the server gives.
    pub your_address: Ipv4Addr,
    /// Option 50: the address that the client asks for, or refuses.
    pub requested: Option<Ipv4Addr>,
    /// Option 51: seconds; `u32::MAX` is for ever.
    pub lease_time: Option<u32>,
    /// Option 54: which server.
    pub server: Option<Ipv4Addr>,
}

/// Options that count, each at most once.
#[derive(Default)]
struct Options {
    kind: Option<u8>,
    requested: Option<[u8; 4]>,
    lease_time: Option<[u8; 4]>,
    server: Option<[u8; 4]>,
    overload: Option<u8>,
}

impl Options {
    /// Reads a part of the message that holds options. `None` if it is not clear what they say.
    fn read(&mut self, mut rest: &[u8]) -> Option<()> {
        loop {
            rest = match rest {
                // Some end with the message instead.
                [] | [END, ..] => return Some(()),
                [PAD, rest @ ..] => rest,
                [code, length, rest @ ..] => {
                    let value = rest.get(..usize::from(*length))?;
                    self.take(*code, value)?;
                    &rest[value.len()..]
                }
                [_] => return None,
            };
        }
    }

    fn take(&mut self, code: u8, value: &[u8]) -> Option<()> {
        match code {
            MESSAGE_TYPE => once(&mut self.kind, one(value)?),
            REQUESTED_ADDRESS => once(&mut self.requested, value.try_into().ok()?),
            LEASE_TIME => once(&mut self.lease_time, value.try_into().ok()?),
            SERVER => once(&mut self.server, value.try_into().ok()?),
            OVERLOAD => once(&mut self.overload, one(value)?),
            _ => Some(()),
        }
    }
}

fn one(value: &[u8]) -> Option<u8> {
    match value {
        [value] => Some(*value),
        _ => None,
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

impl Message {
    /// From the payload of a UDP datagram. `None` if it is no message for an Ethernet client.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (fixed, rest) = payload.split_at_checked(FIXED)?;
        let from_server = match fixed[0] {
            1 => false,
            2 => true,
            _ => return None,
        };
        // Ethernet, whose addresses have 6 bytes.
        if fixed[1..3] != [1, 6] || fixed[FIXED - 4..] != COOKIE {
            return None;
        }
        let mut options = Options::default();
        options.read(rest)?;
        let overload = options.overload.unwrap_or(0);
        if overload > 3 {
            return None;
        }
        if overload & 1 != 0 {
            options.read(&fixed[BOOT_FILE])?;
        }
        if overload & 2 != 0 {
            options.read(&fixed[SERVER_NAME])?;
        }
        let kind = match (options.kind?, from_server) {
            (3, false) => Kind::Request,
            (4, false) => Kind::Decline,
            (5, true) => Kind::Ack,
            (6, true) => Kind::Nak,
            (7, false) => Kind::Release,
            _ => Kind::Other,
        };
        let address = |at: usize| Ipv4Addr::from([0, 1, 2, 3].map(|byte| fixed[at + byte]));
        Some(Self {
            kind,
            transaction: address(4).to_bits(),
            client_address: address(12),
            your_address: address(16),
            client: MacAddr([0, 1, 2, 3, 4, 5].map(|byte| fixed[28 + byte])),
            requested: options.requested.map(Ipv4Addr::from),
            lease_time: options.lease_time.map(u32::from_be_bytes),
            server: options.server.map(Ipv4Addr::from),
        })
    }
}
