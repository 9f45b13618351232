//! Ports whose addresses the daemon learns: bindings without addresses, and waiting until it knows.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nwfilter_common::MacAddr;
use serde_json::Value;

use crate::{
    daemon::Site,
    net::{Lan, PATIENCE},
};

/// A binding's document, without an address.
pub fn binding_xml(port: &str, mac: MacAddr, filter: &str, parameters: &[(&str, &str)]) -> String {
    let parameters = parameters
        .iter()
        .map(|(name, value)| format!("<parameter name='{name}' value='{value}'/>"))
        .collect::<String>();
    format!(
        "<filterbinding>
  <owner><name>vm of {port}</name><uuid>fce8ae33-e69e-83bf-262e-30786c1f8072</uuid></owner>
  <portdev name='{port}'/>
  <mac address='{mac}'/>
  <filterref filter='{filter}'>{parameters}</filterref>
</filterbinding>
"
    )
}

/// Binds a port without an address, in place of its binding if it has one.
///
/// # Errors
///
/// What the daemon says.
pub fn bind(
    site: &Site,
    lan: &Lan,
    port: &str,
    mac: MacAddr,
    filter: &str,
    parameters: &[(&str, &str)],
) -> Result<()> {
    let file = site.state().join("binding");
    fs::write(&file, binding_xml(port, mac, filter, parameters))?;
    let file = file.to_string_lossy();
    let output = site.run(&lan.host, &["binding-create", "--replace", &file])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What `show` says of the binding of a port.
///
/// # Errors
///
/// What the daemon says.
pub fn show(site: &Site, lan: &Lan, port: &str) -> Result<Value> {
    let output = site.run(&lan.host, &["show", port, "--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let mut document: Value = serde_json::from_slice(&output.stdout)?;
    Ok(document["port"]["binding"].take())
}

/// The addresses in a binding of [`show`].
pub fn addresses(binding: &Value) -> Vec<&str> {
    let addresses = binding["addresses"].as_array().into_iter().flatten();
    addresses
        .filter_map(|known| known["address"].as_str())
        .collect()
}

/// Asks until the daemon knows just these addresses of a port; returns the binding as in [`show`].
///
/// # Errors
///
/// If it does not get to know them in time.
pub fn wait(site: &Site, lan: &Lan, port: &str, expected: &[&str]) -> Result<Value> {
    wait_until(site, lan, port, |binding| addresses(binding) == expected)
}

/// Asks until a binding is as it should be.
///
/// # Errors
///
/// If it does not come so far in time.
pub fn wait_until(
    site: &Site,
    lan: &Lan,
    port: &str,
    expected: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let binding = show(site, lan, port)?;
        if expected(&binding) {
            return Ok(binding);
        }
        if Instant::now() > deadline {
            bail!("still {binding}");
        }
        // The program that asks takes longer.
        std::thread::sleep(Duration::from_millis(5));
    }
}
