//! Documents: some by hand, about filters as a whole and how XML is read, and generated ones.

use nwfilter_ctl::{
    model::Protocol,
    parse::{Kind, attributes},
};
use proptest::{prelude::*, sample::select};

use crate::values::value;

/// What the filters are called, mostly.
pub(crate) const NAME: &str = "t";
const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// Documents that say something about the filter as a whole, or about how XML is read.
pub(crate) const DOCUMENTS: &[&str] = &[
    "<filter name='t'/>",
    "<?xml version='1.0'?><!-- a --><filter name='t'><!-- b --></filter><!-- c -->",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filter\n  name = \"t\"\n>\n\n</filter>\n",
    "<filter name='t'><?instruction?>text<![CDATA[<rule/>]]></filter>",
    "<filter name='t'><uuid>11111111222233334444555555555555</uuid></filter>",
    "<filter name='t'><uuid> 1111-1111 2222-3333-4444-5555 55555555 </uuid></filter>",
    "<filter name='t'><uuid>11111111-2222-3333-4444-55555555555</uuid></filter>",
    "<filter name='t'><uuid>11111111-2222-3333-4444-5555555555555</uuid></filter>",
    "<filter name='t'><uuid>AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE</uuid></filter>",
    "<filter name='t'><uuid>{11111111-2222-3333-4444-555555555555}</uuid></filter>",
    "<filter name='t'><uuid></uuid></filter>",
    "<filter name='t' priority='x'/>",
    "<filter name='t' priority=''/>",
    "<filter name='t'><uuid/><uuid>11111111-2222-3333-4444-555555555555</uuid></filter>",
    "<filter name='t'><rule action='drop' direction='in'/>\
     <uuid>11111111-2222-3333-4444-555555555555</uuid></filter>",
    "<filter name='t'><x><rule action='drop' direction='in'/></x></filter>",
    "<filter name='t'><rule action='drop' direction='in'><x><tcp/></x></rule></filter>",
    "<filter name='t'><rule action='drop' direction='in'><TCP/><udp/></rule></filter>",
    "<filter name='t'><rule action='drop' direction='in'><none/></rule></filter>",
    "<filter name='t'><rule action='drop' direction='in'>text<tcp>text</tcp></rule></filter>",
    "<filter name='t'><Rule action='drop' direction='in'/></filter>",
    "<filter name='t'><rule action='drop'/></filter>",
    "<filter name='t'><rule direction='in'/></filter>",
    "<filter><rule action='drop' direction='in'/></filter>",
    "<filter name=''/>",
    "<filters name='t'/>",
    "<filter name='t'>",
    "<filter name=t/>",
    "<filter name='t' name='t'/>",
    "<filter name='t'/><filter name='t'/>",
    "<filter name='t'><filterref/></filter>",
    "<filter name='t'><filterref filter='t'/></filter>",
    "<filter name='t'><filterref filter='o'><parameter name='B' value='1'/>\
     <parameter name='A' value='3'/><parameter name='B' value='0'/>\
     <parameter name='b' value='x'/></filterref></filter>",
    "<filter name='t'><filterref filter='o'><parameter name='' value='1'/></filterref></filter>",
    "<filter name='t'><filterref filter='o'><parameter name='A' value='a:B._9'/>\
     <parameter name='A' value=''/><parameter name='A'/><parameter value='1'/>\
     <parameter name='A-' value='1'/><parameter name='A' value='1,2'/>\
     <parameter name='A' value='$B'/><parameter name='A' value=' 1'/></filterref></filter>",
    "<filter name='t'><filterref filter='o'><x/>text</filterref>\
     <rule action='drop' direction='in'/><filterref filter='o'/></filter>",
];

/// Values of the attributes of `<filter>` but its name.
const FILTERS: &[(&str, &[&str])] = &[
    (
        "chain",
        &[
            "root",
            "mac",
            "vlan",
            "stp",
            "arp",
            "rarp",
            "ipv4",
            "ipv6",
            "",
            "Root",
            "root-x",
            "ipv4-ip",
            "ipv6.a:b_c",
            "arp-123456789",
            "arp-12345678",
            "mac mac",
            "ip",
            "stpx",
            "$V",
            "vlané",
        ],
    ),
    (
        "priority",
        &[
            "1",
            "-1",
            "1000",
            "-1000",
            "1001",
            "-1001",
            "+7",
            "007",
            " 7",
            "7 ",
            "0x7",
            "x",
            "",
            "4294967297",
            "-700",
            "--1",
            "1e2",
            "&#9;3",
        ],
    ),
    ("colour", &["red"]),
];

/// Values of the attributes of `<rule>`.
const RULES: &[(&str, &[&str])] = &[
    (
        "action",
        &[
            "drop", "accept", "reject", "return", "continue", "DROP", "", " drop", "deny",
        ],
    ),
    (
        "direction",
        &["in", "out", "inout", "both", "In", "", "in "],
    ),
    (
        "priority",
        &[
            "0",
            "-0",
            "1",
            "-1",
            "1000",
            "-1000",
            "1001",
            "-1001",
            "+7",
            "007",
            " 7",
            "7 ",
            "0x7",
            "x",
            "",
            "4294967297",
            "-4294967295",
            "99999999999999999999",
        ],
    ),
    (
        "statematch",
        &[
            "0", "1", "false", "true", "False", "no", "", "00", " 0", "yes",
        ],
    ),
    ("colour", &["red"]),
];

/// One element, mostly with attributes that it has.
fn element(protocol: Protocol, comment: bool) -> impl Strategy<Value = String> {
    let specs: Vec<_> = attributes(protocol)
        .iter()
        .filter(|spec| comment || spec.kind != Kind::Comment)
        .copied()
        .collect();
    let own = select(specs).prop_flat_map(|spec| {
        value(spec.kind).prop_map(move |value| (spec.attr.as_str().to_owned(), value))
    });
    let unknown = select(vec![
        "Type",
        "srcmac",
        "ctdir",
        "msg-age",
        "port_hi",
        "vlan-id",
        "dscp ",
        "srcipaddr6",
        "hex",
    ])
    .prop_map(|name| (name.trim().to_owned(), "1".to_owned()));
    let attribute = prop_oneof![20 => own, 1 => unknown];
    let matches = select(vec![
        "",
        "",
        "",
        " match='no'",
        " match='no'",
        " match='yes'",
        " match='NO'",
        " match=''",
    ]);
    // An illegal value hides what becomes of the others.
    let number = prop_oneof![3 => 1..2_usize, 1 => 0..6_usize];
    let given =
        number.prop_flat_map(move |number| prop::collection::vec(attribute.clone(), number));
    (given, matches).prop_map(move |(mut given, matches)| {
        let mut text = format!("<{protocol}{matches}");
        while let Some((name, value)) = given.pop() {
            if given.iter().all(|(other, _)| *other != name) {
                text = format!("{text} {name}='{value}'");
            }
        }
        text + "/>"
    })
}

/// Some of a table's attributes; the first `required` of them almost always, and sound mostly.
fn some(
    table: &'static [(&'static str, &'static [&'static str])],
    required: usize,
) -> impl Strategy<Value = String> {
    let attributes: Vec<_> = table
        .iter()
        .enumerate()
        .map(|(index, (name, values))| {
            let value = prop_oneof![
                20 => Just(values[0]),
                10 => select(&values[..values.len().min(3)]),
                2 => select(*values),
            ];
            let there = if index < required { 0.995 } else { 0.2 };
            prop::option::weighted(there, value)
                .prop_map(move |value| {
                    value.map_or_else(String::new, |value| format!(" {name}='{value}'"))
                })
                .boxed()
        })
        .collect();
    attributes.prop_map(|texts| texts.concat())
}

fn rule() -> impl Strategy<Value = String> {
    let protocols: Vec<Protocol> = Protocol::ALL
        .iter()
        .copied()
        .filter(|protocol| *protocol != Protocol::None)
        .collect();
    let elements = select(protocols).prop_flat_map(|protocol| {
        // Libvirt 9 replaces a comment when another element follows.
        let element_before = || element(protocol, false);
        let first = prop_oneof![
            3 => Just(Vec::new()),
            1 => prop::collection::vec(element_before(), 1..3),
        ];
        let odd = select(vec![
            "",
            "",
            "",
            "<!-- comment -->",
            "text",
            "<unknown/>",
            "<tcp/>",
            "<mac protocolid='arp'/>",
            "<igmp-ipv6/>",
        ]);
        (odd, first, element(protocol, true))
            .prop_map(|(odd, first, last)| format!("{odd}{}{last}", first.concat()))
    });
    (some(RULES, 2), prop::option::weighted(0.9, elements)).prop_map(|(rule, elements)| {
        let elements = elements.unwrap_or_default();
        format!("<rule{rule}>{elements}</rule>")
    })
}

pub(crate) fn document() -> impl Strategy<Value = String> {
    let reference = "<filterref filter='other'><parameter name='A' value='1'/></filterref>";
    let entry = prop_oneof![12 => rule(), 1 => Just(reference.to_owned())];
    let entries = prop_oneof![4 => 1..2_usize, 1 => 0..3_usize]
        .prop_flat_map(move |number| prop::collection::vec(entry.clone(), number));
    (some(FILTERS, 0), entries).prop_map(|(filter, entries)| {
        let entries = entries.concat();
        format!("<filter name='{NAME}'{filter}><uuid>{UUID}</uuid>{entries}</filter>")
    })
}
