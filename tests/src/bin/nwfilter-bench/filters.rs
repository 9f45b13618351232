//! The filters that are measured.

use std::{fmt::Write as _, net::Ipv4Addr};

use anyhow::Result;
use nwfilter_common::MacAddr;
use nwfilter_ctl::prepare::Prepared;
use nwfilter_tests::bind::{prepared, prepared_given};

/// The VM of the benchmarks.
pub(crate) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Its address.
pub(crate) const IP: [u8; 4] = [10, 0, 0, 1];

/// Tables of a built-in filter for a port.
pub(crate) fn builtin(port: &str, name: &str) -> Result<Prepared> {
    let ip = Ipv4Addr::from(IP).to_string();
    Ok(prepared(port, MAC, name, &[("IP", &ip)])?)
}

/// Tables of a filter given as XML.
pub(crate) fn given(port: &str, text: &str) -> Result<Prepared> {
    let ip = Ipv4Addr::from(IP).to_string();
    prepared_given(port, MAC, text, &[("IP", &ip)])
}

/// How the rules of a long filter relate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Each rule is about another source network, as lists of peers are.
    Sparse,
    /// Rules overlap in all fields.
    Dense,
}

/// A filter of so many rules, none of which matches the benchmark's frame; then one that accepts it.
pub(crate) fn long(shape: Shape, rules: u32) -> String {
    let mut text = format!("<filter name='long-{shape:?}-{rules}' chain='ipv4'>\n");
    // A small linear congruential generator: the same filter every time.
    let mut state = 12345u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for i in 0..rules {
        let tests = match shape {
            Shape::Sparse => {
                let (b, c) = (i / 256, i % 256);
                let port = 1 + random(60000);
                format!(
                    "srcipaddr='172.{}.{c}.0' srcipmask='24' protocol='tcp' dstportstart='{port}'",
                    16 + b
                )
            }
            Shape::Dense => {
                let (source, destination) = (random(32), random(32));
                let (low, port) = (1024 + random(30000), random(2000));
                format!(
                    "srcipaddr='10.{source}.0.0' srcipmask='{}' dstipaddr='10.{destination}.0.0' \
                     dstipmask='{}' protocol='tcp' srcportstart='{low}' srcportend='{}' \
                     dstportstart='{port}' dstportend='{}'",
                    9 + random(8),
                    9 + random(8),
                    low + random(20000),
                    port + random(1000),
                )
            }
        };
        let _ = writeln!(
            text,
            "<rule action='drop' direction='out' priority='500'><ip {tests}/></rule>"
        );
    }
    text.push_str(
        "<rule action='accept' direction='out' priority='900'><ip protocol='tcp'/></rule></filter>",
    );
    text
}
