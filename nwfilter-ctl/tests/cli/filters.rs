//! `list` and `dumpxml` of a directory, and the choice between built-in filters.

use std::fs;

use serde_json::Value;

use crate::{CLEAN_TRAFFIC, Documents, run};

/// A RARP reply about the VM itself, which is not how QEMU announces one.
const RARP_REPLY: &str = "ffffffffffff5254000000018035\
                          00010800060400045254000000010a0000015254000000010a000001";

/// The row of a filter in what `list` prints.
fn row<'a>(listed: &'a str, name: &str) -> &'a str {
    let has_name = |line: &&str| line.split_whitespace().nth(1) == Some(name);
    listed.lines().find(has_name).unwrap()
}

#[test]
fn list_tells_files_from_built_in_filters() {
    let documents = Documents::new(&[
        ("clean-traffic.xml", "<filter name='clean-traffic'/>"),
        ("mine.xml", "<filter name='mine'/>"),
        ("torn.xml", "<filter name='torn'"),
    ]);
    let args = ["list", "--filter-dir", documents.directory()];
    let listed = run(args);
    assert_eq!((listed.status, listed.stderr.as_str()), (0, ""));
    assert!(row(&listed.stdout, "allow-arp").ends_with("built in"));
    // A file wins against the built-in filter of its name.
    assert!(row(&listed.stdout, "clean-traffic").ends_with("clean-traffic"));
    assert!(row(&listed.stdout, "mine").ends_with("mine"));
    assert!(row(&listed.stdout, "torn").contains("torn.xml:1:"));

    let json = run([&["--json"], &args[..]].concat()).json();
    let filters = json["filters"].as_array().unwrap();
    // The 24 built-in ones, one of them replaced, and two more.
    assert_eq!(filters.len(), 26);
    let builtin = |filter: &&Value| filter["builtin"] == true;
    assert_eq!(filters.iter().filter(builtin).count(), 23);
}

#[test]
fn dumpxml_writes_libvirts_normal_form() {
    let uuid = "5c6d49af-b071-6127-b4ec-6f8ed4b55335";
    let text = format!(
        "<filter name='mine' chain='ipv4'><uuid>{uuid}</uuid><rule direction='in' action='drop'>\
         <tcp dstportstart='0x50' srcipaddr='010.1'/></rule></filter>"
    );
    let documents = Documents::new(&[("mine.xml", &text)]);
    let dump = |filter: &str| run(["dumpxml", filter, "--filter-dir", documents.directory()]);
    let expected = format!(
        "<filter name='mine' chain='ipv4' priority='-700'>\n  <uuid>{uuid}</uuid>\n  \
         <rule action='drop' direction='in' priority='500'>\n    \
         <tcp srcipaddr='8.0.0.1' dstportstart='0x50'/>\n  </rule>\n</filter>\n"
    );
    for by in ["mine", uuid, &uuid.to_uppercase()] {
        let dumped = dump(by);
        assert_eq!(
            (dumped.status, dumped.stdout),
            (0, expected.clone()),
            "{by}"
        );
    }

    let missing = dump("yours");
    assert_eq!(missing.status, 2);
    assert_eq!(missing.stderr, "error: there is no filter `yours`\n");
    fs::write(documents.path("mine.xml"), "<filter name='mine'").unwrap();
    let torn = dump("mine");
    assert_eq!(torn.status, 1);
    assert!(torn.stderr.contains("mine.xml:1:"), "{}", torn.stderr);
}

#[test]
fn builtins_chooses_whose_clean_traffic_it_is() {
    let verdict = |more: &[&str]| {
        let args = [
            "explain",
            CLEAN_TRAFFIC,
            "--direction",
            "out",
            "--packet",
            RARP_REPLY,
        ];
        let ran = run([&args[..], more].concat());
        ran.stdout.lines().last().unwrap().to_owned()
    };
    // Where a chain ends, a frame passes; only the older filter has a rule against other RARP.
    assert_eq!(verdict(&[]), "0 accepted, 1 dropped");
    assert_eq!(verdict(&["--builtins", "11"]), "0 accepted, 1 dropped");
    assert_eq!(verdict(&["--builtins", "12.8"]), "1 accepted, 0 dropped");
    let compile = |builtins| run(["compile", CLEAN_TRAFFIC, "--builtins", builtins]).stdout;
    assert_ne!(compile("11"), compile("12.8"));

    let documents = Documents::new(&[]);
    let dump = |builtins| {
        let directory = documents.directory();
        let args = ["dumpxml", "clean-traffic", "--filter-dir", directory];
        run([&args[..], &["--builtins", builtins]].concat()).stdout
    };
    assert!(dump("11").contains("filter='qemu-announce-self'"));
    assert!(dump("12.8").contains("filter='qemu-announce-self-rarp'"));
}
