//! What a change may take: numbers of ports and images, and runs of counters, that nothing has now
//! and nothing else in the same change gets.

use std::collections::{BTreeSet, HashMap};

use nwfilter_common::{MAX_COUNTERS, MAX_IMAGES, MAX_PORTS};

use super::{KernelError, PortState, tables};
use crate::compile::Image;

/// What is taken.
pub(super) struct Plan {
    ports: BTreeSet<u32>,
    images: BTreeSet<u32>,
    /// First counters and lengths, sorted.
    runs: Vec<(u32, u32)>,
    /// Numbers of images by where their words are: ports that share one have the very same.
    same: HashMap<*const u32, u32>,
}

impl Plan {
    /// What is taken before the change.
    pub(super) fn new<'a>(
        ports: impl Iterator<Item = &'a PortState> + Clone,
        images: impl Iterator<Item = u32>,
    ) -> Self {
        let mut runs: Vec<_> = ports.clone().map(PortState::counters).collect();
        runs.sort_unstable();
        let used = ports.clone().map(|state| state.record.image);
        Self {
            images: images.chain(used).collect(),
            ports: ports.map(|state| state.number).collect(),
            runs,
            same: HashMap::new(),
        }
    }

    /// A number for a port.
    pub(super) fn port(&mut self, ifindex: u32) -> Result<u32, KernelError> {
        let mut numbers = [tables::natural_number(ifindex)]
            .into_iter()
            .chain(0..MAX_PORTS as u32);
        let number = numbers.find(|number| !self.ports.contains(number));
        let number = number.ok_or(KernelError::Full {
            what: "another port",
            limit: MAX_PORTS,
        })?;
        self.ports.insert(number);
        Ok(number)
    }

    /// A number for an image.
    pub(super) fn image(&mut self) -> Result<u32, KernelError> {
        let mut numbers = 0..MAX_IMAGES as u32;
        let number = numbers.find(|number| !self.images.contains(number));
        let number = number.ok_or(KernelError::Full {
            what: "another filter",
            limit: MAX_IMAGES,
        })?;
        self.images.insert(number);
        Ok(number)
    }

    /// The number of an image that this change has met before.
    pub(super) fn same_image(&self, image: &Image) -> Option<u32> {
        self.same.get(&image.words().as_ptr()).copied()
    }

    /// Now it has.
    pub(super) fn remember(&mut self, image: &Image, number: u32) {
        self.same.insert(image.words().as_ptr(), number);
    }

    /// A run of counters: the first gap that is large enough.
    pub(super) fn counters(&mut self, count: u32) -> Result<u32, KernelError> {
        let mut first = 0;
        let mut place = 0;
        for (start, length) in &self.runs {
            if start.saturating_sub(first) >= count {
                break;
            }
            first = first.max(start + length);
            place += 1;
        }
        if first + count > MAX_COUNTERS as u32 {
            return Err(KernelError::Full {
                what: "the counters of a filter",
                limit: MAX_COUNTERS,
            });
        }
        self.runs.insert(place, (first, count));
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use nwfilter_common::{FAULT_COUNTERS, PortRecord};

    use super::*;

    fn port(number: u32, counters: u32, entries: u32) -> PortState {
        PortState {
            ifindex: 1,
            number,
            record: PortRecord {
                counters,
                entries,
                ..PortRecord::default()
            },
        }
    }

    #[test]
    fn nothing_is_given_twice() {
        let ports = [port(7, 0, 2), port(8, 30, 2)];
        let mut plan = Plan::new(ports.iter(), [0, 1].into_iter());
        let taken = FAULT_COUNTERS + 2;
        assert_eq!(plan.counters(20).unwrap(), taken);
        assert_eq!(plan.counters(1).unwrap(), 30 + taken);
        assert_eq!(plan.counters(20).unwrap(), 31 + taken);
        assert!(plan.counters(MAX_COUNTERS as u32).is_err());
        assert_eq!(plan.port(7).unwrap(), 0);
        assert_eq!(plan.port(9).unwrap(), 9);
        assert_eq!(plan.port(9).unwrap(), 1);
        assert_eq!(plan.image().unwrap(), 2);
        assert_eq!(plan.image().unwrap(), 3);
    }
}
