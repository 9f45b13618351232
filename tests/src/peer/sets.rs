//! The kernel's address sets (ipset), made and filled through netlink (`linux/netfilter/ipset/ip_set.h`).

use std::net::IpAddr;

use anyhow::Result;

use super::netfilter::{Attribute, request};

/// Subsystem of address sets.
const SETS: u16 = 6;
const CREATE: u16 = 2;
const ADD: u16 = 9;

/// Of [`CREATE`] and [`ADD`].
const PROTOCOL: u16 = 1;
const SET: u16 = 2;
const TYPE: u16 = 3;
const REVISION: u16 = 4;
const FAMILY: u16 = 5;
const DATA: u16 = 7;
/// Of [`DATA`].
const IP: u16 = 1;
/// Of [`IP`].
const IPV4: u16 = 1;
const IPV6: u16 = 2;

/// Makes the set `name` of addresses of one family in the current network namespace.
pub(super) fn make(name: &str, members: &[IpAddr]) -> Result<()> {
    let family = match members.first() {
        Some(IpAddr::V6(_)) => libc::AF_INET6 as u8,
        _ => libc::AF_INET as u8,
    };
    let name = [name.as_bytes(), &[0]].concat();
    let common = || vec![Attribute::new(PROTOCOL, &[6]), Attribute::new(SET, &name)];
    let mut create = common();
    create.extend([
        Attribute::new(TYPE, b"hash:ip\0"),
        Attribute::new(REVISION, &[0]),
        Attribute::new(FAMILY, &[family]),
        Attribute::nested(DATA, &[]),
    ]);
    request(SETS << 8 | CREATE, family, &create)?;
    for member in members {
        let address = match member {
            IpAddr::V4(address) => Attribute::big_endian(IPV4, &address.octets()),
            IpAddr::V6(address) => Attribute::big_endian(IPV6, &address.octets()),
        };
        let ip = Attribute::nested(IP, &[address]);
        let mut add = common();
        add.push(Attribute::nested(DATA, &[ip]));
        request(SETS << 8 | ADD, family, &add)?;
    }
    Ok(())
}
