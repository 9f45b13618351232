//! The program in the kernel as one of the judges, through `BPF_PROG_TEST_RUN`. Who decided is read
//! from the counters that moved.

use anyhow::{Context as _, Result, bail};
use nwfilter_common::{Counter, FAULT_COUNTERS, FrameDirection as Direction, TableLayer};
use nwfilter_ctl::{
    compile::{Compiled, Entry},
    kernel::{Bind, Change, Datapath},
    model::{Action, Layer},
    resolve::Instance,
};

use super::Decider;
use crate::judge::{Cause, Decision, FrameDirection, Verdict};

/// `TC_ACT_SHOT` (`linux/pkt_cls.h`).
const DROPPED: i32 = 2;
/// `TC_ACT_REDIRECT`: the frame became its own answer.
const ANSWERED: i32 = 7;
/// `TC_ACT_UNSPEC`: for the next program to decide.
const PASSED: i32 = -1;

/// The datapath with the filter of one port.
pub struct Kernel<'a> {
    datapath: &'a mut Datapath,
    port: &'a str,
    entries: &'a [Entry],
    instances: &'a [Instance],
    counters: Vec<Counter>,
}

impl<'a> Kernel<'a> {
    /// Whether the kernel takes this frame for a test run: with its Ethernet header and a whole fixed
    /// IP header, and no longer than a page with what the kernel adds.
    pub fn takes(frame: &[u8]) -> bool {
        let shortest = match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            Some([0x86, 0xdd]) => 14 + 40,
            _ => 14 + 1,
        };
        (shortest..=3000).contains(&frame.len())
    }

    /// Binds a filter to a port. The caller must be in the port's network namespace, then and later.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn new(
        datapath: &'a mut Datapath,
        port: &'a str,
        compiled: &'a Compiled,
        instances: &'a [Instance],
    ) -> Result<Self> {
        datapath.apply(&[Change::Bind(Bind {
            port,
            image: Some(&compiled.image),
            slots: &compiled.slots,
            entries: compiled.entries.len() as u32,
            learn: nwfilter_ctl::kernel::Learn::default(),
            identities: None,
        })])?;
        // What the filter before has seen must not count.
        datapath.flush(port)?;
        let counters = datapath.counters(port)?;
        Ok(Self {
            datapath,
            port,
            entries: &compiled.entries,
            instances,
            counters,
        })
    }

    fn rule(&self, entry: &Entry) -> Option<&Instance> {
        let Entry::Rule(origin) = entry else {
            return None;
        };
        self.instances.iter().find(|rule| rule.origin == *origin)
    }

    fn layer(&self, entry: &Entry) -> Result<Layer> {
        Ok(match entry {
            Entry::EndOfLayer(TableLayer::Inet) | Entry::Missing(TableLayer::Inet) => Layer::Inet,
            Entry::Rule(_) => {
                let rule = self.rule(entry).context("no such rule")?;
                rule.protocol.layer()
            }
            _ => Layer::Ethernet,
        })
    }
}

impl Decider for Kernel<'_> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    /// `BPF_PROG_TEST_RUN` refuses frames that end before the IP header that their type announces
    /// (`net/bpf/test_run.c`); on real ports they are decided like all others.
    fn takes(&self, frame: &[u8]) -> bool {
        let needed = match frame.get(12..14) {
            Some([0x08, 0x00]) => 14 + 20,
            Some([0x86, 0xdd]) => 14 + 40,
            _ => 15,
        };
        frame.len() >= needed
    }

    fn decide(&mut self, direction: FrameDirection, frame: &[u8], _now: u64) -> Result<Decision> {
        let direction = match direction {
            FrameDirection::In => Direction::In,
            FrameDirection::Out => Direction::Out,
        };
        let run = self.datapath.test_run(self.port, direction, frame, 1)?;
        let counters = self.datapath.counters(self.port)?;
        let before = std::mem::replace(&mut self.counters, counters);
        let mut moved = Vec::new();
        for (i, (before, now)) in before.iter().zip(&self.counters).enumerate() {
            if before.packets == now.packets {
                continue;
            }
            let entry = i.checked_sub(FAULT_COUNTERS as usize);
            let entry = entry.and_then(|entry| self.entries.get(entry));
            let entry = entry.with_context(|| format!("counter {i} moved"))?;
            moved.push((self.layer(entry)?, entry));
        }
        moved.sort();
        let Some(&(layer, entry)) = moved.last() else {
            bail!("no counter moved");
        };
        let rejects = layer == Layer::Inet
            && self
                .rule(entry)
                .is_some_and(|rule| rule.action == Action::Reject);
        let verdict = match run.action {
            PASSED => Verdict::Accept,
            DROPPED | ANSWERED if rejects => Verdict::Reject,
            DROPPED => Verdict::Drop,
            action => bail!("TC action {action}"),
        };
        let cause = match entry {
            Entry::Rule(origin) => Cause::Rule(origin.clone()),
            Entry::EndOfChain(chain) => Cause::EndOfChain(chain.to_string()),
            Entry::EndOfLayer(_) => Cause::EndOfLayer,
            Entry::Missing(_) => Cause::Missing,
        };
        Ok(Decision {
            verdict,
            layer,
            cause,
        })
    }
}
