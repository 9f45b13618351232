//! Frames while something happens to the filters: good ones and spoofed ones in turn, each accounted
//! for. Knows what `clean-traffic` is to do, and nothing of how it is done.

use std::{panic, thread};

use anyhow::{Result, ensure};
use nwfilter_common::MacAddr;

use crate::{
    frame::{Ethernet, Ipv4, Udp},
    net::{Direction, Lan, Vm, in_order},
};

/// Address of the VM that sends.
pub const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Address of another one.
pub const OTHER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
/// The VM's IPv4 address.
pub const IP: &str = "10.0.0.1";

/// A datagram to the outside.
pub fn frame(mac: MacAddr, ip: [u8; 4], identification: u16) -> Vec<u8> {
    let header = Ipv4 {
        identification,
        ..Ipv4::new(ip, [10, 0, 0, 200])
    };
    Ethernet::new(mac, Lan::OUTSIDE).ipv4(&header, &Udp::new(4000, 4000, []))
}

/// A frame that `clean-traffic` lets the VM send.
pub fn good(identification: u16) -> Vec<u8> {
    frame(MAC, [10, 0, 0, 1], identification)
}

/// Frames that it does not.
pub fn spoofed() -> [Vec<u8>; 2] {
    [
        frame(MAC, [10, 0, 0, 99], 0),
        frame(OTHER, [10, 0, 0, 1], 0),
    ]
}

/// Whether spoofed frames are dropped.
///
/// # Errors
///
/// If a good frame is.
pub fn is_filtered(lan: &Lan, vm: &Vm) -> Result<bool> {
    let mut probe = lan.probe(vm, Direction::Out);
    ensure!(probe.arrives(&good(0))?, "a good frame is dropped");
    Ok(!probe.arrives(&spoofed()[0])? && !probe.arrives(&spoofed()[1])?)
}

/// Sends spoofed and good frames in turn as long as `action` runs: every good one arrives, and no
/// other. Returns the number of good ones and what `action` does.
///
/// # Errors
///
/// If a good frame does not arrive, or a spoofed one does.
///
/// # Panics
///
/// If `action` does.
pub fn under_traffic<T: Send>(
    lan: &Lan,
    vm: &Vm,
    action: impl FnOnce() -> T + Send,
) -> Result<(u64, T)> {
    let [first, second] = spoofed();
    let is_spoofed = |frame: &[u8]| frame == first || frame == second;
    thread::scope(|scope| {
        let action = scope.spawn(action);
        let mut sent: u64 = 0;
        while !action.is_finished() || sent < 100 {
            sent += 1;
            // Frames in flight are few, so that they may have the same number some day.
            let good = good(sent as u16);
            in_order(|| {
                for frame in [&first, &second, &good] {
                    vm.end.send(frame)?;
                }
                Ok(())
            })?;
            let mut passed = 0;
            lan.outside().expect(&mut |frame| {
                passed += u32::from(is_spoofed(frame));
                frame == good
            })?;
            ensure!(
                passed == 0,
                "{passed} spoofed frames before good frame {sent}"
            );
        }
        let done = match action.join() {
            Ok(done) => done,
            Err(payload) => panic::resume_unwind(payload),
        };
        in_order(|| lan.settle(4))?;
        let passed = lan.outside().drain()?;
        ensure!(
            !passed.iter().any(|frame| is_spoofed(frame)),
            "a spoofed frame"
        );
        Ok((sent, done))
    })
}
