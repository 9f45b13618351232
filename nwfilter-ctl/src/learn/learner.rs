//! What is known of the addresses of one VM, and how it changes: a table of leases, moved by what
//! its frames say and by time. Times are seconds of a clock that only goes forward.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
};

use super::{Kind, Kind6, Message, Message6, Mode, Modes, Observation, observation::is_usable};

/// Most addresses of a VM, for IPv4 and IPv6 each. One more takes the place of the oldest.
pub const MAX_ADDRESSES: usize = 8;
/// Requests that are remembered until they are answered.
pub(super) const MAX_PENDING: usize = 8;
/// A lease time that never ends.
const FOR_EVER: u32 = u32::MAX;

/// How an address came to be known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The VM used it.
    Traffic,
    /// The VM claimed it by neighbour discovery.
    Neighbour,
    /// A server gave it.
    Dhcp {
        /// Source address of its answer.
        server: IpAddr,
    },
}

/// An address of the VM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// How it came to be known.
    pub source: Source,
    /// When it is over; `None` for one that stays.
    pub expires: Option<u64>,
}

impl Lease {
    /// Whether it may be used at a time.
    pub fn is_valid(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// What something has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// There are other addresses, or the same in another order.
    pub addresses: bool,
    /// There are other leases: the addresses, where they come from, or how long they last.
    pub leases: bool,
}

/// What is known of a VM.
#[derive(Clone, Debug)]
pub struct Learner {
    modes: Modes,
    /// The oldest first; a renewed lease keeps its place.
    leases: Vec<Lease>,
    /// Transactions and the addresses that they ask for.
    pub(super) pending: VecDeque<(u32, Ipv4Addr)>,
}

impl Learner {
    /// Knows those of `leases` that are still valid, and could be learned in these ways.
    pub fn new(modes: Modes, leases: impl IntoIterator<Item = Lease>, now: u64) -> Self {
        let mut learner = Self {
            modes,
            leases: Vec::new(),
            pending: VecDeque::new(),
        };
        for lease in leases {
            if lease.is_valid(now) && is_usable(lease.address) && learner.could_learn(&lease) {
                learner.put(lease);
            }
        }
        learner
    }

    fn could_learn(&self, lease: &Lease) -> bool {
        let mode = if lease.address.is_ipv4() {
            self.modes.ipv4
        } else {
            self.modes.ipv6
        };
        match lease.source {
            Source::Traffic | Source::Neighbour => mode == Mode::Any,
            Source::Dhcp { server } => mode != Mode::None && self.modes.trusts(server),
        }
    }

    /// All leases, the oldest first.
    pub fn leases(&self) -> &[Lease] {
        &self.leases
    }

    /// Its addresses, the oldest first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.leases.iter().map(|lease| lease.address)
    }

    /// When the next lease is over.
    pub fn next_expiry(&self) -> Option<u64> {
        self.leases.iter().filter_map(|lease| lease.expires).min()
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: u64) -> Outcome {
        self.change(|learner| learner.leases.retain(|lease| lease.is_valid(now)))
    }

    /// Takes in what a frame says that passed at `now`.
    pub fn observe(&mut self, observation: &Observation, now: u64) -> Outcome {
        self.change(|learner| {
            learner.leases.retain(|lease| lease.is_valid(now));
            match observation {
                Observation::Used(address) => learner.used(*address),
                Observation::Claimed(address) => learner.claimed((*address).into()),
                Observation::Sent(message) => learner.sent(message),
                Observation::Answered { server, message } => {
                    learner.answered((*server).into(), message, now);
                }
                Observation::Sent6(message) => learner.sent6(message),
                Observation::Answered6 { server, message } => {
                    learner.answered6((*server).into(), message, now);
                }
            }
        })
    }

    fn change(&mut self, action: impl FnOnce(&mut Self)) -> Outcome {
        let before = self.leases.clone();
        action(self);
        Outcome {
            addresses: !self
                .addresses()
                .eq(before.iter().map(|lease| lease.address)),
            leases: self.leases != before,
        }
    }

    /// The first address that the VM uses is its own, as long as nothing better is known.
    fn used(&mut self, address: Ipv4Addr) {
        if self.modes.ipv4 == Mode::Any && !self.leases.iter().any(|lease| lease.address.is_ipv4())
        {
            self.put(Lease {
                address: address.into(),
                source: Source::Traffic,
                expires: None,
            });
        }
    }

    /// A VM has several IPv6 addresses; the first ones that it claims are its own.
    fn claimed(&mut self, address: IpAddr) {
        let known = self.leases.iter().filter(|lease| lease.address.is_ipv6());
        if self.modes.ipv6 == Mode::Any
            && self.position(address).is_none()
            && known.count() < MAX_ADDRESSES
        {
            self.put(Lease {
                address,
                source: Source::Neighbour,
                expires: None,
            });
        }
    }

    fn sent(&mut self, message: &Message) {
        match message.kind {
            Kind::Request => {
                let asked = message.requested.unwrap_or(message.client_address);
                self.pending
                    .retain(|(transaction, _)| *transaction != message.transaction);
                if self.pending.len() == MAX_PENDING {
                    self.pending.pop_front();
                }
                self.pending.push_back((message.transaction, asked));
            }
            // Clients say which one in `ciaddr`; libvirt looks for it in `yiaddr`.
            Kind::Release => self.remove_lease(message.client_address.into()),
            Kind::Decline => {
                if let Some(address) = message.requested {
                    self.remove_lease(address.into());
                }
            }
            Kind::Ack | Kind::Nak | Kind::Other => {}
        }
    }

    fn answered(&mut self, server: IpAddr, message: &Message, now: u64) {
        if self.modes.ipv4 == Mode::None || !self.modes.trusts(server) {
            return;
        }
        match message.kind {
            Kind::Ack => {
                self.take_pending(message.transaction);
                let address = IpAddr::from(message.your_address);
                // Without a time it gives no lease: an answer to a question about other things.
                if let Some(time) = message.lease_time
                    && is_usable(address)
                {
                    // What the VM was seen to use was a guess.
                    self.leases.retain(|lease| {
                        lease.source != Source::Traffic || lease.address == address
                    });
                    self.lease(address, server, time, now);
                }
            }
            Kind::Nak => {
                if let Some(asked) = self.take_pending(message.transaction) {
                    self.remove_lease(asked.into());
                }
            }
            _ => {}
        }
    }

    fn take_pending(&mut self, transaction: u32) -> Option<Ipv4Addr> {
        let at = self
            .pending
            .iter()
            .position(|(known, _)| *known == transaction)?;
        Some(self.pending.remove(at)?.1)
    }

    fn sent6(&mut self, message: &Message6) {
        if matches!(message.kind, Kind6::Release | Kind6::Decline) {
            for offered in &message.addresses {
                self.remove_lease(offered.address.into());
            }
        }
    }

    fn answered6(&mut self, server: IpAddr, message: &Message6, now: u64) {
        if self.modes.ipv6 == Mode::None
            || !self.modes.trusts(server)
            || message.kind != Kind6::Reply
        {
            return;
        }
        for offered in &message.addresses {
            let address = IpAddr::from(offered.address);
            if is_usable(address) {
                self.lease(address, server, offered.valid, now);
            }
        }
    }

    /// A server gives an address for some time, or takes it away.
    fn lease(&mut self, address: IpAddr, server: IpAddr, time: u32, now: u64) {
        if time == 0 {
            self.remove_lease(address);
            return;
        }
        self.put(Lease {
            address,
            source: Source::Dhcp { server },
            expires: (time != FOR_EVER).then(|| now.saturating_add(time.into())),
        });
    }

    /// Forgets an address that a server gave.
    fn remove_lease(&mut self, address: IpAddr) {
        self.leases.retain(|lease| {
            lease.address != address || !matches!(lease.source, Source::Dhcp { .. })
        });
    }

    fn position(&self, address: IpAddr) -> Option<usize> {
        self.leases
            .iter()
            .position(|lease| lease.address == address)
    }

    fn put(&mut self, lease: Lease) {
        if let Some(at) = self.position(lease.address) {
            self.leases[at] = lease;
            return;
        }
        let same_family = |known: &Lease| known.address.is_ipv4() == lease.address.is_ipv4();
        if self
            .leases
            .iter()
            .filter(|known| same_family(known))
            .count()
            >= MAX_ADDRESSES
            && let Some(oldest) = self.leases.iter().position(same_family)
        {
            self.leases.remove(oldest);
        }
        self.leases.push(lease);
    }
}
