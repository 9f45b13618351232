//! Tests of address sets.

use nwfilter_common::{Field, SetName};

use super::{Builder, Orientation, Stop};
use crate::{
    compile::{
        CompileError,
        rule::{Condition, SetTest},
    },
    model::{Attr, Datum, Semantics, SetDirection},
    resolve::Test,
};

impl Builder<'_> {
    /// `ipset` with `ipsetflags`; without flags it is ignored.
    pub(super) fn set(&mut self, test: &Test) -> Result<(), Stop> {
        let flags = self
            .get(Attr::IpSetFlags)
            .and_then(|flags| flags.values.first());
        let Some(Datum::SetDirections(directions)) = flags else {
            return Ok(());
        };
        let swapped = self.orientation == Orientation::Swapped;
        let bits = directions.iter().enumerate().map(|(i, direction)| {
            let destination = (*direction == SetDirection::Dst) != swapped;
            u8::from(destination) << i
        });
        let v4 = self.instance.protocol.family() == Some(crate::model::Family::V4);
        let flags = SetTest {
            field: if v4 { Field::Ip4Src } else { Field::Ip6SrcHigh },
            name: SetName::default(),
            dimensions: directions.len() as u8,
            destinations: bits.fold(0, |all, bit| all | bit),
        };
        let mut sets = Vec::new();
        for value in &test.values {
            let Datum::Text(name) = value else { continue };
            let Some(name) = SetName::new(name) else {
                return Err(Stop::Error(CompileError::Unsupported {
                    origin: self.instance.origin.clone(),
                    what: test.attr,
                }));
            };
            sets.push(SetTest { name, ..flags });
        }
        // More than one only if negated, and then it must be in none. libvirt loses the sign.
        if test.negated && self.semantics == Semantics::Strict {
            for alternative in &mut self.alternatives {
                alternative.extend(sets.iter().map(|set| Condition::Set(*set, false)));
            }
            return Ok(());
        }
        let alternatives = std::mem::take(&mut self.alternatives);
        for alternative in alternatives {
            self.alternatives.extend(sets.iter().map(|set| {
                let mut alternative = alternative.clone();
                alternative.push(Condition::Set(*set, true));
                alternative
            }));
        }
        Ok(())
    }
}
