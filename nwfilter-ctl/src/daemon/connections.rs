//! Calls about the connections of a port. What a connection is, and whether it counts, is the
//! engine's business; here it is put into words.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use nwfilter_common::{Entry, Key, PortRecord, TcpState, TrackingCounter, ip_protocol};

use super::{
    api::{ApiError, ConnectionInfo, ConnectionList, End, ErrorKind, TrackingInfo},
    control::Control,
    error::chain,
};
use crate::kernel::{Connection, KernelError};

impl Control {
    /// The connections of a port, the one that expires last first.
    pub(super) fn connections(&self, port: &str) -> Result<ConnectionList, ApiError> {
        self.find_binding(port)?;
        let Some(state) = self.datapath.ports().get(port) else {
            return Ok(ConnectionList::default());
        };
        let now = self.datapath.now();
        let mut connections: Vec<Connection> = self
            .datapath
            .connections(port)
            .map_err(|error| kernel(&error))?;
        connections.retain(|found| found.entry.is_alive(now, state.record.since));
        connections.sort_by_key(|found| std::cmp::Reverse(found.entry.expires));
        Ok(ConnectionList {
            tracking: Some(self.tracking(port, &state.record)?),
            connections: connections.iter().map(|found| info(found, now)).collect(),
        })
    }

    /// Forgets the connections of a port.
    pub(super) fn flush(&mut self, port: &str) -> Result<(), ApiError> {
        self.find_binding(port)?;
        if self.datapath.ports().contains_key(port) {
            self.datapath.flush(port).map_err(|error| kernel(&error))?;
        }
        Ok(())
    }

    fn tracking(&self, port: &str, record: &PortRecord) -> Result<TrackingInfo, ApiError> {
        let counters = self
            .datapath
            .tracking(port)
            .map_err(|error| kernel(&error))?;
        let answers = self
            .datapath
            .answers(port)
            .map_err(|error| kernel(&error))?;
        let counter = |which: TrackingCounter| counters[which as usize];
        Ok(TrackingInfo {
            quota: record.quota(),
            entries: counter(TrackingCounter::Entries),
            created: counter(TrackingCounter::Created),
            over_quota: counter(TrackingCounter::OverQuota),
            table_full: counter(TrackingCounter::TableFull),
            invalid: counter(TrackingCounter::Invalid),
            expired: counter(TrackingCounter::Expired),
            evicted: counter(TrackingCounter::Evicted),
            answers: answers.sent,
            answers_suppressed: answers.suppressed,
        })
    }
}

fn kernel(error: &KernelError) -> ApiError {
    ApiError::new(ErrorKind::Kernel, chain(error))
}

fn info(connection: &Connection, now: u64) -> ConnectionInfo {
    let Connection { key, entry } = connection;
    let original = entry.original();
    ConnectionInfo {
        protocol: protocol(key.protocol),
        direction: if entry.state & Entry::OUT == 0 {
            "in"
        } else {
            "out"
        }
        .to_owned(),
        source: end(key, original),
        destination: end(key, 1 - original),
        state: state(entry).to_owned(),
        expires: Duration::from_nanos(entry.expires.saturating_sub(now)).as_secs(),
    }
}

fn end(key: &Key, which: usize) -> End {
    let [high, low] = key.addresses[which];
    let has_ports = matches!(
        key.protocol,
        ip_protocol::TCP
            | ip_protocol::UDP
            | ip_protocol::UDPLITE
            | ip_protocol::SCTP
            | ip_protocol::DCCP
    );
    End {
        address: if key.family == 4 {
            Ipv4Addr::from(low as u32).to_string()
        } else {
            Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).to_string()
        },
        port: has_ports.then_some(key.ports[which]),
    }
}

fn protocol(number: u8) -> String {
    match number {
        ip_protocol::ICMP => "icmp".into(),
        ip_protocol::TCP => "tcp".into(),
        ip_protocol::UDP => "udp".into(),
        ip_protocol::DCCP => "dccp".into(),
        ip_protocol::ICMPV6 => "icmpv6".into(),
        ip_protocol::SCTP => "sctp".into(),
        ip_protocol::UDPLITE => "udplite".into(),
        other => other.to_string(),
    }
}

/// The state of TCP, and of others whether they were answered.
const fn state(entry: &Entry) -> &'static str {
    match entry.tcp() {
        TcpState::None if entry.is_replied() => "answered",
        TcpState::None => "unanswered",
        TcpState::SynSent => "syn-sent",
        TcpState::SynReceived => "syn-received",
        TcpState::Established => "established",
        TcpState::FinWait => "fin-wait",
        TcpState::CloseWait => "close-wait",
        TcpState::LastAck => "last-ack",
        TcpState::TimeWait => "time-wait",
        TcpState::Close => "close",
        TcpState::SynSent2 => "syn-sent-2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_that_began_is_the_source() {
        let key = Key {
            addresses: [[0, 0x0a00_0001], [0, 0x0a00_0002]],
            ports: [80, 40_000],
            port: 3,
            protocol: ip_protocol::TCP,
            family: 4,
        };
        let entry = Entry {
            expires: 5_000_000_000,
            state: Entry::SECOND | Entry::OUT | Entry::REPLIED | TcpState::Established as u32,
            ..Entry::default()
        };
        let info = info(&Connection { key, entry }, 2_000_000_000);
        assert_eq!(
            (info.source.address.as_str(), info.source.port),
            ("10.0.0.2", Some(40_000))
        );
        assert_eq!(
            (info.destination.address.as_str(), info.destination.port),
            ("10.0.0.1", Some(80))
        );
        assert_eq!((&*info.protocol, &*info.direction), ("tcp", "out"));
        assert_eq!((&*info.state, info.expires), ("established", 3));
    }

    #[test]
    fn what_looks_like_ports_is_none_with_icmp() {
        let key = Key {
            addresses: [[0x2001_0db8 << 32, 1], [0x2001_0db8 << 32, 2]],
            ports: [7, 0x8000],
            protocol: ip_protocol::ICMPV6,
            family: 6,
            ..Key::default()
        };
        let info = info(
            &Connection {
                key,
                entry: Entry::default(),
            },
            0,
        );
        assert_eq!(
            (info.source.address.as_str(), info.source.port),
            ("2001:db8::1", None)
        );
        assert_eq!((&*info.protocol, &*info.state), ("icmpv6", "unanswered"));
    }
}
