//! What each attribute of the language tests: the conditions that one rule with it comes down to, as
//! it is written and negated, against a golden file. `BLESS=1` rewrites the file; what it says is
//! then to be compared with section 2 of the semantics reference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use nwfilter_ctl::compile::compile;
use nwfilter_ctl::model::{Attr, Binding, Family, Parameters, Protocol, Semantics};
use nwfilter_ctl::parse::{AttributeSpec, Kind, attributes, base, parse_filter, spec};
use nwfilter_ctl::resolve::{LoadedFilter, resolve};
use uuid::Uuid;

/// What no field of a frame is compared with; and comments.
const NO_FIELD: &[Attr] = &[
    Attr::Comment,
    Attr::ConnlimitAbove,
    Attr::IpSet,
    Attr::IpSetFlags,
    Attr::TcpOption,
];

/// A value of an attribute.
fn sample(attribute: &AttributeSpec) -> &'static str {
    let is_end = base(attribute.attr).is_some();
    match attribute.kind {
        Kind::Number {
            names: [first, ..], ..
        } => first.0,
        Kind::Number { max: 63, .. } => "10",
        Kind::Number { .. } if is_end => "90",
        Kind::Number { .. } => "80",
        Kind::Mac => "2:0:0:0:0:1",
        Kind::MacMask => "ff:ff:ff:0:0:0",
        Kind::Address(Family::V4) if is_end => "192.0.2.9",
        Kind::Address(Family::V4) => "192.0.2.1",
        Kind::Address(Family::V6) if is_end => "2001:db8::9",
        Kind::Address(Family::V6) => "2001:db8::1",
        Kind::Mask(_) => "24",
        Kind::Bool => "true",
        Kind::States => "NEW,ESTABLISHED",
        Kind::TcpFlags => "SYN,ACK/SYN",
        Kind::SetName | Kind::SetDirections | Kind::Comment => "",
    }
}

/// What an attribute needs beside it to mean something.
fn company(protocol: Protocol, attr: Attr) -> Vec<(Attr, &'static str)> {
    let mut company = Vec::new();
    let is_ip = matches!(protocol, Protocol::Ip | Protocol::Ipv6);
    match attr {
        Attr::SrcPortStart | Attr::SrcPortEnd | Attr::DstPortStart | Attr::DstPortEnd if is_ip => {
            company.push((Attr::IpProtocol, "tcp"));
        }
        Attr::Type | Attr::TypeEnd | Attr::Code | Attr::CodeEnd if is_ip => {
            company.push((Attr::IpProtocol, "icmpv6"));
        }
        Attr::Code => company.push((Attr::Type, "80")),
        _ => {}
    }
    if let Some(base) = base(attr) {
        company.push((base, sample(spec(protocol, base).unwrap())));
    }
    company
}

/// The element with an attribute; what it needs is in elements of their own if it is not negated
/// with it.
fn element(protocol: Protocol, attribute: &AttributeSpec, negated: bool) -> String {
    let mut text = String::new();
    let mut own = String::new();
    for (attr, value) in company(protocol, attribute.attr) {
        if attr == Attr::IpProtocol {
            write!(text, "<{protocol} {attr}='{value}'/>").unwrap();
        } else {
            write!(own, " {attr}='{value}'").unwrap();
        }
    }
    let sign = if negated { " match='no'" } else { "" };
    let (attr, value) = (attribute.attr, sample(attribute));
    write!(text, "<{protocol}{sign}{own} {attr}='{value}'/>").unwrap();
    text
}

/// When frames that leave the VM are dropped.
fn conditions(element: &str) -> String {
    let text =
        format!("<filter name='f'><rule action='drop' direction='out'>{element}</rule></filter>");
    let (filter, found) = parse_filter(&text, Semantics::Strict);
    let filter = filter.unwrap_or_else(|| panic!("{element}: {found:?}"));
    let loaded = Arc::new(LoadedFilter::new(filter, text, None));
    let filters = BTreeMap::from([("f".to_owned(), loaded)]);
    let binding = Binding {
        owner_name: "vm".into(),
        owner_uuid: Uuid::nil(),
        port: "vnet0".into(),
        link: None,
        mac: "52:54:00:00:00:01".parse().unwrap(),
        filter: "f".into(),
        parameters: Parameters::default(),
    };
    let resolved = resolve(&binding, &filters, Semantics::Strict).unwrap();
    let compiled = compile(&resolved.instances, Semantics::Strict).unwrap();
    let printed = compiled.to_string();
    let mut is_out = false;
    let mut drops = Vec::new();
    for line in printed.lines() {
        if line.ends_with("layer:") {
            is_out = line.starts_with("out");
        } else if is_out && let Some((_, rule)) = line.split_once(" drop") {
            drops.push(rule.rsplit_once("  [").map_or(rule, |(rule, _)| rule));
        }
    }
    drops.join(";")
}

#[test]
fn every_attribute_tests_what_the_reference_says() {
    let mut actual = String::new();
    for &protocol in Protocol::ALL {
        for attribute in attributes(protocol) {
            if NO_FIELD.contains(&attribute.attr) {
                continue;
            }
            for negated in [false, true] {
                let element = element(protocol, attribute, negated);
                let conditions = conditions(&element);
                assert!(!conditions.is_empty(), "{element}");
                writeln!(actual, "{element}\n   {conditions}").unwrap();
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conditions.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(expected, actual, "conditions.txt:{}", number + 1);
    }
    assert_eq!(expected.lines().count(), actual.lines().count());
}
