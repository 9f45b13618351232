//! Values of attributes in all their spellings, and in some that are none.

use nwfilter_ctl::{model::Family, parse::Kind};
use proptest::{prelude::*, sample::select};

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
pub(crate) fn value(kind: Kind) -> BoxedStrategy<String> {
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
