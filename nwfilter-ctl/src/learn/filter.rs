//! The filter that a port has while the VM's addresses are unknown: enough for the VM to get or to
//! show them, from its own hardware address (section 5 of the semantics reference).

use std::sync::Arc;

use super::{Mode, Modes};
use crate::{
    model::Semantics,
    parse::parse_filter,
    resolve::{LoadedFilter, SourceError},
};

/// IPv4 and ARP from the VM, everything to it.
const ANY: &str = "
  <rule action='drop' direction='out' priority='100'><mac match='no' srcmacaddr='$MAC'/></rule>
  <rule action='accept' direction='out'><mac protocolid='ipv4'/></rule>
  <rule action='accept' direction='out'><mac protocolid='arp'/></rule>
  <rule action='accept' direction='in'/>";

/// DHCP.
const DHCP: &str = "
  <rule action='accept' direction='out'>
    <ip srcmacaddr='$MAC' protocol='udp' srcportstart='68' dstportstart='67'/>
  </rule>
  <rule action='accept' direction='in'>
    <ip dstmacaddr='$MAC' FROM protocol='udp' srcportstart='67' dstportstart='68'/>
  </rule>
  <rule action='accept' direction='in'>
    <ip dstmacaddr='ff:ff:ff:ff:ff:ff' FROM protocol='udp' srcportstart='67' dstportstart='68'/>
  </rule>";

/// DHCPv6, and what a VM needs to come so far: neighbour discovery without global addresses, router
/// advertisements, and reports of the groups that it listens to.
const DHCP6: &str = "
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='fe80::' srcipmask='10' protocol='udp' srcportstart='546'
          dstportstart='547'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='fe80::' srcipmask='10' protocol='icmpv6' type='133'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='fe80::' srcipmask='10' protocol='icmpv6' type='135'
          typeend='136'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='fe80::' srcipmask='10' protocol='icmpv6' type='143'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='::' protocol='icmpv6' type='133'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='::' protocol='icmpv6' type='135'/>
  </rule>
  <rule action='accept' direction='out'>
    <ipv6 srcmacaddr='$MAC' srcipaddr='::' protocol='icmpv6' type='143'/>
  </rule>
  <rule action='accept' direction='in'>
    <ipv6 dstmacaddr='$MAC' FROM protocol='udp' srcportstart='547' dstportstart='546'/>
  </rule>
  <rule action='accept' direction='in'>
    <ipv6 protocol='icmpv6' type='133' typeend='136'/>
  </rule>";

const REST: &str = "
  <rule action='drop' direction='inout' priority='1000'/>";

/// The filter for addresses that are to be learned in these ways, and its name, which says which ways
/// and is none that a filter of a file can have.
pub(super) fn filter(modes: &Modes) -> (String, Result<Arc<LoadedFilter>, SourceError>) {
    let from = |rules: &str, known: bool, variable: &str| {
        let test = if known {
            format!("srcipaddr='${variable}[@1]'")
        } else {
            String::new()
        };
        rules.replace("FROM", &test)
    };
    let (named, named6) = (!modes.servers.is_empty(), !modes.servers6.is_empty());
    let (name, rules) = match modes.ipv4 {
        Mode::None => ("", String::new()),
        Mode::Dhcp if named => ("/dhcp-server", from(DHCP, true, "DHCPSERVER")),
        Mode::Dhcp => ("/dhcp", from(DHCP, false, "")),
        Mode::Any => ("/any", ANY.to_owned()),
    };
    let (name6, rules6) = match modes.ipv6 {
        Mode::None => ("", String::new()),
        // Neighbour discovery is in both.
        Mode::Dhcp | Mode::Any if named6 => ("/ipv6-server", from(DHCP6, true, "DHCPSERVERV6")),
        Mode::Dhcp | Mode::Any => ("/ipv6", from(DHCP6, false, "")),
    };
    let name = format!("learning{name}{name6}");
    let text = format!("<filter name='learning'>{rules}{rules6}{REST}\n</filter>\n");
    let (filter, found) = parse_filter(&text, Semantics::Strict);
    let text: Arc<str> = text.into();
    let filter = match filter {
        Some(mut filter) => {
            filter.name.clone_from(&name);
            Ok(Arc::new(LoadedFilter::new(filter, text, None)))
        }
        None => Err(SourceError::Invalid {
            path: None,
            text,
            found: found.into(),
        }),
    };
    (name, filter)
}
