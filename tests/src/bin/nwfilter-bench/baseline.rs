//! The programs to compare with: see `nwfilter-ebpf/src/baseline.rs`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{Ebpf, Pod, TestRun as _, TestRunOptions, maps::HashMap, programs::SchedClassifier};
use nwfilter_common::MacAddr;

const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("NWFILTER_OBJECTS"), "/baseline.o"));

#[derive(Clone, Copy)]
#[repr(C)]
struct Owner {
    mac: [u8; 6],
    padding: [u8; 2],
    ip: [u8; 4],
}

// SAFETY: `repr(C)`, only bytes, no padding.
unsafe impl Pod for Owner {}

/// The loaded object.
pub(crate) struct Baseline {
    ebpf: Ebpf,
    ifindex: u32,
}

impl Baseline {
    /// For one VM behind an interface.
    pub(crate) fn load(ifindex: u32, mac: MacAddr, ip: [u8; 4]) -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        let mut owners: HashMap<_, u32, Owner> =
            HashMap::try_from(ebpf.map_mut("OWNERS").context("no map OWNERS")?)?;
        owners.insert(
            ifindex,
            Owner {
                mac: mac.0,
                padding: [0; 2],
                ip,
            },
            0,
        )?;
        for name in ["empty", "anti_spoofing"] {
            let program: &mut SchedClassifier = ebpf
                .program_mut(name)
                .with_context(|| format!("no program {name}"))?
                .try_into()?;
            program.load()?;
        }
        Ok(Self { ebpf, ifindex })
    }

    /// What a program returned, and the mean time of one run.
    pub(crate) fn run(&self, name: &str, frame: &[u8], repeat: u32) -> Result<(i32, Duration)> {
        let program = self
            .ebpf
            .program(name)
            .with_context(|| format!("no program {name}"))?;
        let program: &SchedClassifier = program.try_into()?;
        // `ifindex` of `struct __sk_buff`.
        let mut context = [0; 44];
        context[40..].copy_from_slice(&self.ifindex.to_ne_bytes());
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        })?;
        Ok((result.return_value.cast_signed(), result.duration))
    }
}
