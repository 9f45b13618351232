//! Changes: what one may ask for, and preparing all that it needs (records, images, counters) before
//! any of it is in force.

use std::{collections::BTreeSet, sync::Arc};

use nwfilter_common::{FAULT_COUNTERS, MacAddr, PortRecord, SLOTS, Slot};

use super::{Datapath, PortState, switch::Ready};
use crate::{
    chain::chain,
    compile::Image,
    fault,
    kernel::{KernelError, connections, plan::Plan, sys},
};

/// A change of one port.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Filter a port from now on, or filter it otherwise.
    Bind(Bind<'a>),
    /// Filter the port no more.
    Unbind(&'a str),
}

/// What to bind.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// Name of the device, in this network namespace.
    pub port: &'a str,
    /// Its tables; `None` lets nothing pass.
    pub image: Option<&'a Image>,
    /// Its addresses, at most [`SLOTS`].
    pub slots: &'a [Slot],
    /// Number of entries of the tables.
    pub entries: u32,
    /// What the entries are: the counter of one goes on where tables are replaced by others that
    /// have it, too. Without it, they begin at zero, unless the tables stay the same.
    pub identities: Option<&'a Arc<[u64]>>,
    /// What the VM's addresses are learned from.
    pub learn: Learn,
}

/// What a VM's addresses are learned from; by default nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Learn {
    /// Flags of [`PortRecord::LEARN`].
    pub flags: u32,
    /// The VM's hardware address.
    pub mac: MacAddr,
}

impl Datapath {
    /// Makes changes, all at the same instant: a frame of any port sees the state before or the
    /// state after them. On an error nothing has changed, except that some ports of a list of *new*
    /// ones may already be bound. That a port is not attached which was not before is no error of the
    /// change: see [`Datapath::is_attached`].
    ///
    /// # Errors
    ///
    /// A device that does not exist, a full table, or what the kernel refuses.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Result<(), KernelError> {
        let mut plan = Plan::new(
            self.ports.values(),
            self.images.values().copied(),
            self.counters.counting(),
        );
        let mut ready = Vec::new();
        for change in changes {
            if let Change::Bind(bind) = change {
                ready.push(self.prepare(bind, &mut plan)?);
            }
        }
        fault::point();
        let (known, new): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .partition(|ready| self.ports.contains_key(&ready.name));
        // They may fail, and then nothing else has changed.
        for ready in new {
            self.add(ready)?;
        }
        self.switch(&known)?;
        for Ready {
            name,
            state,
            identities,
        } in known
        {
            self.ports.insert(name.clone(), state);
            match identities {
                Some(identities) => _ = self.identities.insert(name.clone(), identities),
                None => _ = self.identities.remove(&name),
            }
            // It was not before either; see `is_attached`.
            if !self.attachments.contains_key(&name)
                && let Err(error) = self.attach(&name, state.ifindex)
            {
                tracing::error!("{name}: {}", chain(&error));
            }
        }
        for change in changes {
            if let Change::Unbind(port) = change {
                self.unbind(port)?;
            }
        }
        self.collect();
        Ok(())
    }

    /// Everything that a binding needs, still without effect.
    fn prepare(&mut self, bind: &Bind<'_>, plan: &mut Plan) -> Result<Ready, KernelError> {
        let Bind {
            port,
            image,
            slots,
            entries,
            identities,
            learn,
        } = *bind;
        let ifindex = sys::ifindex(port).ok_or_else(|| KernelError::NoDevice {
            port: port.to_owned(),
        })?;
        if slots.len() > SLOTS {
            return Err(KernelError::Full {
                what: "addresses of a port",
                limit: SLOTS,
            });
        }
        if self
            .ports
            .get(port)
            .is_some_and(|known| known.ifindex != ifindex)
        {
            // A new device of the same name.
            self.detach(port)?;
            self.forget(port)?;
        }
        let image_number = match image {
            Some(image) => self.install(image, plan)?,
            None => 0,
        };
        let known = self.ports.get(port).copied();
        let same = known.filter(|known| {
            known.record.entries == entries && known.record.image == image_number && image.is_some()
        });
        let counters = match same {
            Some(known) => known.record.counters,
            None => {
                let count = FAULT_COUNTERS + entries;
                let first = plan.counters(count)?;
                self.counters.clear(first, count);
                first
            }
        };
        let number = match known {
            Some(known) => known.number,
            None => plan.port(ifindex)?,
        };
        let limits = known.map(|known| known.record.limits);
        let mut record = PortRecord {
            ifindex,
            image: image_number,
            counters,
            entries,
            mac: learn.mac.to_u64(),
            flags: learn.flags & PortRecord::LEARN
                | if image.is_some() {
                    PortRecord::READY
                } else {
                    0
                },
            quota: self.options.quota,
            since: known.map_or_else(connections::now, |known| known.record.since),
            limits: match limits {
                Some(limits) if same.is_some() => limits,
                limits => connections::epoch(limits),
            },
            ..PortRecord::default()
        };
        record.slots[..slots.len()].copy_from_slice(slots);
        Ok(Ready {
            name: port.to_owned(),
            state: PortState {
                ifindex,
                number,
                record,
            },
            identities: identities.map(Arc::clone),
        })
    }

    /// The number of an image, which is installed if it is new.
    fn install(&mut self, image: &Image, plan: &mut Plan) -> Result<u32, KernelError> {
        if let Some(number) = plan.same_image(image) {
            return Ok(number);
        }
        let number = match self.images.get(image) {
            Some(number) => *number,
            None => {
                let number = plan.image()?;
                self.tables.set_image(number, image)?;
                self.images.insert(image.clone(), number);
                number
            }
        };
        plan.remember(image, number);
        Ok(number)
    }

    /// Forgets the images that no port uses; their numbers, and with them their memory, are used
    /// again by the next ones.
    fn collect(&mut self) {
        let used: BTreeSet<u32> = self
            .ports
            .values()
            .map(|state| state.record.image)
            .collect();
        self.images.retain(|_, number| used.contains(number));
    }
}
