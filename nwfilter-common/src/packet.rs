//! How the engine sees a frame: bytes on demand, plus what the kernel keeps beside them.

/// A VLAN tag that is kept beside the frame's bytes, as the kernel does for frames at TC hooks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tag {
    /// Tag protocol: [`crate::ethertype::VLAN`] or [`crate::ethertype::VLAN_SERVICE`].
    pub protocol: u16,
    /// Priority, drop eligibility and VLAN id, as in the tag.
    pub tci: u16,
}

/// A frame, starting at its Ethernet header.
pub trait Packet {
    /// Length in bytes, without a tag kept beside the bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `N` bytes at `offset`, wherever the kernel keeps them; `None` when the frame ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// As [`Packet::read`], for an offset that the compiler cannot know and that is rarely asked for.
    fn read_far<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.read(offset)
    }

    /// The tag beside the bytes.
    fn tag(&self) -> Option<Tag>;
}

/// A frame in userspace memory, exactly as on the wire.
impl Packet for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn tag(&self) -> Option<Tag> {
        None
    }
}
