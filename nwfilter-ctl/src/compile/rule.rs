//! Flat rules: what a layer's filters come down to for one direction. A list is walked from the
//! start; the first rule whose conditions all hold decides.

use nwfilter_common::{Field, LeafVerdict, SetName};

use super::set::ValueSet;

/// One rule of a flat list.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FlatRule {
    /// Index into [`super::Compiled::entries`].
    pub entry: u32,
    /// What happens on a match.
    pub outcome: Outcome,
    /// All must hold; at most one per field, and one per run of slots.
    pub conditions: Vec<Condition>,
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The layer is done with the frame.
    Decide(LeafVerdict),
    /// Go on with the rule at this index of the list, which is further down.
    Skip(usize),
}

/// A test of a frame.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Condition {
    /// The field's value is in the set.
    In(Field, ValueSet),
    /// The field's value is, or is not, one of the port's addresses.
    Slots(SlotTest, bool),
    /// A bit of the field is set, or not.
    Bit(BitTest, bool),
    /// The source has more connections than this, or not. Looking has an effect, so it is tested
    /// last.
    Limit(LimitTest, bool),
    /// The frame is in an address set, or not.
    Set(SetTest, bool),
}

/// A look into an address set.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SetTest {
    /// The first field of the source address, which stands for the IP version.
    pub field: Field,
    /// Its name.
    pub name: SetName,
    /// Dimensions that are compared.
    pub dimensions: u8,
    /// A bit for each that is compared with the destination.
    pub destinations: u8,
}

impl SetTest {
    /// `src` or `dst` for each dimension.
    pub fn directions(self) -> String {
        let names = (0..self.dimensions).map(|i| match self.destinations >> i & 1 {
            0 => "src",
            _ => "dst",
        });
        names.collect::<Vec<_>>().join(",")
    }
}

/// A connection limit. Each rule of a list has its own, however many flat rules it comes down to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LimitTest {
    /// Which limit.
    pub number: u16,
    /// Connections that are not above it.
    pub most: u32,
}

/// A look at one bit of a field that is no number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BitTest {
    /// The field.
    pub field: Field,
    /// Number of the bit, from 0.
    pub bit: u8,
}

impl BitTest {
    /// Whether a TCP option of this kind is there.
    pub const fn tcp_option(kind: u8) -> Self {
        let (field, bit) = Field::tcp_option(kind);
        Self { field, bit }
    }

    /// The inverse of [`BitTest::tcp_option`].
    pub const fn option_kind(self) -> u8 {
        let first = match self.field {
            Field::TcpOptions1 => 64,
            Field::TcpOptions2 => 128,
            Field::TcpOptions3 => 192,
            _ => 0,
        };
        first + self.bit
    }
}

/// A comparison with a run of slots of the port record.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SlotTest {
    /// The field; for IPv6 addresses its first half, and slots count in pairs.
    pub field: Field,
    /// First slot.
    pub first: u8,
    /// Values to compare with.
    pub count: u8,
}

impl SlotTest {
    /// Slots per value.
    pub const fn stride(self) -> u8 {
        if self.field.low_half().is_some() {
            2
        } else {
            1
        }
    }
}
