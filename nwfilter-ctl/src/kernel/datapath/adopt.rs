//! Taking over what an earlier process has left in the kernel, in force; and in the end removing what
//! of it is no longer wanted.

use nwfilter_common::{MAX_PORTS, PortRecord};

use super::{
    Datapath, PortState,
    pins::{links_dir, remove_other_versions},
};
use crate::{
    chain::chain,
    compile::Image,
    fault,
    kernel::{KernelError, attach, sys},
};

impl Datapath {
    /// Takes over the ports that the maps know. What cannot be attached is left for the next change of
    /// its port; see [`Datapath::is_attached`].
    pub(super) fn adopt(&mut self) -> Result<(), KernelError> {
        if let Some(pins) = &self.options.pins {
            attach::settle(&links_dir(pins))?;
        }
        // Spare records may be half written; no program may still read them.
        sys::wait_for_programs()?;
        for number in 0..MAX_PORTS as u32 {
            let record = self.tables.record(number, self.generation)?;
            let spare = self.tables.record(number, self.generation + 1)?;
            if record.ifindex == 0 {
                if spare != record {
                    self.clear_records(number)?;
                }
                continue;
            }
            let state = PortState {
                ifindex: record.ifindex,
                number,
                record,
            };
            let Some(name) = sys::ifname(record.ifindex) else {
                // The device is gone.
                self.remove_records(&state)?;
                continue;
            };
            // As if it had just been written: we may have been stopped in between.
            if spare != record {
                self.tables
                    .set_record(number, self.generation + 1, &record)?;
            }
            self.tables.index(record.ifindex, number)?;
            if record.flags & PortRecord::READY != 0
                && !self.images.values().any(|known| *known == record.image)
                && let Some(words) = self.tables.image(record.image)?
            {
                self.images.insert(Image::from_words(words), record.image);
            }
            if let Err(error) = self.attach(&name, record.ifindex) {
                tracing::error!("{name}: {}", chain(&error));
            }
            self.ports.insert(name, state);
        }
        fault::point();
        Ok(())
    }

    /// Removes what an earlier version or an earlier name has left: to be called when all that
    /// should be in force is, because until then it may be all that filters a port.
    ///
    /// # Errors
    ///
    /// When a pin cannot be read or removed.
    pub fn remove_strangers(&self) -> Result<(), KernelError> {
        let Some(pins) = &self.options.pins else {
            return Ok(());
        };
        let attached = self.attachments.values().flatten();
        attach::remove_strangers(&links_dir(pins), self.ports.keys(), attached)?;
        remove_other_versions(pins)
    }
}
