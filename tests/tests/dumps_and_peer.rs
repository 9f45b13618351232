//! The parser and the formatter against libvirt itself: generated documents in odd spellings, which
//! libvirt's own daemon defines and dumps or refuses. How it reads what it has accepted is the
//! affair of `judge_and_peer`.

use std::env;

use nwfilter_ctl::{
    diag::{Code, any_error},
    format::format_filter,
    model::{Family, Protocol, Semantics},
    parse::{Kind, attributes, parse_filter},
};
use nwfilter_tests::{
    need,
    peer::{NEEDS, Peer},
};
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// What the filters are called, mostly.
const NAME: &str = "t";
const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// Documents that say something about the filter as a whole, or about how XML is read.
const DOCUMENTS: &[&str] = &[
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

/// Numbers as they can be written.
fn numbers() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        select(vec![
            0_u64,
            1,
            6,
            8,
            9,
            17,
            63,
            64,
            132,
            136,
            255,
            256,
            600,
            1000,
            1535,
            1536,
            2048,
            2054,
            4095,
            4096,
            33024,
            65535,
            65536,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX,
        ]),
        any::<u16>().prop_map(u64::from),
        any::<u8>().prop_map(u64::from),
    ];
    let spelling = prop_oneof![
        6 => Just("{}"),
        10 => select(vec![
            "0x{x}", "0X{X}", "{x}", "{X}", "0{}", "000{x}", "0x00{x}", "+{}", "-{}", "+0x{x}",
            "-0x{x}", " {}", "{} ", "&#9;{}", "&#10;{}", "0x {x}", "0x+{x}", "{}.0", "{}e1", "{},",
            "0b1{}", "0x0x{x}", "{}x", "- {}", "+-{}", "{}{}", "'{}",
        ]),
    ];
    (value, spelling).prop_map(|(value, spelling)| {
        spelling
            .replace("{}", &value.to_string())
            .replace("{x}", &format!("{value:x}"))
            .replace("{X}", &format!("{value:X}"))
            .replace('\'', "&apos;")
    })
}

/// A text in some mixture of cases.
fn in_any_case(text: String) -> impl Strategy<Value = String> {
    select(vec![0_u8, 0, 1, 2, 3]).prop_map(move |how| match how {
        1 => text.to_lowercase(),
        2 => text.to_uppercase(),
        3 => {
            let mut upper = false;
            let swapped = text.chars().map(|c| {
                upper = !upper;
                if upper {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            });
            swapped.collect()
        }
        _ => text.clone(),
    })
}

fn macs() -> impl Strategy<Value = String> {
    let group = select(vec![
        "0", "00", "1", "0a", "A", "fF", "52", "FF", "ff", "80", "c2",
    ]);
    let odd = select(vec!["", "g", "100", "0x1", "+1", " 1", "1 ", "-1", "ff "]);
    let group = prop_oneof![60 => group, 1 => odd];
    let separator = prop_oneof![12 => Just(":"), 1 => select(vec!["-", ".", "", "::", " "])];
    let length = prop_oneof![12 => Just(6_usize), 1 => 0..9_usize];
    let tail = prop_oneof![12 => Just(""), 2 => select(vec![" ", ":", " x", "&#10;", "/24", "x"])];
    (
        length.prop_flat_map(move |length| prop::collection::vec(group.clone(), length)),
        separator,
        tail,
    )
        .prop_map(|(groups, separator, tail)| groups.join(separator) + tail)
}

fn mac_masks() -> impl Strategy<Value = String> {
    let masks = select(vec![
        "ff:ff:ff:ff:ff:ff",
        "FF:FF:FF:0:0:0",
        "0:0:0:0:0:0",
        "fe:0:0:0:0:0",
        "80:00:00:00:00:00",
        "ff:ff:ff:ff:ff:fe",
        "ff:ff:ff:ff:ff:fd",
        "7f:ff:ff:ff:ff:ff",
        "24",
        "ff:ff:ff",
        "0:0:0:0:0:1",
    ]);
    prop_oneof![3 => masks.prop_map(str::to_owned), 1 => macs()]
}

fn ipv4() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => any::<u8>().prop_map(|part| part.to_string()),
        1 => any::<u8>().prop_map(|part| format!("0{part:o}")),
        1 => any::<u8>().prop_map(|part| format!("0x{part:x}")),
        1 => select(vec![
            "", "256", "08", "00", "0x", "0X1f", "0xfF", "+1", "-1", " 1", "1 ", "65535", "65536",
            "16777215", "16777216", "4294967295", "4294967296", "0x100", "a", "0xffffffff", "040000000000",
            "00000000001", "0x00000000001", "*",
        ]).prop_map(str::to_owned),
    ];
    let length = prop_oneof![8 => Just(4_usize), 3 => 1..6_usize];
    let whole = select(vec![
        "",
        "localhost",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:1.2.3.4",
        "::1.2.3.4",
        "::FFFF:10.0.0.1",
        "::ffff:0102:0304",
        "0:0:0:0:0:ffff:1.2.3.4",
        "::fffe:1.2.3.4",
        "10.0.0.0/8",
        "1.2.3.4,5.6.7.8",
        "1.2.3.4-5",
        ".1.2.3.4",
        "1.2.3.4.",
        "1..3.4",
        "[1.2.3.4]",
        "1.2.3.4%lo",
        "١.2.3.4",
        "example",
    ]);
    prop_oneof![
        4 => length
            .prop_flat_map(move |length| prop::collection::vec(part.clone(), length))
            .prop_map(|parts| parts.join(".")),
        1 => whole.prop_map(str::to_owned),
    ]
}

fn ipv6() -> impl Strategy<Value = String> {
    let some = select(vec![
        "::",
        "::1",
        "1::",
        "FE80::1",
        "fe80:0::0:1",
        "2001:DB8:0:0:1:0:0:1",
        "2001:db8::1:0:0:1",
        "1:2:3:4:5:6:7:8",
        "1:0:0:4:0:0:0:8",
        "1:0:3:0:5:0:7:0",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "::0.0.0.1",
        "::0.1.0.0",
        "::1:0",
        "::ffff:0:0",
        "64:ff9b::1.2.3.4",
        "1:2:3:4:5:6:1.2.3.4",
        "::ffff:0:1.2.3.4",
        "01:002:0003::",
        "00001::",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1::8",
        "1:2:3:4::5:6:7:8",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3",
        ":1::",
        "1:::2",
        "1::2::3",
        "g::",
        "::1 ",
        " ::1",
        "[::1]",
        "::1/64",
        "::01.2.3.4",
        "::1.2.3",
        "::256.0.0.1",
        "::0x1.0.0.1",
        "1.2.3.4",
        "a:b:c",
        "",
        "ff02::1",
        "::10000",
        "0::",
        "0:0:0:0:0:0:0:0",
        "ABCD:EF01::",
        "1:2:3:4:5:6:7:",
        ":",
        ":::",
        "::1.2.3.4.5",
        "10.1",
        "1",
        "2001:0db8:0000:0000:0000:0000:0000:0001",
    ]);
    let groups = prop::collection::vec(select(vec!["0", "0", "1", "a", "FF", "0db8", "ffff"]), 8);
    prop_oneof![
        3 => some.prop_map(str::to_owned),
        1 => groups.prop_map(|groups| groups.join(":")),
    ]
}

fn masks(family: Family) -> BoxedStrategy<String> {
    let spelled = select(vec![
        "0",
        "1",
        "8",
        "24",
        "31",
        "32",
        "33",
        "64",
        "127",
        "128",
        "129",
        "024",
        "+24",
        " 24",
        "24 ",
        "-1",
        "-0",
        "0x18",
        "0x",
        "",
        "/24",
        "x",
        "256",
        "4294967296",
        "4294967320",
        "2147483648",
        "24.0",
        "00000000000000000000000000000024",
    ]);
    let (forms, addresses) = match family {
        Family::V4 => (
            vec![
                "255.255.255.0",
                "0.0.0.0",
                "255.255.255.255",
                "128.0.0.0",
                "255.0.255.0",
                "0.0.0.255",
                "255.255",
                "0xffffff00",
                "4294967040",
                "0377.0.0.0",
                "255.255.255.254 ",
                "::",
                "::ffff:255.0.0.0",
                "255.255.255.0.0",
                "254",
                "255.255.0.0",
            ],
            ipv4().boxed(),
        ),
        Family::V6 => (
            vec![
                "ffff::",
                "::",
                "FFFF:FFFF:FFFF:FFFF::",
                "8000::",
                "ffff:0:ffff::",
                "::ffff",
                "1::",
                "fe00::",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.0",
                "255.255.255.0",
            ],
            ipv6().boxed(),
        ),
    };
    prop_oneof![
        4 => spelled.prop_map(str::to_owned),
        2 => select(forms).prop_map(str::to_owned),
        1 => addresses,
    ]
    .boxed()
}

/// Lists of words with all kinds of things between them.
fn lists(words: Vec<&'static str>) -> impl Strategy<Value = String> {
    let separator = select(vec![
        ",", ",", " ", "", ", ", " ,", ",,", ";", "/", "|", "&#9;",
    ]);
    let word = (select(words), separator);
    prop::collection::vec(word, 0..5)
        .prop_map(|words| {
            let mut list = String::new();
            for (index, (word, separator)) in words.iter().enumerate() {
                if index > 0 {
                    list.push_str(separator);
                }
                list.push_str(word);
            }
            list
        })
        .prop_flat_map(in_any_case)
}

fn values(kind: Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Number { names: [], .. } => numbers().boxed(),
        Kind::Number { names, .. } => {
            let names: Vec<String> = names.iter().map(|(name, _)| (*name).to_owned()).collect();
            let names = select(names).prop_flat_map(in_any_case);
            let odd = select(vec![" tcp", "ipv4 ", "Reply,Request", "ip", "ethernet", "6tcp"]);
            prop_oneof![
                3 => names,
                3 => numbers(),
                1 => odd.prop_map(str::to_owned),
            ]
            .boxed()
        }
        Kind::Mac => macs().boxed(),
        Kind::MacMask => mac_masks().boxed(),
        Kind::Address(Family::V4) => ipv4().boxed(),
        Kind::Address(Family::V6) => ipv6().boxed(),
        Kind::Mask(family) => masks(family),
        Kind::Bool => select(vec![
            "true", "false", "1", "0", "yes", "no", "TRUE", "Yes", "", " true", "true ", "01",
        ])
        .prop_map(str::to_owned)
        .boxed(),
        Kind::States => lists(vec![
            "NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE", "NEW", "ESTABLISHED", "UNTRACKED",
        ])
        .boxed(),
        Kind::TcpFlags => {
            let words = vec!["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ALL", "NONE", "SYN", "ECE"];
            let slash = prop_oneof![8 => Just("/"), 1 => select(vec!["", " / ", "//", "\\"])];
            (lists(words.clone()), slash, lists(words))
                .prop_map(|(mask, slash, flags)| format!("{mask}{slash}{flags}"))
                .boxed()
        }
        Kind::SetName => select(vec![
            "set", "a set", "a.b:c-d_e+f", "", "a/b", "a,b", "1", "-x", "abcdefghijklmnopqrstuvwxyzabcde",
            "abcdefghijklmnopqrstuvwxyzabcdef", " set ", "sét", "a&amp;b", "set\t",
        ])
        .prop_map(str::to_owned)
        .boxed(),
        Kind::SetDirections => prop_oneof![
            2 => select(vec![
                "src", "dst", "src,dst", "SRC,Dst", "", "src,", ",src", "src dst", "src, dst", "both", "srcdst",
                "src,src,src,src,src,src", "src,src,src,src,src,src,src", "src ,dst", " src", "src;dst",
            ])
            .prop_map(str::to_owned),
            1 => lists(vec!["src", "dst"]),
        ]
        .boxed(),
        Kind::Comment => prop_oneof![
            select(vec![
                "text", "", " ", "&lt;a&gt; &amp; &quot;b&quot; &apos;c&apos;", "é", "`id`", "a\nb", "&#233;",
                "$", "-- x", "\u{10ffff}", "]]>",
            ])
            .prop_map(str::to_owned),
            select(vec![254_usize, 255, 256, 257, 300]).prop_map(|length| "x".repeat(length)),
        ]
        .boxed(),
    }
}

/// Variables, right and wrong ones.
fn variables() -> impl Strategy<Value = String> {
    let spellings = select(vec![
        "$V",
        "$V",
        "$MAC",
        "$a_1",
        "$1",
        "$",
        "$V[0]",
        "$V[7]",
        "$V[ 7 ]",
        "$V[007]",
        "$V[+7]",
        "$V[-7]",
        "$V[0x7]",
        "$V[4294967295]",
        "$V[4294967296]",
        "$V[@0]",
        "$V[@1]",
        "$V[ @1 ]",
        "$V[@ 1]",
        "$V[@+1]",
        "$V[@-1]",
        "$V[@01]",
        "$V[@1000]",
        "$V[@1001]",
        "$V[@4294967297]",
        "$V[@]",
        "$V[]",
        "$V[",
        "$V]",
        "$V[1",
        "$V[1]]",
        "$V[1]x",
        "$V[[1]]",
        "$V[1][2]",
        "$V[1,2]",
        "$V[x]",
        "$V [1]",
        " $V",
        "$V ",
        "${V}",
        "$V-W",
        "$V.W",
        "$$V",
        "$é",
        "$V[@1]/24",
        "$V,$W",
        "$V[1 2]",
        "$V[@@1]",
        "$V[&#9;1]",
        "$V[18446744073709551617]",
        "V$",
    ]);
    spellings.prop_map(str::to_owned)
}

/// A value of an attribute, as it is or damaged.
fn value(kind: Kind) -> BoxedStrategy<String> {
    if kind == Kind::Comment {
        // Blanks that libvirt would read back as others are written in another way on purpose.
        return values(kind);
    }
    let odd = select(vec![
        "", " ", "x", "0", "-", "+", "é", "&#9;", "&#10;", ":", "/",
    ]);
    prop_oneof![
        14 => values(kind),
        3 => variables(),
        1 => (values(kind), odd.clone()).prop_map(|(value, odd)| format!("{value}{odd}")),
        1 => (values(kind), odd).prop_map(|(value, odd)| format!("{odd}{value}")),
    ]
    .boxed()
}

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
                text += &format!(" {name}='{value}'");
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

fn document() -> impl Strategy<Value = String> {
    let reference = "<filterref filter='other'><parameter name='A' value='1'/></filterref>";
    let entry = prop_oneof![12 => rule(), 1 => Just(reference.to_owned())];
    let entries = prop_oneof![4 => 1..2_usize, 1 => 0..3_usize]
        .prop_flat_map(move |number| prop::collection::vec(entry.clone(), number));
    (some(FILTERS, 0), entries).prop_map(|(filter, entries)| {
        let entries = entries.concat();
        format!("<filter name='{NAME}'{filter}><uuid>{UUID}</uuid>{entries}</filter>")
    })
}

/// What `dumpxml` would print; `None` for a document that is refused.
fn ours(document: &str, semantics: Semantics) -> Option<String> {
    let (filter, found) = parse_filter(document, semantics);
    assert_eq!(filter.is_none(), any_error(&found), "{document}");
    filter.map(|filter| format_filter(&filter))
}

/// A dump without a UUID that the document does not give.
fn comparable(dump: Option<String>, document: &str) -> Option<String> {
    let given = parse_filter(document, Semantics::Libvirt)
        .0
        .is_some_and(|filter| filter.uuid.is_some());
    let keep = |line: &&str| given || !line.contains("<uuid>");
    let lines = |dump: String| {
        dump.lines()
            .filter(keep)
            .map(|line| format!("{line}\n"))
            .collect()
    };
    dump.map(lines)
}

/// How libvirt writes the empty list of states, which we write as what it means.
fn as_libvirt_writes(dump: String, libvirt: &str) -> String {
    if libvirt.contains(" state=''") {
        dump.replace(" state='NONE'", " state=''")
    } else {
        dump
    }
}

#[test]
fn libvirt_dumps_what_we_write() {
    if !need::met(&NEEDS) {
        return;
    }
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let count: usize = number("NWFILTER_DUMP_CASES", 600);
    let seed = number("NWFILTER_PEER_SEED", 1) as u8;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = document();
    let generated = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let documents: Vec<String> = DOCUMENTS
        .iter()
        .map(|document| (*document).to_owned())
        .chain(generated)
        .collect();
    let peer = Peer::start().unwrap();
    let dumps = peer.dumps(NAME, &documents).unwrap();

    let told = [
        Code::CannotBind,
        Code::IllegalValue,
        Code::IpSetLost,
        Code::NotRead,
        Code::PortNegation,
        Code::RangeEndFamily,
        Code::SignChanged,
    ];
    let mut accepted = 0;
    let mut differences = Vec::new();
    for (document, dump) in documents.iter().zip(dumps) {
        accepted += usize::from(dump.is_some());
        let libvirt = comparable(dump, document);
        let read = |semantics| comparable(ours(document, semantics), document);
        let same = read(Semantics::Libvirt);
        let written = match (&libvirt, same.clone()) {
            (Some(libvirt), Some(same)) => Some(as_libvirt_writes(same, libvirt)),
            (_, same) => same,
        };
        if libvirt != written {
            differences.push(format!(
                "{document}\n libvirt {libvirt:?}\n ours    {same:?}"
            ));
        }
        // In strict semantics filters are written as they were read; who reads otherwise is told.
        if read(Semantics::Strict) != same {
            let (_, found) = parse_filter(document, Semantics::Strict);
            assert!(
                found.iter().any(|found| told.contains(&found.code)),
                "{document}"
            );
        }
    }
    eprintln!("{} documents, {accepted} accepted", documents.len());
    assert!(
        differences.is_empty(),
        "{}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
