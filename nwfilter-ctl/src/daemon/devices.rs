//! Devices that appear, vanish, get another name, or lose what is attached to them: bindings go by
//! names, filters by devices.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use super::{control::Control, error::chain, links::LinkChanges};
use crate::kernel::{self, Change, PortState};

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
        if affected.is_empty() && !changes.of_devices() {
            return;
        }
        let mut renamed = Vec::new();
        let mut stripped = Vec::new();
        for (port, ifindex) in affected {
            let attached = self.datapath.is_attached(&port);
            // What was gone may be another one with the same index and name. What has only been away, in
            // another namespace, still has its filter, and is down.
            let is_same =
                !changes.gone.contains(&ifindex) && (attached != Some(false) || !changes.overrun);
            let name = kernel::ifname(ifindex);
            if is_same && name.as_ref() == Some(&port) {
                if attached == Some(false) {
                    stripped.push(port);
                }
                continue;
            }
            if let Some(name) = name.filter(|_| is_same) {
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
        self.repair(&stripped);
    }

    /// Looks at all devices before these are bound if one of them has got the name or the index of another
    /// since the last announcement that was read.
    pub(super) fn catch_up<'a>(&mut self, ports: impl IntoIterator<Item = &'a str>) {
        let now: BTreeMap<u32, &str> = ports
            .into_iter()
            .filter_map(|port| Some((kernel::ifindex(port)?, port)))
            .collect();
        let is_other = |(port, state): (&String, &PortState)| {
            now.get(&state.ifindex).is_some_and(|name| name != port)
        };
        if self.datapath.ports().iter().any(is_other) {
            self.links_changed(&LinkChanges {
                overrun: true,
                ..LinkChanges::default()
            });
        }
    }

    /// Looks whether everything is still attached: not everything that another program does is
    /// announced.
    pub(super) fn check_attached(&mut self) {
        let ports = self.datapath.ports().iter();
        let stripped: Vec<String> = ports
            .filter(|(port, state)| {
                self.datapath.is_attached(port) == Some(false)
                    // Else there will be an announcement.
                    && kernel::ifindex(port) == Some(state.ifindex)
            })
            .map(|(port, _)| port.clone())
            .collect();
        self.repair(&stripped);
    }

    /// Puts filters back that another program has taken off their devices.
    fn repair(&mut self, ports: &[String]) {
        for port in ports {
            let repaired = self.datapath.repair(port);
            let problem = match repaired {
                Ok(directions) if directions.is_empty() => None,
                Ok(directions) => {
                    let directions = directions.join(", ");
                    warn!("{port}: another program took the filter off ({directions}); it is back");
                    None
                }
                Err(error) => {
                    let ifindex = self.datapath.ports().get(port).map(|state| state.ifindex);
                    if kernel::ifindex(port) != ifindex {
                        // The device is going.
                        continue;
                    }
                    Some(format!(
                        "another program took the filter off, and it cannot be put back: {}",
                        chain(&error)
                    ))
                }
            };
            let Some(bound) = self.bindings.get_mut(port) else {
                continue;
            };
            if let Some(problem) = &problem
                && bound.stripped.as_ref() != Some(problem)
            {
                error!("{port}: {problem}");
            }
            bound.stripped = problem;
        }
    }
}
