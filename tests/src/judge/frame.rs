//! Fields of an Ethernet frame and of what is not IP in it: VLAN tag, ARP, BPDU. By plain slicing;
//! no field is interpreted.

use std::net::Ipv4Addr;

use nwfilter_common::MacAddr;
use nwfilter_ctl::model::Semantics;

use super::{
    ip::{self, Packet},
    truth::Field,
};

/// Ethertypes (IEEE registry).
pub(super) mod ethertype {
    pub(in super::super) const IPV4: u16 = 0x0800;
    pub(in super::super) const ARP: u16 = 0x0806;
    pub(in super::super) const RARP: u16 = 0x8035;
    pub(in super::super) const VLAN: u16 = 0x8100;
    pub(in super::super) const IPV6: u16 = 0x86dd;
}

/// Where bridges send their BPDUs (IEEE 802.1D table 7-10).
pub(super) const BRIDGE_GROUP: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);

/// A frame with its Ethernet header whole.
pub(super) struct Frame<'a> {
    bytes: &'a [u8],
    /// Bytes 0 to 5.
    pub(super) destination: MacAddr,
    /// Bytes 6 to 11.
    pub(super) source: MacAddr,
    /// Bytes 12 and 13: of a tagged frame 0x8100 (or what other tag it is); of an 802.3 frame its
    /// length.
    pub(super) ethertype: u16,
    /// The packet in an untagged IPv4 or IPv6 frame.
    pub(super) packet: Option<Packet>,
}

impl<'a> Frame<'a> {
    /// `None` if the Ethernet header is cut off.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ethertype = u16_at(bytes, 12)?;
        let packet = match ethertype {
            ethertype::IPV4 => Some(ip::v4(&bytes[14..])),
            ethertype::IPV6 => Some(ip::v6(&bytes[14..])),
            _ => None,
        };
        Some(Self {
            bytes,
            destination: mac_at(bytes, 0)?,
            source: mac_at(bytes, 6)?,
            ethertype,
            packet,
        })
    }

    /// The tag of a frame with ethertype 0x8100. Cut off if its four bytes (control information and
    /// inner ethertype) are not all there.
    pub(super) fn vlan(&self) -> Field<Vlan> {
        if self.ethertype != ethertype::VLAN {
            return Field::Absent;
        }
        match (u16_at(self.bytes, 14), u16_at(self.bytes, 16)) {
            (Some(control), Some(inner)) => Field::Is(Vlan {
                id: control & 0x0fff,
                inner,
            }),
            _ => Field::Unknown,
        }
    }

    /// The ARP or RARP packet in this frame.
    pub(super) fn arp(&self, semantics: Semantics) -> Arp {
        if self.ethertype == ethertype::ARP || self.ethertype == ethertype::RARP {
            Arp::parse(&self.bytes[14..], semantics)
        } else {
            Arp::without_header(Field::Absent)
        }
    }

    /// The BPDU in this frame, which may stand behind one VLAN tag.
    pub(super) fn bpdu(&self) -> Bpdu<'a> {
        let at = if self.ethertype == ethertype::VLAN {
            18
        } else {
            14
        };
        Bpdu {
            llc: self.bytes.get(at..).unwrap_or_default(),
        }
    }
}

/// An 802.1Q tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Vlan {
    /// 12 bits.
    pub(super) id: u16,
    /// The ethertype after the tag.
    pub(super) inner: u16,
}

/// An ARP or RARP packet (RFC 826).
#[derive(Debug)]
pub(super) struct Arp {
    pub(super) hardware: Field<u16>,
    pub(super) protocol: Field<u16>,
    pub(super) opcode: Field<u16>,
    pub(super) sender_mac: Field<MacAddr>,
    pub(super) sender_ip: Field<Ipv4Addr>,
    pub(super) target_mac: Field<MacAddr>,
    pub(super) target_ip: Field<Ipv4Addr>,
}

impl Arp {
    /// The address fields are those of ARP for Ethernet and IPv4. A packet of any other hardware
    /// type or address length has none of them; one of any other protocol type has only the MAC
    /// addresses.
    ///
    /// Truncated: in [`Semantics::Libvirt`], tests of missing fields and all address tests fail; in
    /// [`Semantics::Strict`], every field is unknown.
    fn parse(arp: &[u8], semantics: Semantics) -> Self {
        let truncated = match semantics {
            Semantics::Strict => Self::without_header(Field::Unknown),
            Semantics::Libvirt => Self::without_header(Field::Absent),
        };
        if arp.len() < 8 {
            return truncated;
        }
        let hardware = u16::from_be_bytes([arp[0], arp[1]]);
        let protocol = u16::from_be_bytes([arp[2], arp[3]]);
        let opcode = u16::from_be_bytes([arp[6], arp[7]]);
        let (hardware_length, protocol_length) = (arp[4], arp[5]);

        let known = Self {
            hardware: Field::Is(hardware),
            protocol: Field::Is(protocol),
            opcode: Field::Is(opcode),
            ..Self::without_header(Field::Absent)
        };
        if hardware != 1 || hardware_length != 6 || protocol_length != 4 {
            return known;
        }
        if arp.len() < 28 {
            return match semantics {
                Semantics::Strict if protocol == ethertype::IPV4 => truncated,
                Semantics::Strict => Self {
                    sender_mac: Field::Unknown,
                    target_mac: Field::Unknown,
                    ..known
                },
                Semantics::Libvirt => known,
            };
        }
        let mac = |at: usize| Field::Is(MacAddr(std::array::from_fn(|i| arp[at + i])));
        let ip = |at: usize| {
            if protocol == ethertype::IPV4 {
                Field::Is(Ipv4Addr::new(
                    arp[at],
                    arp[at + 1],
                    arp[at + 2],
                    arp[at + 3],
                ))
            } else {
                Field::Absent
            }
        };
        Self {
            sender_mac: mac(8),
            sender_ip: ip(14),
            target_mac: mac(18),
            target_ip: ip(24),
            ..known
        }
    }

    /// All fields alike; of the given kind, which is [`Field::Absent`] or [`Field::Unknown`].
    fn without_header(kind: Field<()>) -> Self {
        let no_number = || kind.map(|()| 0_u16);
        let no_mac = || kind.map(|()| MacAddr::default());
        let no_ip = || kind.map(|()| Ipv4Addr::UNSPECIFIED);
        Self {
            hardware: no_number(),
            protocol: no_number(),
            opcode: no_number(),
            sender_mac: no_mac(),
            sender_ip: no_ip(),
            target_mac: no_mac(),
            target_ip: no_ip(),
        }
    }
}

/// A bridge protocol data unit behind its LLC header (IEEE 802.1D section 9).
pub(super) struct Bpdu<'a> {
    /// LLC: three bytes; BPDU: protocol id, version, type (together 7 bytes), then, in a
    /// configuration BPDU, flags and the rest (together 38 bytes).
    llc: &'a [u8],
}

impl Bpdu<'_> {
    /// LLC 42 42 03 and protocol id 0; without it, no field is there. Cut off if it does not reach
    /// to the type.
    pub(super) fn kind(&self) -> Field<u8> {
        match self.llc.get(..7) {
            None => Field::Unknown,
            Some([0x42, 0x42, 0x03, 0, 0, _version, kind]) => Field::Is(*kind),
            Some(_) => Field::Absent,
        }
    }

    /// The configuration, which only type 0 has: bytes from flags on.
    pub(super) fn configuration(&self) -> Field<&[u8]> {
        match self.llc.get(7..38) {
            None => Field::Unknown,
            Some(bytes) => Field::Is(bytes),
        }
    }
}

/// Big-endian 16 bits.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)
        .map(|b| u16::from_be_bytes([b[0], b[1]]))
}

fn mac_at(bytes: &[u8], at: usize) -> Option<MacAddr> {
    let bytes = bytes.get(at..at + 6)?;
    Some(MacAddr(std::array::from_fn(|i| bytes[i])))
}
