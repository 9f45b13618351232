//! How connections are named: by addresses, protocol and what the protocol offers besides, and which
//! two connections a packet may belong to. No table, no state.

use std::net::IpAddr;

use nwfilter_ctl::model::Family;

use super::ip::icmp_protocol;

/// A connection, named by its original direction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Flow {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) selector: Selector,
}

/// What tells connections of the same addresses and protocol apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Selector {
    Ports {
        source: u16,
        destination: u16,
    },
    /// An ICMP request of this type.
    Request {
        kind: u8,
        code: u8,
        id: u16,
    },
    Nothing,
}

/// The two connections that a packet may belong to.
pub(super) struct Roles {
    /// As a packet of the original direction.
    pub(super) original: Option<Flow>,
    /// As a reply.
    pub(super) reply: Option<Flow>,
}

impl Flow {
    /// The name that this connection has if it was opened from the other side. A request has no other
    /// side: what looks like its opposite is another request.
    pub(super) fn reversed(self) -> Option<Self> {
        let selector = match self.selector {
            Selector::Ports {
                source,
                destination,
            } => Selector::Ports {
                source: destination,
                destination: source,
            },
            Selector::Nothing => Selector::Nothing,
            Selector::Request { .. } => return None,
        };
        Some(Self {
            source: self.destination,
            destination: self.source,
            selector,
            ..self
        })
    }

    /// The connections that a packet which could open this one may belong to.
    fn roles(self) -> Roles {
        Roles {
            original: Some(self),
            reply: self.reversed(),
        }
    }
}

pub(super) fn with_ports(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: (u16, u16),
) -> Roles {
    let flow = Flow {
        source,
        destination,
        protocol,
        selector: Selector::Ports {
            source: ports.0,
            destination: ports.1,
        },
    };
    flow.roles()
}

pub(super) fn alone(source: IpAddr, destination: IpAddr, protocol: u8) -> Roles {
    let flow = Flow {
        source,
        destination,
        protocol,
        selector: Selector::Nothing,
    };
    flow.roles()
}

/// A request is in the original direction, its reply in the other, and any other type in none.
/// `message` is type and code.
pub(super) fn with_id(
    family: Family,
    source: IpAddr,
    destination: IpAddr,
    message: (u8, u8),
    id: u16,
) -> Roles {
    let protocol = icmp_protocol(family);
    let (kind, code) = message;
    let (is_reply, request) = match (family, kind) {
        (Family::V4, 8 | 13 | 15 | 17) | (Family::V6, 128 | 139) => (false, kind),
        (Family::V4, 0) => (true, 8),
        (Family::V4, 14 | 16 | 18) | (Family::V6, 129 | 140) => (true, kind - 1),
        _ => {
            return Roles {
                original: None,
                reply: None,
            };
        }
    };
    let selector = Selector::Request {
        kind: request,
        code,
        id,
    };
    if is_reply {
        let flow = Flow {
            source: destination,
            destination: source,
            protocol,
            selector,
        };
        Roles {
            original: None,
            reply: Some(flow),
        }
    } else {
        Roles {
            original: Some(Flow {
                source,
                destination,
                protocol,
                selector,
            }),
            reply: None,
        }
    }
}
