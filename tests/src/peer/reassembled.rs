//! What the kernel changes of an IPv6 packet that it has put together and cut again: the fragments
//! have another identification, and a datagram in one fragment has lost its fragment header.

/// Where the IPv6 header begins.
const IP: usize = 14;
/// Where the header after it begins.
const NEXT: usize = IP + 40;

/// Whether `sent` may have become `arrived`.
pub(super) fn same(sent: &[u8], arrived: &[u8]) -> bool {
    sent == arrived || whole(sent) == whole(arrived)
}

/// The frame without identification, or without the fragment header, if that comes first.
fn whole(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let is_fragment = frame.len() >= NEXT + 8 && frame[12..14] == [0x86, 0xdd] && frame[20] == 44;
    if !is_fragment {
        return frame;
    }
    // Offset and whether more follow.
    if u16::from_be_bytes([frame[NEXT + 2], frame[NEXT + 3]]) & !6 == 0 {
        let length = u16::from_be_bytes([frame[IP + 4], frame[IP + 5]]).saturating_sub(8);
        frame[IP + 4..IP + 6].copy_from_slice(&length.to_be_bytes());
        frame[IP + 6] = frame[NEXT];
        frame.drain(NEXT..NEXT + 8);
    } else {
        frame[NEXT + 4..NEXT + 8].fill(0);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Extension, Ipv6};

    fn frame(extensions: Vec<Extension>, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6 {
            protocol: 17,
            extensions,
            ..Ipv6::default()
        };
        let mac = nwfilter_common::MacAddr::default();
        wire::ethernet(mac, mac, 0x86dd, &header.packet(payload))
    }

    fn fragment(offset: u16, more: bool, id: u32) -> Vec<Extension> {
        vec![Extension::Fragment { offset, more, id }]
    }

    #[test]
    fn identification_does_not_count_and_offset_does() {
        let piece = |offset, id| frame(fragment(offset, true, id), &[7; 16]);
        assert!(same(&piece(2, 1), &piece(2, 9)));
        assert!(!same(&piece(2, 1), &piece(3, 1)));
    }

    #[test]
    fn a_single_fragment_is_the_datagram() {
        let udp = wire::udp(1, 2, b"datagram");
        assert!(same(
            &frame(fragment(0, false, 5), &udp),
            &frame(vec![], &udp)
        ));
        assert!(!same(
            &frame(fragment(0, true, 5), &udp),
            &frame(vec![], &udp)
        ));
    }
}
