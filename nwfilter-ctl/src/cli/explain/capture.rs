//! Frames from pcap and pcapng files. Knows nothing of filters.

use std::time::Duration;

use nwfilter_common::FrameDirection;
use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader, pcapng::OptionCode,
    traits::PcapNGPacketBlock as _,
};

/// A frame to explain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Frame {
    /// From the Ethernet header on, as far as it was captured.
    pub(super) data: Vec<u8>,
    /// Bytes on the wire.
    pub(super) length: usize,
    /// As the file says.
    pub(super) direction: Option<FrameDirection>,
    /// When it was captured, since 1970, if the file says so.
    pub(super) time: Option<Duration>,
}

impl Frame {
    /// A frame of which all is there and nothing else is known.
    pub(super) fn whole(data: Vec<u8>) -> Self {
        Self {
            length: data.len(),
            data,
            direction: None,
            time: None,
        }
    }
}

/// Why a capture file cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CaptureError {
    /// Too many bytes.
    #[error("the file has more than {0} bytes, the most that are read")]
    TooLarge(u64),
    /// Of another format.
    #[error("not a capture file, expected pcap or pcapng")]
    Format,
    /// It ends in the middle of something.
    #[error("byte {0}: the file ends within a packet or block")]
    CutOff(usize),
    /// It is broken.
    #[error("byte {0}: malformed packet or block")]
    Malformed(usize),
    /// Frames of another kind of link.
    #[error("packets of link type {0}, expected 1 (Ethernet)")]
    LinkType(i32),
    /// A packet of an interface that is not described.
    #[error("byte {0}: a packet of interface {1}, which the file does not describe")]
    Interface(usize, u32),
}

/// Option `epb_flags` of a packet (draft-ietf-opsawg-pcapng, section 4.3).
const EPB_FLAGS: OptionCode = OptionCode(2);
/// Block type of an enhanced packet as the writer's byte order has it.
const EPB: u32 = 6;

/// Reads all frames of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Frame>, CaptureError> {
    // With room for all of it, so that one refill finds the end.
    let mut reader = create_reader(bytes.len() + 64, bytes).map_err(|_| CaptureError::Format)?;
    reader.refill().map_err(|_| CaptureError::Format)?;
    let mut frames = Vec::new();
    // Those of the section.
    let mut interfaces: Vec<Interface> = Vec::new();
    // Nanoseconds in a unit of a pcap file's times.
    let mut unit = 1000;
    while !reader.data().is_empty() || reader.consumed() == 0 {
        let at = reader.consumed();
        let (length, block) = match reader.next() {
            Ok(next) => next,
            Err(PcapError::Eof) => break,
            Err(
                PcapError::UnexpectedEof | PcapError::Incomplete(_) | PcapError::BufferTooSmall,
            ) => return Err(CaptureError::CutOff(at)),
            Err(_) => return Err(CaptureError::Malformed(at)),
        };
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                // The upper bits tell of a trailing checksum (draft-ietf-opsawg-pcap, section 4).
                ethernet(Linktype(header.network.0 & 0xffff))?;
                unit = if header.is_nanosecond_precision() {
                    1
                } else {
                    1000
                };
            }
            PcapBlockOwned::Legacy(packet) => frames.push(Frame {
                data: packet.data.to_vec(),
                length: packet.origlen as usize,
                direction: None,
                time: Some(
                    Duration::from_secs(packet.ts_sec.into())
                        + Duration::from_nanos(u64::from(packet.ts_usec) * unit),
                ),
            }),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                interfaces.push(Interface {
                    link: interface.linktype,
                    resolution: interface.if_tsresol,
                    offset: interface.if_tsoffset,
                });
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = interface(&interfaces, packet.if_id, at)?;
                ethernet(interface.link)?;
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let big_endian = packet.block_type != EPB;
                let flags = packet
                    .options
                    .iter()
                    .find(|option| option.code == EPB_FLAGS);
                let flags = flags.and_then(|option| option.value().first_chunk().copied());
                frames.push(Frame {
                    data: packet.packet_data().to_vec(),
                    length: packet.origlen as usize,
                    direction: flags.and_then(|flags| direction(flags, big_endian)),
                    time: interface.time(time),
                });
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                ethernet(interface(&interfaces, 0, at)?.link)?;
                frames.push(Frame {
                    data: packet.packet_data().to_vec(),
                    length: packet.origlen as usize,
                    direction: None,
                    time: None,
                });
            }
            PcapBlockOwned::NG(_) => {}
        }
        reader.consume(length);
    }
    Ok(frames)
}

/// What a pcapng file says of an interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Linktype,
    /// `if_tsresol`: a negative power of 10, or of 2 if the top bit is set.
    resolution: u8,
    /// `if_tsoffset`, seconds.
    offset: i64,
}

impl Interface {
    /// When a packet was captured; `None` if that cannot be said.
    fn time(self, units: u64) -> Option<Duration> {
        let exponent = u32::from(self.resolution & 0x7f);
        let per_second = match self.resolution & 0x80 {
            0 => 10u64.checked_pow(exponent)?,
            _ => 1u64.checked_shl(exponent)?,
        };
        let seconds = (units / per_second).checked_add_signed(self.offset)?;
        let rest = u128::from(units % per_second) * 1_000_000_000 / u128::from(per_second);
        Some(Duration::new(seconds, rest as u32))
    }
}

fn interface(interfaces: &[Interface], id: u32, at: usize) -> Result<Interface, CaptureError> {
    let known = interfaces.get(id as usize).copied();
    known.ok_or(CaptureError::Interface(at, id))
}

fn ethernet(link: Linktype) -> Result<(), CaptureError> {
    if link == Linktype::ETHERNET {
        Ok(())
    } else {
        Err(CaptureError::LinkType(link.0))
    }
}

/// The two low bits: 1 is inbound, 2 is outbound.
fn direction(flags: [u8; 4], big_endian: bool) -> Option<FrameDirection> {
    let flags = if big_endian {
        u32::from_be_bytes(flags)
    } else {
        u32::from_le_bytes(flags)
    };
    match flags & 3 {
        1 => Some(FrameDirection::In),
        2 => Some(FrameDirection::Out),
        _ => None,
    }
}
