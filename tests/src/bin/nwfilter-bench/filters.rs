//! The filters that are measured.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::Result;
use nwfilter_common::MacAddr;
use nwfilter_ctl::prepare::Prepared;
use nwfilter_tests::bind::{prepared, prepared_given};

/// The VM of the benchmarks.
pub(crate) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Its address.
pub(crate) const IP: [u8; 4] = [10, 0, 0, 1];
/// Its IPv6 address.
pub(crate) const IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// Tables of a built-in filter for a port.
pub(crate) fn builtin(port: &str, name: &str) -> Result<Prepared> {
    let ip = Ipv4Addr::from(IP).to_string();
    Ok(prepared(port, MAC, name, &[("IP", &ip)])?)
}

/// Tables of a filter given as XML.
pub(crate) fn given(port: &str, text: &str) -> Result<Prepared> {
    let [ip, ipv6] = [Ipv4Addr::from(IP).to_string(), IPV6.to_string()];
    prepared_given(port, MAC, text, &[("IP", &ip), ("IPV6", &ipv6)])
}

/// A server's: no addresses but its own, connections from it, and to some of its ports. Uses the state
/// of connections.
pub(crate) const SERVER: &str = "<filter name='server'>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ip-spoofing'/>
  <filterref filter='no-ipv6-spoofing'/>
  <filterref filter='no-arp-spoofing'/>
  <rule action='accept' direction='in' priority='100'><tcp dstportstart='22'/></rule>
  <rule action='accept' direction='in' priority='100'><tcp dstportstart='80'/></rule>
  <rule action='accept' direction='in' priority='100'><tcp dstportstart='443'/></rule>
  <rule action='accept' direction='in' priority='100'><tcp-ipv6 dstportstart='443'/></rule>
  <rule action='accept' direction='in' priority='100'><udp dstportstart='53'/></rule>
  <rule action='accept' direction='out' priority='200'><all/></rule>
  <rule action='accept' direction='out' priority='200'><all-ipv6/></rule>
  <rule action='drop' direction='inout' priority='900'><all/></rule>
  <rule action='drop' direction='inout' priority='900'><all-ipv6/></rule>
</filter>";

/// How the rules of a long filter relate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Each rule is about another source network, as lists of peers are.
    Sparse,
    /// Rules overlap in all fields.
    Dense,
    /// As the sparse ones, of the inet layer, where each asks for the connection's state.
    Peers,
}

/// A filter of so many rules, none of which matches the benchmark's frame; then one that accepts it.
pub(crate) fn long(shape: Shape, rules: u32) -> String {
    let chain = match shape {
        Shape::Sparse | Shape::Dense => "ipv4",
        Shape::Peers => "root",
    };
    let mut text = format!("<filter name='long-{shape:?}-{rules}' chain='{chain}'>\n");
    // A small linear congruential generator: the same filter every time.
    let mut state = 12345u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for i in 0..rules {
        let (action, test) = match shape {
            Shape::Sparse | Shape::Peers => {
                let (b, c) = (16 + i / 256, i % 256);
                let port = 1 + random(60000);
                let source = format!("srcipaddr='172.{b}.{c}.0' srcipmask='24'");
                match shape {
                    Shape::Peers => ("accept", format!("<tcp {source} dstportstart='{port}'/>")),
                    _ => (
                        "drop",
                        format!("<ip {source} protocol='tcp' dstportstart='{port}'/>"),
                    ),
                }
            }
            Shape::Dense => {
                let (source, destination) = (random(32), random(32));
                let (low, port) = (1024 + random(30000), random(2000));
                let test = format!(
                    "<ip srcipaddr='10.{source}.0.0' srcipmask='{}' dstipaddr='10.{destination}.0.0' \
                     dstipmask='{}' protocol='tcp' srcportstart='{low}' srcportend='{}' \
                     dstportstart='{port}' dstportend='{}'/>",
                    9 + random(8),
                    9 + random(8),
                    low + random(20000),
                    port + random(1000),
                );
                ("drop", test)
            }
        };
        let _ = writeln!(
            text,
            "<rule action='{action}' direction='out' priority='500'>{test}</rule>"
        );
    }
    text.push_str(match shape {
        Shape::Sparse | Shape::Dense => {
            "<rule action='accept' direction='out' priority='900'><ip protocol='tcp'/></rule>"
        }
        Shape::Peers => {
            "<rule action='accept' direction='out' priority='800'><tcp/></rule>\
             <rule action='drop' direction='inout' priority='900'><tcp/></rule>"
        }
    });
    text.push_str("</filter>");
    text
}
