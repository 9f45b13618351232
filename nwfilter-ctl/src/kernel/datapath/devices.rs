//! The programs on the ports' devices: attaching, taking off, putting back, and following devices to
//! other names.

use std::fs;

use super::{Datapath, pins::links_dir};
use crate::{
    fault,
    kernel::{
        KernelError,
        attach::{self, Attachment},
    },
};

impl Datapath {
    pub(super) fn attach(&mut self, port: &str, ifindex: u32) -> Result<(), KernelError> {
        let links = self.options.pins.as_deref().map(links_dir);
        let mode = self.options.attach;
        let attached = attach::attach(&mut self.ebpf, mode, links.as_deref(), port, ifindex)?;
        self.attachments.insert(port.to_owned(), attached);
        Ok(())
    }

    pub(super) fn detach(&mut self, port: &str) -> Result<(), KernelError> {
        for attachment in self.attachments.remove(port).into_iter().flatten() {
            attachment.detach()?;
            fault::point();
        }
        Ok(())
    }

    /// Puts the program back on the device of a port where somebody else has taken it off. Says in which
    /// directions that was needed.
    ///
    /// # Errors
    ///
    /// What the kernel refuses; the direction that it does not refuse is filtered again.
    pub fn repair(&mut self, port: &str) -> Result<Vec<&'static str>, KernelError> {
        let ifindex = self.known(port)?.ifindex;
        let links = self.options.pins.as_deref().map(links_dir);
        if let Some(links) = &links {
            // It may be gone with what was in it.
            fs::create_dir_all(links).map_err(|source| KernelError::File {
                action: "create",
                path: links.clone(),
                source,
            })?;
        }
        let Some(attached) = self.attachments.get_mut(port) else {
            self.attach(port, ifindex)?;
            return Ok(vec!["in", "out"]);
        };
        let mode = self.options.attach;
        attach::repair(
            &mut self.ebpf,
            mode,
            links.as_deref(),
            port,
            ifindex,
            attached,
        )
    }

    /// Whether the program is on the device that it was attached to, in both directions: it is not
    /// when that device is gone, even if another one has got its name and index. `None` for an
    /// unknown port, and where that cannot be told.
    pub fn is_attached(&self, port: &str) -> Option<bool> {
        let ifindex = self.ports.get(port)?.ifindex;
        let mut attached = true;
        let Some(attachments) = self.attachments.get(port) else {
            return Some(false);
        };
        for attachment in attachments {
            attached &= attachment.is_on(ifindex)?;
        }
        Some(attached)
    }

    /// How the programs are attached to a port.
    pub fn attached(&self, port: &str) -> Option<&'static str> {
        self.attachments.get(port)?.first().map(Attachment::as_str)
    }

    /// Follows devices that have got other names, also those of each other: what they have stays in
    /// force.
    ///
    /// # Errors
    ///
    /// When a pin cannot be renamed.
    pub fn rename(&mut self, renamed: &[(String, String)]) -> Result<(), KernelError> {
        let mut moving = Vec::new();
        for (old, new) in renamed {
            if let Some(state) = self.ports.remove(old) {
                let attached = self.attachments.remove(old);
                let identities = self.identities.remove(old);
                moving.push((new.clone(), state, attached, identities));
            }
        }
        if let Some(pins) = &self.options.pins {
            attach::settle(&links_dir(pins))?;
        }
        for (name, state, attached, identities) in moving {
            if let Some(identities) = identities {
                self.identities.insert(name.clone(), identities);
            }
            // What could not be attached before may be now.
            if let Some(mut attached) = attached {
                attach::follow(&mut attached, &name);
                self.attachments.insert(name.clone(), attached);
            }
            self.ports.insert(name, state);
        }
        Ok(())
    }
}
