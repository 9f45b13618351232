//! Devices that appear, vanish, or get another name: bindings go by names, filters by devices.

use tracing::{error, info};

use super::{control::Control, error::chain, links::LinkChanges};
use crate::kernel::{self, Change};

impl Control {
    /// Makes what is enforced fit the devices that there are now.
    pub(super) fn links_changed(&mut self, changes: &LinkChanges) {
        let ports = self.datapath.ports().iter();
        let ports = ports.map(|(port, state)| (port.clone(), state.ifindex));
        let mut affected: Vec<(String, u32)> = ports.collect();
        let is_renamed = |(port, ifindex): &(String, u32)| {
            changes.concern(*ifindex) && kernel::ifname(*ifindex).is_some_and(|name| name != *port)
        };
        if !affected.iter().any(is_renamed) {
            // Else its new name may be the old one of another, which was renamed before.
            affected.retain(|(_, ifindex)| changes.concern(*ifindex));
        }
        let mut renamed = Vec::new();
        for (port, ifindex) in affected {
            let attached = match self.datapath.is_attached(&port) {
                Some(attached) => attached,
                None => !changes.gone.contains(&ifindex),
            };
            let name = kernel::ifname(ifindex);
            if attached && name.as_ref() == Some(&port) {
                continue;
            }
            if let Some(name) = name.filter(|_| attached) {
                // It keeps its filter until it gets that of its new name, if there is one.
                info!("{port} is now called {name}");
                renamed.push((port, name));
                continue;
            }
            info!("{port}: the device is gone");
            if let Err(error) = self.datapath.apply(&[Change::Unbind(&port)]) {
                error!("{port}: {}", chain(&error));
            }
        }
        if let Err(error) = self.datapath.rename(&renamed) {
            error!(
                "cannot follow devices to their new names: {}",
                chain(&error)
            );
        }
        let mut again: Vec<String> = renamed.into_iter().map(|(_, name)| name).collect();
        let appeared = self.bindings.keys().filter(|port| {
            kernel::ifindex(port).is_some_and(|ifindex| {
                let enforced = self.datapath.ports().get(*port);
                enforced.is_none_or(|state| state.ifindex != ifindex)
            })
        });
        again.extend(appeared.cloned());
        if !again.is_empty() {
            info!("devices for bindings: {}", again.join(", "));
            self.enforce(&again);
        }
        self.release_unwanted();
    }
}
