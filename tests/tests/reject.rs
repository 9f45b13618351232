//! `reject`: real sockets get an error at once, in both directions, and not too many.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::Instant,
};

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    kernel::{AttachMode, Change, Datapath, Options},
    model::Semantics,
    parse::parse_filter,
    prepare::{Prepared, prepare},
    resolve::LoadedFilter,
};
use nwfilter_tests::{
    bind::binding,
    frame::{Ethernet, Ipv4, Udp},
    need::{self, Need},
    net::{Endpoint as _, FarEnd, NetNs, PATIENCE, Tap, uninterrupted},
};

const NEEDS: [Need; 2] = [Need::NetworkNamespace, Need::Program("ip")];
const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

fn filter(rules: &str) -> Prepared {
    let xml = format!("<filter name='main'>{rules}</filter>");
    let (filter, found) = parse_filter(&xml, Semantics::Strict);
    let filter = filter.unwrap_or_else(|| panic!("{found:?}"));
    let loaded = Arc::new(LoadedFilter::new(filter, xml.as_str(), None));
    let filters = BTreeMap::from([("main".to_owned(), loaded)]);
    prepare(
        &binding("vnet0", MAC, "main", &[]),
        &filters,
        Semantics::Strict,
    )
    .unwrap()
}

/// Rejects ports 1000 to 1999 in one direction.
fn rejecting(direction: &str) -> Prepared {
    let rule = |element| {
        format!(
            "<rule action='reject' direction='{direction}'>\
             <{element} dstportstart='1000' dstportend='1999'/></rule>"
        )
    };
    filter(&["udp", "tcp", "udp-ipv6", "tcp-ipv6"].map(rule).concat())
}

/// A VM behind a veth whose other end has addresses, too.
struct Bench {
    host: NetNs,
    vm: NetNs,
}

const HOST: [&str; 2] = ["10.0.0.254", "fd00::fe"];
const VM: [&str; 2] = ["10.0.0.1", "fd00::1"];

impl Bench {
    fn new() -> Self {
        let (host, vm) = (NetNs::new().unwrap(), NetNs::new().unwrap());
        let end = FarEnd {
            namespace: &vm,
            name: "eth0",
            mac: MAC,
        };
        host.veth("vnet0", &end).unwrap();
        for (namespace, link, [v4, v6]) in [(&host, "vnet0", HOST), (&vm, "eth0", VM)] {
            namespace.address(link, &format!("{v4}/24")).unwrap();
            namespace.address(link, &format!("{v6}/64")).unwrap();
        }
        Self { host, vm }
    }

    fn bind(&self, prepared: &Prepared, options: Options) -> Datapath {
        self.host.run(|| {
            let mut datapath = Datapath::open(options).unwrap();
            let change = Change::Bind(prepared.bind("vnet0"));
            datapath.apply(&[change]).unwrap();
            datapath
        })
    }
}

fn any(to: SocketAddr) -> SocketAddr {
    let any: IpAddr = if to.is_ipv4() {
        [0; 4].into()
    } else {
        [0_u16; 8].into()
    };
    (any, 0).into()
}

/// Sends a datagram and waits for what comes back: whether it was refused.
fn is_refused(to: SocketAddr, payload: &[u8]) -> bool {
    let socket = UdpSocket::bind(any(to)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket.send(payload).unwrap();
    let received = uninterrupted(|| socket.recv(&mut [0; 9]));
    received.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn senders_on_both_sides_are_refused() {
    if !need::met(&NEEDS) {
        return;
    }
    for attach in [AttachMode::Auto, AttachMode::Clsact] {
        for direction in ["out", "in"] {
            let bench = Bench::new();
            let options = Options {
                attach,
                ..Options::default()
            };
            let datapath = bench.bind(&rejecting(direction), options);
            let (sender, addresses) = match direction {
                "out" => (&bench.vm, HOST),
                _ => (&bench.host, VM),
            };
            sender.run(|| {
                for address in addresses {
                    let to = SocketAddr::new(address.parse().unwrap(), 1234);
                    let what = format!("{attach:?}, {direction}, to {to}");
                    for length in [0, 3, 1000] {
                        assert!(is_refused(to, &vec![7; length]), "{what}, {length} bytes");
                    }
                    let refused = TcpStream::connect_timeout(&to, PATIENCE).unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{what}");
                }
            });
            let answers = bench.host.run(|| datapath.answers("vnet0")).unwrap();
            assert!(answers.sent >= 8, "{answers:?}");
            assert_eq!(answers.suppressed, 0);
        }
    }
}

#[test]
fn answers_are_limited() {
    if !need::met(&NEEDS) {
        return;
    }
    let bench = Bench::new();
    let options = Options {
        answers: Some(0),
        ..Options::default()
    };
    let datapath = bench.bind(&rejecting("out"), options);
    let socket = bench.vm.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((HOST[0], 1234)).unwrap();
        for _ in 0..5 {
            socket.send(b"hello").unwrap();
        }
        socket
    });
    // They may still wait for the host's address.
    let start = Instant::now();
    let answers = loop {
        let answers = bench.host.run(|| datapath.answers("vnet0")).unwrap();
        if answers.sent + answers.suppressed >= 5 || start.elapsed() > PATIENCE {
            break answers;
        }
    };
    assert_eq!((answers.sent, answers.suppressed), (0, 5));
    drop(socket);
}

#[test]
fn what_gets_no_answer_is_dropped_silently() {
    if !need::met(&[NEEDS[0], NEEDS[1], Need::File("/dev/net/tun")]) {
        return;
    }
    let host = NetNs::new().unwrap();
    let tap = Tap::new(&host, "vnet0").unwrap();
    let prepared = filter(
        "<rule action='reject' direction='out'><ip protocol='udp' dstportstart='5'/></rule>\
         <rule action='reject' direction='out'><all/></rule>",
    );
    let mut datapath = host.run(|| Datapath::open(Options::default())).unwrap();
    host.run(|| datapath.apply(&[Change::Bind(prepared.bind("vnet0"))]))
        .unwrap();
    let ethernet = Ethernet::new(MAC, MacAddr([2, 0, 0, 0, 0, 9]));
    let frame = |to: [u8; 4], port| {
        ethernet
            .clone()
            .ipv4(&Ipv4::new([10, 0, 0, 1], to), &Udp::new(1, port, *b"hello"))
    };
    let peer = [10, 0, 0, 9];
    let silent = [
        ("by the Ethernet layer", frame(peer, 5)),
        ("multicast", frame([224, 0, 0, 9], 6)),
        ("broadcast", frame([255; 4], 6)),
    ];
    for (what, silent) in silent {
        tap.send(&silent).unwrap();
        let loud = frame(peer, 7);
        tap.send(&loud).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let answer = tap.receive(deadline).unwrap().expect("an answer");
        assert_eq!(answer[14 + 20..][..2], [3, 3], "{what}");
        let words = (loud.len() - 14) / 4;
        assert_eq!(answer[14 + 28..], loud[14..14 + words * 4], "{what}");
    }
    let answers = host.run(|| datapath.answers("vnet0")).unwrap();
    assert_eq!((answers.sent, answers.suppressed), (3, 0));
}
