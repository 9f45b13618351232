//! The addresses of VMs while the daemon runs: what frames say goes to the learner of their port,
//! and what that knows to disk and into force.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use nix::time::{ClockId, clock_gettime};
use nwfilter_common::LearnEvent;
use tracing::{debug, error, info, warn};

use super::{
    api::{AddressInfo, AddressSource},
    control::{Bound, Control},
    leases::Key,
};
use crate::{
    fault,
    learn::{Learner, Lease, Modes, Source, observe},
    model::Binding,
};

/// Longest sleep: the clock goes on while the machine sleeps, and timers do not.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Seconds since the host was booted.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec());
    u64::try_from(time).unwrap_or(0)
}

impl Control {
    /// What is known of the VM of a new binding: the leases that it has, and, if the port stays with
    /// its VM, everything.
    pub(super) fn learner(&self, binding: &Binding) -> Option<Learner> {
        let modes = Modes::of(&binding.parameters).ok()?;
        let key = Key::of(binding);
        let before = self.bindings.get(&binding.port);
        let same_vm = before
            .and_then(|bound| bound.binding.as_ref().ok())
            .is_some_and(|before| Key::of(before) == key);
        let leases = match before.and_then(|bound| bound.learner.as_ref()) {
            Some(learner) if same_vm => learner.leases(),
            _ => self.leases.get(key),
        };
        // What another port's VM was seen to use may be outdated.
        let kept = |lease: &&Lease| same_vm || matches!(lease.source, Source::Dhcp { .. });
        Some(Learner::new(
            modes,
            leases.iter().filter(kept).copied(),
            now(),
        ))
    }

    /// At the start, everything that was known is known again.
    pub(super) fn remember(&mut self) {
        for bound in self.bindings.values_mut() {
            if let Ok(binding) = &bound.binding
                && let Ok(modes) = Modes::of(&binding.parameters)
            {
                let leases = self.leases.get(Key::of(binding)).iter().copied();
                bound.learner = Some(Learner::new(modes, leases, now()));
            }
        }
        self.leases.tidy(now());
    }

    /// What was learned from traffic counts as long as the VM is bound; leases count longer.
    pub(super) fn forget(&mut self, before: &Bound) {
        let key = |bound: &Bound| bound.binding.as_ref().ok().map(Key::of);
        let (Some(gone), Some(learner)) = (key(before), &before.learner) else {
            return;
        };
        if self.bindings.values().any(|bound| key(bound) == Some(gone)) {
            return;
        }
        let leases = learner.leases().iter().copied();
        let leases: Vec<Lease> = leases
            .filter(|lease| matches!(lease.source, Source::Dhcp { .. }))
            .collect();
        self.save_leases(gone, &leases);
    }

    /// Takes in frames.
    pub(super) fn learn(&mut self, events: &[LearnEvent]) {
        let mut changed = Changed::default();
        for event in events {
            let known =
                self.datapath.ports().iter().find(|(_, state)| {
                    state.number == event.port && state.ifindex == event.ifindex
                });
            let Some((port, _)) = known else { continue };
            let Some(bound) = self.bindings.get_mut(port) else {
                continue;
            };
            let (Ok(binding), Some(learner)) = (&bound.binding, &mut bound.learner) else {
                continue;
            };
            let Some(direction) = event.direction() else {
                continue;
            };
            let Some(observation) = observe(event.frame(), direction, binding.mac) else {
                continue;
            };
            debug!("{port}: {observation:?}");
            let time = Duration::from_nanos(event.time).as_secs();
            let outcome = learner.observe(&observation, time);
            changed.add(port, outcome);
        }
        self.learned(changed);
    }

    /// Forgets leases that are over.
    pub(super) fn expire_leases(&mut self) {
        let now = now();
        let mut changed = Changed::default();
        for (port, bound) in &mut self.bindings {
            if let Some(learner) = &mut bound.learner {
                changed.add(port, learner.expire(now));
            }
        }
        self.learned(changed);
    }

    /// How long until a lease is over; `None` if none ever is.
    pub(super) fn until_expiry(&self) -> Option<Duration> {
        let learners = self
            .bindings
            .values()
            .filter_map(|bound| bound.learner.as_ref());
        let next = learners.filter_map(Learner::next_expiry).min()?;
        Some(Duration::from_secs(next.saturating_sub(now())).min(LONGEST_SLEEP))
    }

    /// Saves what has changed, and puts it into force.
    fn learned(&mut self, changed: Changed) {
        if changed.addresses.is_empty() && changed.leases.is_empty() {
            return;
        }
        fault::begin("learn");
        for port in &changed.leases {
            let Some(bound) = self.bindings.get(port) else {
                continue;
            };
            if let (Ok(binding), Some(learner)) = (&bound.binding, &bound.learner) {
                let (key, leases) = (Key::of(binding), learner.leases().to_vec());
                self.save_leases(key, &leases);
            }
        }
        let ports: Vec<String> = changed.addresses.into_iter().collect();
        for port in &ports {
            let Some(bound) = self.bindings.get_mut(port) else {
                continue;
            };
            bound.prepare(&self.filters, &mut self.shapes);
            let addresses = bound.learner.iter().flat_map(Learner::addresses);
            let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
            info!("{port}: addresses [{}]", addresses.join(", "));
            if let Some(problem) = &bound.problem {
                // Rather nothing than addresses that are not the VM's any more.
                error!("{port}: {problem}; nothing passes");
                bound.prepared = None;
            }
        }
        if !ports.is_empty() {
            self.enforce(&ports);
            self.shapes.collect();
        }
        fault::point();
    }

    fn save_leases(&mut self, key: Key, leases: &[Lease]) {
        // The VM needs its address now; the file only matters after the next start.
        if let Err(error) = self.leases.save(key, leases) {
            warn!("leases cannot be saved: {error}");
        }
    }
}

/// Ports of which something has changed.
#[derive(Default)]
struct Changed {
    addresses: BTreeSet<String>,
    leases: BTreeSet<String>,
}

impl Changed {
    fn add(&mut self, port: &str, outcome: crate::learn::Outcome) {
        if outcome.addresses {
            self.addresses.insert(port.to_owned());
        }
        if outcome.leases {
            self.leases.insert(port.to_owned());
        }
    }
}

impl Bound {
    /// Addresses that are known.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let addresses = self.learner.iter().flat_map(Learner::addresses);
        addresses.collect()
    }

    /// Addresses that were learned, and count.
    pub(super) fn learned(&self) -> Vec<AddressInfo> {
        let learns = self
            .prepared
            .as_ref()
            .is_some_and(|prepared| prepared.learn.flags != 0);
        let Some(learner) = self.learner.as_ref().filter(|_| learns) else {
            return Vec::new();
        };
        let now = now();
        let leases = learner.leases().iter();
        leases
            .map(|lease| {
                let (source, server) = match lease.source {
                    Source::Traffic => (AddressSource::Traffic, None),
                    Source::Neighbour => (AddressSource::Neighbour, None),
                    Source::Dhcp { server } => (AddressSource::Dhcp, Some(server)),
                };
                AddressInfo {
                    address: lease.address.to_string(),
                    source,
                    server: server.map(|server| server.to_string()),
                    expires: lease.expires.map(|expires| expires.saturating_sub(now)),
                }
            })
            .collect()
    }
}
