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
    /// What is less is the length of an 802.3 frame (IEEE 802.3 section 3.2.6).
    pub(in super::super) const MIN: u16 = 0x0600;
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
        let (length, at) = match self.vlan() {
            Field::Is(vlan) => (vlan.inner, 18),
            // The frame ends inside its tag, and so before any BPDU.
            Field::Unknown => (0, self.bytes.len()),
            Field::Absent | Field::Different => (self.ethertype, 14),
        };
        Bpdu {
            is_llc: length < ethertype::MIN,
            llc: &self.bytes[at..],
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
    /// Hardware addresses are MAC addresses in a packet of type 1 and length 6, protocol addresses
    /// IPv4 addresses in one of type 0x800 and length 4; each of them wherever the two lengths put
    /// them.
    ///
    /// Truncated, which is before the last address that the lengths announce: in
    /// [`Semantics::Libvirt`], tests of missing fields and all address tests fail (4a.10); in
    /// [`Semantics::Strict`], all addresses are unknown.
    fn parse(arp: &[u8], semantics: Semantics) -> Self {
        let truncated = match semantics {
            Semantics::Strict => Field::Unknown,
            Semantics::Libvirt => Field::Absent,
        };
        if arp.len() < 8 {
            return Self::without_header(truncated);
        }
        let hardware = u16::from_be_bytes([arp[0], arp[1]]);
        let protocol = u16::from_be_bytes([arp[2], arp[3]]);
        let (hardware_length, protocol_length) = (usize::from(arp[4]), usize::from(arp[5]));
        let sender_ip = 8 + hardware_length;
        let target_mac = sender_ip + protocol_length;
        let target_ip = target_mac + hardware_length;
        let whole = arp.len() >= target_ip + protocol_length;
        let mac = |at: usize| match (hardware, hardware_length) {
            (1, 6) if whole => Field::Is(MacAddr(std::array::from_fn(|i| arp[at + i]))),
            (1, 6) => truncated.map(|()| MacAddr::default()),
            _ => Field::Absent,
        };
        let ip = |at: usize| match (protocol, protocol_length) {
            (ethertype::IPV4, 4) if whole => {
                let octets: [u8; 4] = std::array::from_fn(|i| arp[at + i]);
                Field::Is(Ipv4Addr::from(octets))
            }
            (ethertype::IPV4, 4) => truncated.map(|()| Ipv4Addr::UNSPECIFIED),
            _ => Field::Absent,
        };
        Self {
            hardware: Field::Is(hardware),
            protocol: Field::Is(protocol),
            opcode: Field::Is(u16::from_be_bytes([arp[6], arp[7]])),
            sender_mac: mac(8),
            sender_ip: ip(sender_ip),
            target_mac: mac(target_mac),
            target_ip: ip(target_ip),
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
    /// The frame is one of 802.3, which alone has an LLC header.
    is_llc: bool,
    /// LLC: three bytes; BPDU: protocol id, version, type (together 7 bytes), then, in a
    /// configuration BPDU, flags and the rest (together 38 bytes).
    llc: &'a [u8],
}

impl Bpdu<'_> {
    /// LLC 42 42 03 and protocol id 0; without it, no field is there. Cut off if it does not reach
    /// to the type.
    pub(super) fn kind(&self) -> Field<u8> {
        if !self.is_llc {
            return Field::Absent;
        }
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
