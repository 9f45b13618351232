//! Drops on their way to those who want to see them. A slow caller loses events and is told how
//! many; nobody waits.

use std::fmt::Write;

use nwfilter_common::{DropEvent, Fault, FrameDirection};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{api::Dropped, control::Control, server::MONITOR_BACKLOG};
use crate::kernel;

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    /// Devices; all if empty.
    ports: Vec<String>,
    lines: mpsc::Sender<String>,
    lost: u64,
}

impl Monitors {
    /// One more.
    pub(super) fn add(&mut self, ports: Vec<String>) -> mpsc::Receiver<String> {
        let (lines, receiver) = mpsc::channel(MONITOR_BACKLOG);
        self.callers.push(Caller {
            ports,
            lines,
            lost: 0,
        });
        receiver
    }

    /// Whether anybody still watches.
    pub(super) fn any(&mut self) -> bool {
        self.callers.retain(|caller| !caller.lines.is_closed());
        !self.callers.is_empty()
    }

    /// Tells all whom it concerns.
    pub(super) fn publish(&mut self, dropped: &Dropped) {
        for caller in &mut self.callers {
            if !caller.ports.is_empty() && !caller.ports.contains(&dropped.port) {
                continue;
            }
            let mut dropped = dropped.clone();
            dropped.lost = caller.lost;
            let line = serde_json::to_string(&dropped).unwrap_or_default();
            match caller.lines.try_send(line) {
                Ok(()) => caller.lost = 0,
                Err(TrySendError::Full(_)) => caller.lost += 1,
                // Found out later.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}

impl Control {
    /// A drop event with names.
    pub(super) fn dropped(&self, event: &DropEvent) -> Dropped {
        let ports = self.datapath.ports();
        let known = ports
            .iter()
            .find(|(_, state)| state.number == event.port && state.ifindex == event.ifindex);
        let rule = match Fault::ALL.get(event.fault as usize) {
            Some(Fault::None) => known
                .filter(|(_, state)| state.record.image == event.image)
                .and_then(|(port, _)| self.bindings.get(port)?.prepared.as_ref())
                .and_then(|prepared| prepared.shape.entries.get(event.entry as usize))
                .map_or_else(|| "a rule of an earlier filter".into(), ToString::to_string),
            Some(fault) => fault.as_str().to_owned(),
            None => format!("fault {}", event.fault),
        };
        let port = known.map(|(port, _)| port.clone());
        let snapshot = &event.snapshot[..event.snapshot.len().min(event.captured.into())];
        Dropped {
            port: port
                .or_else(|| kernel::ifname(event.ifindex))
                .unwrap_or_default(),
            direction: match event.direction() {
                Some(FrameDirection::In) => "in",
                Some(FrameDirection::Out) => "out",
                None => "unknown",
            }
            .to_owned(),
            rule,
            length: event.length,
            frame: hexadecimal(snapshot),
            lost: 0,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(port: &str) -> Dropped {
        Dropped {
            port: port.into(),
            direction: "out".into(),
            rule: String::new(),
            length: 60,
            frame: String::new(),
            lost: 0,
        }
    }

    #[test]
    fn callers_get_what_they_asked_for_and_learn_what_they_missed() {
        let mut monitors = Monitors::default();
        let mut all = monitors.add(Vec::new());
        let mut one = monitors.add(vec!["vm1".into()]);
        for _ in 0..MONITOR_BACKLOG + 5 {
            monitors.publish(&dropped("vm2"));
        }
        monitors.publish(&dropped("vm1"));
        assert!(one.try_recv().unwrap().contains("vm1"));
        assert!(one.try_recv().is_err());
        all.try_recv().unwrap();
        monitors.publish(&dropped("vm3"));
        let mut last = String::new();
        while let Ok(line) = all.try_recv() {
            last = line;
        }
        let last: Dropped = serde_json::from_str(&last).unwrap();
        assert_eq!((last.port.as_str(), last.lost), ("vm3", 6));
        assert!(monitors.any());
        drop((all, one));
        assert!(!monitors.any());
    }
}
