//! Links and addresses inside a namespace, made by iproute2: set-up is not what is measured, and
//! its language is the one everybody reads.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;
use nwfilter_common::MacAddr;

use super::NetNs;

/// The far end of a veth pair: where it goes and what it is called there.
#[derive(Clone, Copy, Debug)]
pub struct FarEnd<'a> {
    /// Namespace of the far end.
    pub namespace: &'a NetNs,
    /// Name of the far end.
    pub name: &'a str,
    /// Its address.
    pub mac: MacAddr,
}

impl NetNs {
    /// Runs commands of `ip`, one per line, in one process; it stops at the first that fails.
    /// Returns what they print.
    ///
    /// # Errors
    ///
    /// What `ip` says, with the commands.
    pub fn ip(&self, commands: &str) -> Result<String> {
        self.batch("ip", commands)
    }

    /// The same with commands of `tc`.
    ///
    /// # Errors
    ///
    /// What `tc` says, with the commands.
    pub fn tc(&self, commands: &str) -> Result<String> {
        self.batch("tc", commands)
    }

    fn batch(&self, program: &str, commands: &str) -> Result<String> {
        let output = self.run(|| {
            let mut child = Command::new(program)
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("start `{program}` (package iproute2)"))?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(commands.as_bytes())?;
            }
            anyhow::Ok(child.wait_with_output()?)
        })?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{program} failed: {}\non: {commands}",
            errors.trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A bridge, up, that floods everything: no spanning tree, no snooping for multicast.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn bridge(&self, name: &str) -> Result<()> {
        self.ip(&format!(
            "link add name {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set dev {name} up"
        ))?;
        Ok(())
    }

    /// Makes `port` a port of `bridge` that does not learn: what the bridge does to one frame does
    /// not depend on the frames before it, however spoofed they were.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn attach(&self, port: &str, bridge: &str) -> Result<()> {
        self.ip(&format!(
            "link set dev {port} master {bridge}\n\
             link set dev {port} type bridge_slave learning off flood on mcast_flood on"
        ))?;
        Ok(())
    }

    /// Tells the bridge of `port` once and for all that `mac` is there.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn bridge_entry(&self, port: &str, mac: MacAddr) -> Result<()> {
        self.batch(
            "bridge",
            &format!("fdb replace {mac} dev {port} master static"),
        )?;
        Ok(())
    }

    /// A veth pair with both ends up: `name` here, the far end as told.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn veth(&self, name: &str, far: &FarEnd) -> Result<()> {
        let FarEnd {
            namespace,
            name: far_name,
            mac,
        } = far;
        self.ip(&format!(
            "link add name {name} type veth peer name {far_name} address {mac} netns {}\n\
             link set dev {name} up",
            namespace.path()
        ))?;
        namespace.ip(&format!("link set dev {far_name} up"))?;
        Ok(())
    }

    /// A tap, up, for a program to take that knows its name, as QEMU does; it stays without one.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn tap(&self, name: &str) -> Result<()> {
        self.ip(&format!(
            "tuntap add dev {name} mode tap\n\
             link set dev {name} up"
        ))?;
        Ok(())
    }

    /// Gives `link` an address, as `10.0.0.1/24`.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn address(&self, link: &str, address: &str) -> Result<()> {
        self.ip(&format!("address add {address} dev {link}"))?;
        Ok(())
    }

    /// Says once and for all where `address` is, so that nobody asks.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn neighbour(&self, link: &str, address: &str, mac: MacAddr) -> Result<()> {
        self.ip(&format!(
            "neighbour replace {address} lladdr {mac} nud permanent dev {link}"
        ))?;
        Ok(())
    }

    /// Index of a link.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn index(&self, link: &str) -> Result<u32> {
        self.run(|| if_nametoindex(link))
            .with_context(|| format!("no link {link}"))
    }
}
