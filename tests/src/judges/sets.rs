//! The address sets of generated cases: `set` of addresses, `other` of addresses with ports.

use std::net::IpAddr;

use nwfilter_common::{SetKey, SetName};
use nwfilter_ctl::model::SetDirection;

use crate::judge::{Lookup, Sets};

/// A network, and whether it is an exception.
type Network<'a> = (&'a str, u8, bool);

/// `set`
const NETWORKS: &[Network<'static>] = &[
    ("10.0.0.0", 24, false),
    ("10.0.0.2", 32, true),
    ("224.0.0.0", 4, false),
    ("fe80::", 10, false),
    ("fe80::1", 128, true),
];

/// `other`: network, protocol, port.
const SERVICES: &[(Network<'static>, u8, u16)] = &[
    (("10.0.0.0", 24, false), 6, 80),
    (("10.0.0.0", 8, false), 17, 53),
    (("10.0.0.0", 8, false), 17, 67),
    (("10.0.0.1", 32, false), 17, 1000),
    (("10.0.0.0", 8, false), 1, 0x0800),
    (("10.0.0.0", 8, false), 47, 0),
    (("fe80::", 10, false), 58, 0x8000),
    (("::", 0, false), 17, 53),
    (("::", 0, false), 6, 80),
];

fn key((network, length, _): Network<'_>, service: Option<(u8, u16)>) -> SetKey {
    let mut key = SetKey {
        prefix: SetKey::BEFORE_ADDRESS + u32::from(length),
        ..SetKey::default()
    };
    match network.parse() {
        Ok(IpAddr::V4(v4)) => {
            key.form = 4;
            key.address[..4].copy_from_slice(&v4.octets());
        }
        Ok(IpAddr::V6(v6)) => {
            key.form = 6;
            key.address = v6.octets();
        }
        Err(error) => unreachable!("{network}: {error}"),
    }
    if let Some((protocol, port)) = service {
        key.form |= SetKey::PORT;
        key.protocol = protocol;
        key.port = port.to_be_bytes();
    }
    key
}

/// An address as an element of a set.
pub(super) fn address_key(address: IpAddr) -> SetKey {
    let length = if address.is_ipv4() { 32 } else { 128 };
    key((&address.to_string(), length, false), None)
}

/// The sets as the datapath knows them.
pub fn sets() -> [(SetName, Vec<(SetKey, bool)>); 2] {
    let name = |name| SetName::new(name).unwrap_or_default();
    let networks = NETWORKS
        .iter()
        .map(|network| (key(*network, None), network.2));
    let services = SERVICES
        .iter()
        .map(|(network, protocol, port)| (key(*network, Some((*protocol, *port))), network.2));
    [
        (name("set"), networks.collect()),
        (name("other"), services.collect()),
    ]
}

/// The sets as a naive judge reads them.
pub struct Naive;

impl Sets for Naive {
    fn contains(&self, lookup: &Lookup<'_>) -> bool {
        let side = |i: usize| lookup.directions.get(i).copied();
        let address = match side(0) {
            Some(SetDirection::Src) => lookup.source,
            _ => lookup.destination,
        };
        let longest = |networks: Vec<Network>| {
            let best = networks
                .into_iter()
                .filter(|network| is_in(address, *network))
                .max_by_key(|network| network.1);
            best.is_some_and(|network| !network.2)
        };
        match (lookup.set, side(1), lookup.protocol) {
            ("set", ..) => longest(NETWORKS.to_vec()),
            ("other", Some(side), Some(protocol)) => {
                let port = lookup.ports.map_or(0, |(source, destination)| match side {
                    SetDirection::Src => source,
                    SetDirection::Dst => destination,
                });
                let services = SERVICES
                    .iter()
                    .filter(|service| (service.1, service.2) == (protocol, port));
                longest(services.map(|service| service.0).collect())
            }
            _ => false,
        }
    }
}

fn is_in(address: IpAddr, (network, length, _): Network) -> bool {
    let shift = |bits: u8| u32::from(bits - length);
    match (address, network.parse()) {
        (IpAddr::V4(address), Ok(IpAddr::V4(network))) => {
            let differ = u32::from(address) ^ u32::from(network);
            differ.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), Ok(IpAddr::V6(network))) => {
            let differ = u128::from(address) ^ u128::from(network);
            differ.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}
