//! The program in the kernel, on real ports with real frames.

use std::path::PathBuf;

use nwfilter_common::MacAddr;
use nwfilter_ctl::{
    builtin::Flavour,
    kernel::{AttachMode, Change, Datapath, Options},
    model::{Binding, Semantics},
    parse::parse_binding,
    prepare::{Prepared, prepare},
    resolve::FilterDir,
};
use nwfilter_tests::{
    frame, need,
    net::{Direction, Lan},
};

#[test]
fn smoke() {
    let lan = Lan::new().unwrap();
    let mac: MacAddr = "52:54:00:00:00:01".parse().unwrap();
    let vm = lan.vm("vnet0", mac).unwrap();
    let text = "<filterbinding><owner><name>a</name><uuid>11111111-2222-3333-4444-555555555555</uuid></owner><portdev name='vnet0'/><mac address='52:54:00:00:00:01'/><filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.1'/></filterref></filterbinding>";
    let (binding, _) = parse_binding(text);
    let binding = binding.unwrap();
    let filters = FilterDir::builtin(Flavour::default(), Semantics::Strict);
    let prepared = prepare(&binding, &filters, Semantics::Strict).unwrap();
    println!(
        "{} words {} entries {:?}",
        prepared.compiled.image.used_words(),
        prepared.compiled.entries.len(),
        prepared.compiled.slots
    );
    let mut dp = lan.host.run(|| Datapath::open(Options::default())).unwrap();
    lan.host
        .run(|| dp.apply(&[Change::Bind(prepared.bind("vnet0"))]))
        .unwrap();
    println!("{:?}", dp.ports());
}
