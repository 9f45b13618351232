//! Rules that can be defined: libvirt, with its tools, and we refuse to bind the same ones.

use std::{collections::BTreeMap, sync::Arc};

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    model::Semantics,
    parse::parse_filter,
    resolve::{LoadedFilter, resolve},
};
use nwfilter_tests::{
    bind::binding,
    need,
    peer::{NEEDS, Peer},
};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

/// Values of the variables in [`ROWS`].
const PARAMETERS: [(&str, &str); 3] = [("LOW", "1"), ("ZERO", "0"), ("P", "icmpv6")];

/// Direction and content of a rule, and whether libvirt binds it.
const ROWS: &[(&str, &str, bool)] = &[
    ("out", "<tcp dstportstart='2' dstportend='1'/>", false),
    ("out", "<tcp dstportstart='2' dstportend='$LOW'/>", false),
    ("out", "<tcp dstportstart='2' dstportend='2'/>", true),
    (
        "out",
        "<sctp match='no' srcportstart='2' srcportend='1'/>",
        false,
    ),
    ("inout", "<udp dstportstart='2' dstportend='1'/>", true),
    ("out", "<all-ipv6 srcipfrom='::2' srcipto='::1'/>", true),
    (
        "out",
        "<ip protocol='udp' dstportstart='2' dstportend='1'/>",
        false,
    ),
    (
        "in",
        "<ipv6 protocol='icmpv6' type='1' typeend='2' code='2' codeend='1'/>",
        false,
    ),
    ("in", "<stp age='2' age-hi='1'/>", false),
    (
        "out",
        "<ip match='no' protocol='tcp' dstportstart='22'/>",
        false,
    ),
    ("out", "<ip match='no' protocol='tcp'/>", true),
    (
        "out",
        "<ipv6 match='no' protocol='icmpv6' type='1'/>",
        false,
    ),
    ("out", "<ipv6 code='1'/>", false),
    ("out", "<ipv6 protocol='$P' type='1'/>", true),
    (
        "out",
        "<tcp match='no' srcipaddr='10.0.0.0' srcipmask='$ZERO'/>",
        false,
    ),
    (
        "out",
        "<ip match='no' srcipaddr='10.0.0.0' srcipmask='$ZERO'/>",
        true,
    ),
    (
        "out",
        "<mac match='no' srcmacaddr='1:2:3:4:5:6' srcmacmask='0:0:0:0:0:0'/>",
        false,
    ),
    (
        "out",
        "<mac srcmacaddr='1:2:3:4:5:6' srcmacmask='0:0:0:0:0:0'/>",
        false,
    ),
    (
        "out",
        "<arp dstmacaddr='1:2:3:4:5:6' dstmacmask='0:0:0:0:0:0'/>",
        false,
    ),
    ("out", "<arp dstmacmask='0:0:0:0:0:0'/>", true),
    ("out", "<stp srcmacaddr='2:2:3:4:5:6'/>", true),
    ("inout", "<stp srcmacaddr='2:2:3:4:5:6'/>", false),
];

/// Whether we resolve a filter named `name`.
fn resolves(name: &str, xml: &str) -> bool {
    let (filter, found) = parse_filter(xml, Semantics::Libvirt);
    let filter = filter.unwrap_or_else(|| panic!("{xml}: {found:?}"));
    let filters = BTreeMap::from([(
        name.to_owned(),
        Arc::new(LoadedFilter::new(filter, xml, None)),
    )]);
    let binding = binding("vnet0", MAC, name, &PARAMETERS);
    resolve(&binding, &filters, Semantics::Libvirt).is_ok()
}

#[test]
fn libvirt_refuses_to_bind_what_we_refuse() {
    if !need::met(&NEEDS) {
        return;
    }
    let peer = Peer::start().unwrap();
    for (number, (direction, element, binds)) in ROWS.iter().enumerate() {
        let name = format!("row-{number}");
        let rule = format!("<rule action='drop' direction='{direction}'>{element}</rule>");
        let xml = format!("<filter name='{name}'>{rule}</filter>");
        assert_eq!(resolves(&name, &xml), *binds, "we: {rule}");
        peer.define(&xml).unwrap();
        let bound = peer.bind(&format!("vnet{number}"), MAC, &name, &PARAMETERS);
        assert_eq!(bound.is_ok(), *binds, "libvirt: {rule}");
        if let Ok(bound) = bound {
            peer.unbind(bound).unwrap();
        }
    }
}
