//! Two kernels' stacks on one network: a VM behind a bound port, and a server that no filter touches.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket},
};
use nwfilter_common::{Counter, FAULT_COUNTERS, MacAddr};
use nwfilter_ctl::{
    compile::Entry,
    kernel::{Change, Datapath, Options},
    model::Action,
    prepare::Prepared,
};
use nwfilter_tests::{
    bind::prepared_given,
    net::{Lan, NetNs, PATIENCE, Vm, in_order},
};

/// The VM's port.
pub(crate) const PORT: &str = "vm1";
/// The VM's address.
pub(crate) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// The server's.
pub(crate) const SERVER_MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

/// A version of IP, for what is the same in both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    V4,
    V6,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The VM's address.
    pub(crate) fn vm(self) -> IpAddr {
        self.host(1)
    }

    /// The server's.
    pub(crate) fn server(self) -> IpAddr {
        self.host(2)
    }

    /// Length of the network's prefix.
    fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    fn host(self, number: u16) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 0, 0, number as u8).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into(),
        }
    }
}

/// The VM asks whom it wants; nobody asks the VM. From no address but its own, except that a kernel
/// that has no link-local address reports its multicast groups from none.
pub(crate) const CLIENT: &str = "<filter name='client'>
  <rule action='accept' direction='out' priority='-900'>
    <ipv6 dstipaddr='ff02::' dstipmask='16'/>
  </rule>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ip-spoofing'/>
  <filterref filter='no-ipv6-spoofing'/>
  <filterref filter='no-arp-spoofing'/>
  <rule action='accept' direction='inout' priority='400' statematch='false'><icmpv6/></rule>
  <rule action='accept' direction='out' priority='500'><tcp/></rule>
  <rule action='accept' direction='out' priority='500'><tcp-ipv6/></rule>
  <rule action='accept' direction='out' priority='500'><udp/></rule>
  <rule action='accept' direction='out' priority='500'><udp-ipv6/></rule>
  <rule action='drop' direction='inout' priority='1000'><all/></rule>
  <rule action='drop' direction='inout' priority='1000'><all-ipv6/></rule>
</filter>";

/// A filter on the VM's port.
pub(crate) struct Bound {
    datapath: Datapath,
    filter: Prepared,
}

impl Bound {
    /// On the port in a host.
    pub(crate) fn new(host: &NetNs, filter: &str) -> Self {
        let parameters = Version::BOTH.map(|version| version.vm().to_string());
        let [ip, ipv6] = &parameters;
        let filter = prepared_given(PORT, MAC, filter, &[("IP", ip), ("IPV6", ipv6)]).unwrap();
        let mut datapath = host.run(|| Datapath::open(Options::default())).unwrap();
        host.run(|| datapath.apply(&[Change::Bind(filter.bind(PORT))]))
            .unwrap();
        Self { datapath, filter }
    }

    /// Everything the port has counted.
    pub(crate) fn counters(&self) -> Vec<Counter> {
        self.datapath.counters(PORT).unwrap()
    }

    /// What drops frames and has dropped some, and how many.
    pub(crate) fn drops(&self) -> Vec<(String, u64)> {
        let counters = self.counters();
        let (faults, entries) = counters.split_at(FAULT_COUNTERS as usize);
        let faults = faults
            .iter()
            .enumerate()
            .map(|(number, counter)| (format!("fault {number}"), counter));
        let entries = self.filter.compiled.entries.iter().zip(entries);
        faults
            .chain(
                entries
                    .filter(|(entry, _)| self.is_drop(entry))
                    .map(|(entry, counter)| (entry.to_string(), counter)),
            )
            .filter(|(_, counter)| counter.packets > 0)
            .map(|(name, counter)| (name, counter.packets))
            .collect()
    }

    fn is_drop(&self, entry: &Entry) -> bool {
        let rules = &self.filter.resolved.instances;
        match entry {
            Entry::EndOfLayer(_) | Entry::EndOfChain(_) => false,
            Entry::Missing(_) => true,
            Entry::Rule(origin) => rules
                .iter()
                .filter(|rule| rule.origin == *origin)
                .any(|rule| matches!(rule.action, Action::Drop | Action::Reject)),
        }
    }

    /// How many frames were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.drops().iter().map(|(_, packets)| packets).sum()
    }

    /// Removes the filter.
    pub(crate) fn unbind(&mut self, host: &NetNs) {
        host.run(|| self.datapath.apply(&[Change::Unbind(PORT)]))
            .unwrap();
    }
}

/// A host with a VM and a server.
pub(crate) struct Stacks {
    pub(crate) lan: Lan,
    pub(crate) vm: Vm,
    pub(crate) server: Vm,
    pub(crate) bound: Bound,
}

impl Stacks {
    /// With a filter on the VM's port, for these versions and no others.
    pub(crate) fn new(filter: &str, versions: &[Version]) -> Self {
        let lan = Lan::new().unwrap();
        let vm = lan.vm(PORT, MAC).unwrap();
        let server = lan.vm("vm2", SERVER_MAC).unwrap();
        for (vm, number) in [(&vm, 1), (&server, 2)] {
            // Nobody else is to see all that.
            lan.host.bridge_entry(&vm.port, vm.mac).unwrap();
            let inside = vm.inside.as_ref().unwrap();
            for version in versions {
                let address = format!("{}/{}", version.host(number), version.prefix());
                inside.address("eth0", &address).unwrap();
            }
        }
        let bound = Bound::new(&lan.host, filter);
        Self {
            lan,
            vm,
            server,
            bound,
        }
    }

    /// The VM's stack.
    pub(crate) fn inside(&self) -> &NetNs {
        self.vm.inside.as_ref().unwrap()
    }

    /// The server's.
    pub(crate) fn outside(&self) -> &NetNs {
        self.server.inside.as_ref().unwrap()
    }
}

/// A UDP socket of a namespace; what it waits for comes, or the test fails.
pub(crate) fn udp(namespace: &NetNs, address: IpAddr, port: u16) -> UdpSocket {
    let socket = namespace
        .run(|| UdpSocket::bind(SocketAddr::new(address, port)))
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Whether nothing has come.
pub(crate) fn is_silent(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let received = socket.recv(&mut [0; 1]);
    received.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// A TCP socket of a namespace that listens.
pub(crate) fn listen(namespace: &NetNs, address: IpAddr, port: u16) -> TcpListener {
    namespace
        .run(|| TcpListener::bind(SocketAddr::new(address, port)))
        .unwrap()
}

/// How many SYNs go to somebody who does not answer: one, and again after 1, 3, 7, ... seconds.
pub(crate) fn syns(since: Instant) -> RangeInclusive<u64> {
    1..=1 + since.elapsed().as_secs()
}

/// Whether a connection to a VM is there as soon as it could be. Its neighbour knows the VM already.
pub(crate) fn connects(lan: &Lan, from: &NetNs, target: SocketAddr) -> bool {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let address = SockaddrStorage::from(target);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = in_order(|| {
        let client = from.run(|| {
            let client = socket(family, SockType::Stream, flags, None)?;
            match connect(client.as_raw_fd(), &address) {
                Ok(()) | Err(Errno::EINPROGRESS) => Ok(client),
                Err(error) => Err(error),
            }
        })?;
        // SYN, what answers it, and the answer to that, each over two wires.
        lan.settle(6)?;
        Ok(client)
    });
    let client = client.unwrap();
    let mut events = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
    poll(&mut events, PollTimeout::ZERO).unwrap() > 0
}
