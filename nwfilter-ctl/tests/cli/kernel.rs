//! `explain --kernel`: the program in the kernel says what the engine in userspace says.

use crate::{
    CLEAN_TRAFFIC, Documents, Ran, binding,
    frame::{IP, MAC, OTHER_IP, OTHER_MAC, arp, ethernet, hex, udp},
    run,
};

/// Runs with `--kernel`; `None` where that cannot be.
pub(crate) fn in_kernel<'a>(args: impl IntoIterator<Item = &'a str>) -> Option<Ran> {
    let ran = run(args.into_iter().chain(["--kernel"]));
    if nix::unistd::geteuid().is_root() || !ran.stderr.contains("not permitted") {
        return Some(ran);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must run this as root: {ran:?}"
    );
    eprintln!("skipped: not root");
    None
}

/// The arguments to explain frames.
fn explain(binding: &str, directory: &str, frames: &[Vec<u8>]) -> Vec<String> {
    let mut args = ["--json", "explain", binding, "--filter-dir", directory]
        .map(str::to_owned)
        .to_vec();
    for frame in frames {
        args.extend(["--packet".into(), hex(frame)]);
    }
    args
}

/// Checks that both say the same.
fn agree(binding: &str, directory: &str, frames: &[Vec<u8>]) {
    let args = explain(binding, directory, frames);
    let Some(kernel) = in_kernel(args.iter().map(String::as_str)) else {
        return;
    };
    let user = run(&args);
    assert_eq!(kernel.stderr, "");
    assert_eq!(kernel.stdout, user.stdout);
    assert_eq!(kernel.status, user.status);
    assert_eq!(
        kernel.json()["frames"].as_array().unwrap().len(),
        frames.len()
    );
}

#[test]
fn clean_traffic() {
    let tagged = ethernet(MAC, [0xff; 6], 0x8100, &[0, 5, 8, 0, 0x45]);
    let frames = [
        arp(MAC, IP),
        arp(MAC, OTHER_IP),
        arp(OTHER_MAC, OTHER_IP),
        udp((MAC, IP), (OTHER_MAC, OTHER_IP), 53),
        udp((MAC, OTHER_IP), (OTHER_MAC, OTHER_IP), 53),
        udp((OTHER_MAC, OTHER_IP), (MAC, IP), 53),
        tagged,
    ];
    agree(CLEAN_TRAFFIC, "examples/filters", &frames);
}

#[test]
fn both_layers_and_all_reasons() {
    let documents = Documents::new(&[
        (
            "a.xml",
            "<filter name='a'>
               <rule action='reject' direction='out'><udp dstportstart='53'/></rule>
               <rule action='drop' direction='out'><udp dstportstart='54'/></rule>
               <rule action='accept' direction='out'><udp dstportstart='55'/></rule>
               <filterref filter='c'/>
             </filter>",
        ),
        (
            "c.xml",
            "<filter name='c' chain='arp-x'><rule action='drop' direction='out'>\
             <arp arpsrcipaddr='10.0.0.9'/></rule></filter>",
        ),
        ("binding.xml", &binding("a", "")),
    ]);
    let to = |port| udp((MAC, IP), (OTHER_MAC, OTHER_IP), port);
    let mut short = to(53);
    short.truncate(40);
    let frames = [
        to(53),
        to(54),
        to(55),
        to(56),
        short,
        arp(MAC, IP),
        arp(MAC, [10, 0, 0, 9]),
    ];
    agree(
        &documents.path("binding.xml"),
        documents.directory(),
        &frames,
    );
}

#[test]
fn a_frame_that_the_kernel_does_not_take_is_named() {
    let frames = [arp(MAC, IP), vec![0; 13], arp(MAC, OTHER_IP)];
    let args = explain(CLEAN_TRAFFIC, "examples/filters", &frames);
    let Some(ran) = in_kernel(args.iter().map(String::as_str)) else {
        return;
    };
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr
            .contains("frame 1 has 13 bytes and cannot be run"),
        "{}",
        ran.stderr
    );
    let document = ran.json();
    let indices: Vec<_> = document["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["index"])
        .collect();
    assert_eq!(indices, [0, 2]);
}
