//! The parsers against those of the crate `dhcproto`, on messages that it writes. It panics on some
//! that it does not, so damaged ones are left to the fuzz targets.

use std::net::{Ipv4Addr, Ipv6Addr};

use dhcproto::{Decodable, Decoder, Encodable, v4, v6};
use nwfilter_common::MacAddr;
use proptest::{collection::vec, option, prelude::*};

use super::super::{Kind, Kind6, Message, Message6, Offered};

/// What the other parser reads.
fn reference(message: &v4::Message) -> Option<Message> {
    let options = message.opts();
    let from_server = match message.opcode() {
        v4::Opcode::BootRequest => false,
        v4::Opcode::BootReply => true,
        v4::Opcode::Unknown(_) => return None,
    };
    let address = |code| match options.get(code) {
        Some(
            v4::DhcpOption::RequestedIpAddress(address) | v4::DhcpOption::ServerIdentifier(address),
        ) => Some(*address),
        _ => None,
    };
    let Some(v4::DhcpOption::MessageType(kind)) = options.get(v4::OptionCode::MessageType) else {
        return None;
    };
    Some(Message {
        kind: match (kind, from_server) {
            (v4::MessageType::Request, false) => Kind::Request,
            (v4::MessageType::Decline, false) => Kind::Decline,
            (v4::MessageType::Ack, true) => Kind::Ack,
            (v4::MessageType::Nak, true) => Kind::Nak,
            (v4::MessageType::Release, false) => Kind::Release,
            _ => Kind::Other,
        },
        transaction: message.xid(),
        client: MacAddr(message.chaddr().try_into().ok()?),
        client_address: message.ciaddr(),
        your_address: message.yiaddr(),
        requested: address(v4::OptionCode::RequestedIpAddress),
        lease_time: match options.get(v4::OptionCode::AddressLeaseTime) {
            Some(v4::DhcpOption::AddressLeaseTime(time)) => Some(*time),
            _ => None,
        },
        server: address(v4::OptionCode::ServerIdentifier),
    })
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

prop_compose! {
    fn message()(
        reply in any::<bool>(),
        kind in 1..=8_u8,
        transaction in any::<u32>(),
        addresses in (address(), address()),
        client in any::<[u8; 6]>(),
        requested in option::of(address()),
        server in option::of(address()),
        lease_time in option::of(any::<u32>()),
        name in option::of("[a-z]{1,12}"),
    ) -> v4::Message {
        let mut message = v4::Message::default();
        let opcode = if reply { v4::Opcode::BootReply } else { v4::Opcode::BootRequest };
        message
            .set_opcode(opcode)
            .set_xid(transaction)
            .set_ciaddr(addresses.0)
            .set_yiaddr(addresses.1)
            .set_chaddr(&client);
        let options = message.opts_mut();
        options.insert(v4::DhcpOption::MessageType(kind.into()));
        let rest = [
            requested.map(v4::DhcpOption::RequestedIpAddress),
            server.map(v4::DhcpOption::ServerIdentifier),
            lease_time.map(v4::DhcpOption::AddressLeaseTime),
            name.map(v4::DhcpOption::Hostname),
        ];
        for option in rest.into_iter().flatten() {
            options.insert(option);
        }
        message
    }
}

fn reference6(message: &v6::Message) -> Message6 {
    let status = |options: &v6::DhcpOptions| {
        options.iter().any(|option| {
            matches!(option, v6::DhcpOption::StatusCode(code) if code.status != v6::Status::Success)
        })
    };
    let mut addresses = Vec::new();
    for option in message.opts().iter() {
        let inner = match option {
            v6::DhcpOption::IANA(association) => &association.opts,
            v6::DhcpOption::IATA(association) => &association.opts,
            _ => continue,
        };
        for option in inner.iter().filter(|_| !status(inner)) {
            if let v6::DhcpOption::IAAddr(given) = option
                && !status(&given.opts)
            {
                addresses.push(Offered {
                    address: given.addr,
                    valid: given.valid_life,
                });
            }
        }
    }
    let kind = match message.msg_type() {
        v6::MessageType::Reply => Kind6::Reply,
        v6::MessageType::Release => Kind6::Release,
        v6::MessageType::Decline => Kind6::Decline,
        _ => Kind6::Other,
    };
    if kind == Kind6::Reply && status(message.opts()) {
        addresses.clear();
    }
    Message6 { kind, addresses }
}

fn status() -> impl Strategy<Value = Option<v6::DhcpOption>> {
    option::of((0..6_u16, "[a-z]{0,5}")).prop_map(|status| {
        status.map(|(code, msg)| {
            v6::DhcpOption::StatusCode(v6::StatusCode {
                status: code.into(),
                msg,
            })
        })
    })
}

prop_compose! {
    fn association()(
        temporary in any::<bool>(),
        numbers in any::<(u32, u32, u32)>(),
        addresses in vec((any::<u128>(), any::<(u32, u32)>(), status()), 0..3),
        status in status(),
    ) -> v6::DhcpOption {
        let mut opts = v6::DhcpOptions::new();
        for (addr, (preferred_life, valid_life), status) in addresses {
            opts.insert(v6::DhcpOption::IAAddr(v6::IAAddr {
                addr: Ipv6Addr::from_bits(addr),
                preferred_life,
                valid_life,
                opts: status.into_iter().collect(),
            }));
        }
        if let Some(status) = status {
            opts.insert(status);
        }
        let (id, t1, t2) = numbers;
        if temporary {
            v6::DhcpOption::IATA(v6::IATA { id, opts })
        } else {
            v6::DhcpOption::IANA(v6::IANA { id, t1, t2, opts })
        }
    }
}

prop_compose! {
    fn message6()(
        kind in 1..=11_u8,
        name in vec(any::<u8>(), 2..10),
        associations in vec(association(), 0..3),
        status in status(),
    ) -> v6::Message {
        let mut message = v6::Message::new(kind.into());
        let options = message.opts_mut();
        options.insert(v6::DhcpOption::ClientId(name));
        for option in associations.into_iter().chain(status) {
            options.insert(option);
        }
        message
    }
}

proptest! {
    #[test]
    fn messages_are_read_as_another_parser_reads_them(
        message in message(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.to_vec().unwrap();
        prop_assert_eq!(Message::parse(&bytes), reference(&message));
        bytes.truncate(240 + end.index(bytes.len() - 239));
        if let Some(parsed) = Message::parse(&bytes) {
            let other = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
            // It ends at the first option that it does not like.
            if let Some(other) = reference(&other) {
                prop_assert_eq!(parsed.kind, other.kind);
                prop_assert!(other.requested.is_none() || other.requested == parsed.requested);
                prop_assert!(other.lease_time.is_none() || other.lease_time == parsed.lease_time);
                prop_assert!(other.server.is_none() || other.server == parsed.server);
            }
        }
    }

    #[test]
    fn dhcpv6_messages_are_read_as_another_parser_reads_them(message in message6()) {
        let bytes = message.to_vec().unwrap();
        prop_assert_eq!(Message6::parse(&bytes), Some(reference6(&message)));
    }
}
