//! What is wrong with documents, files and arguments is said with its place, and in the exit status.

use std::{fs::File, io::Write};

use crate::{CLEAN_TRAFFIC, Documents, Ran, binding, run};

/// Runs `compile` on `binding.xml` among the documents.
fn compile(documents: &Documents) -> Ran {
    run([
        "compile",
        &documents.path("binding.xml"),
        "--filter-dir",
        documents.directory(),
    ])
}

/// Checks that a binding is refused, what is said, and where.
fn refused(documents: &[(&str, &str)], place: &str, expected: &[&str]) {
    let documents = Documents::new(documents);
    let ran = compile(&documents);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    let place = if place.starts_with("built-in") {
        place.into()
    } else {
        documents.path(place)
    };
    assert!(
        ran.stderr.contains(&format!("--> {place}\n")),
        "{place}\n{}",
        ran.stderr
    );
    for expected in expected {
        assert!(ran.stderr.contains(expected), "{expected}\n{}", ran.stderr);
    }

    // The same for machines.
    let (path, directory) = (documents.path("binding.xml"), documents.directory());
    let ran = run([
        "--json",
        "explain",
        &path,
        "--filter-dir",
        directory,
        "--packet",
        "00",
    ]);
    assert_eq!(ran.status, 1);
    let found = &ran.json()["diagnostics"][0];
    let primary = &found["primary"];
    let says = format!(
        "{}:{}:{}",
        found["file"].as_str().unwrap(),
        primary["line"],
        primary["column"]
    );
    assert_eq!(says, place);
}

#[test]
fn an_unknown_filter() {
    refused(
        &[("binding.xml", &binding("clean-trafic", ""))],
        "binding.xml:5:20",
        &[
            "there is no filter `clean-trafic`",
            "did you mean `clean-traffic`?",
        ],
    );
    refused(
        &[
            (
                "a.xml",
                "<filter name='a'>\n  <filterref filter='nope'/>\n</filter>",
            ),
            ("binding.xml", &binding("a", "")),
        ],
        "a.xml:2:3",
        &["there is no filter `nope`"],
    );
}

#[test]
fn a_reference_cycle() {
    refused(
        &[
            ("a.xml", "<filter name='a'><filterref filter='b'/></filter>"),
            (
                "b.xml",
                "<filter name='b'>\n<filterref filter='a'/></filter>",
            ),
            ("binding.xml", &binding("a", "")),
        ],
        "b.xml:2:1",
        &[
            "filter `a` refers to itself",
            "referenced by filter `a`, line 1",
        ],
    );
}

#[test]
fn a_bad_address() {
    refused(
        &[(
            "binding.xml",
            &binding(
                "clean-traffic",
                "\n<parameter name='IP' value='10.0.0.256'/>",
            ),
        )],
        "binding.xml:6:29",
        &[
            "`10.0.0.256`",
            "expected an IPv4 address",
            "no-ip-spoofing.xml:8",
        ],
    );
    // Given by a filter: that is where it is read.
    refused(
        &[
            (
                "a.xml",
                "<filter name='a'><filterref filter='b'><parameter name='X' value='nine'/></filterref></filter>",
            ),
            (
                "b.xml",
                "<filter name='b'>\n<rule action='drop' direction='in'><ip srcipaddr='$X'/></rule></filter>",
            ),
            ("binding.xml", &binding("a", "")),
        ],
        "b.xml:2:51",
        &["`nine`, value 0 of variable `X`, does not fit `srcipaddr`"],
    );
    refused(
        &[
            (
                "a.xml",
                "<filter name='a'>\n<rule action='drop' direction='in'><ip srcipaddr='10.0.0.256'/></rule></filter>",
            ),
            ("binding.xml", &binding("a", "")),
        ],
        "a.xml:2:51",
        &["10.0.0.256", "expected"],
    );
    let bad_mac = binding("clean-traffic", "").replace("00:01", "00:01:02");
    refused(
        &[("binding.xml", &bad_mac)],
        "binding.xml:4:15",
        &["expected"],
    );
}

#[test]
fn missing_variables() {
    refused(
        &[("binding.xml", &binding("clean-traffic", ""))],
        "built-in/no-ip-spoofing.xml:8:20",
        &["`$IP` has no value", "<parameter name='IP' value='...'/>"],
    );
    let documents = Documents::new(&[
        (
            "a.xml",
            "<filter name='a'>\n<rule action='drop' direction='in'>\
             <tcp srcipaddr='$A' dstportstart='$B[@1]'/></rule></filter>",
        ),
        ("binding.xml", &binding("a", "")),
    ]);
    let ran = compile(&documents);
    assert_eq!(ran.status, 1);
    for expected in ["`$A` has no value", "`$B[@1]` has no value"] {
        assert!(ran.stderr.contains(expected), "{expected}\n{}", ran.stderr);
    }
}

#[test]
fn lists_of_different_length() {
    refused(
        &[
            (
                "a.xml",
                "<filter name='a'>\n<rule action='drop' direction='in'>\
                 <tcp srcipaddr='$A' dstportstart='$B'/></rule></filter>",
            ),
            (
                "binding.xml",
                &binding(
                    "a",
                    "<parameter name='A' value='10.0.0.1'/><parameter name='A' value='10.0.0.2'/>\
                     <parameter name='B' value='80'/>",
                ),
            ),
        ],
        "a.xml:2:70",
        &["NWF0123"],
    );
}

#[test]
fn a_file_of_another_filter() {
    refused(
        &[
            ("a.xml", "<filter name='b'/>"),
            ("binding.xml", &binding("a", "")),
        ],
        "a.xml:1:15",
        &[
            "holds a filter named `b`",
            "expected `a`, the name of the file",
        ],
    );
}

#[test]
fn too_many_rules() {
    use std::fmt::Write as _;
    let mut parameters = String::new();
    for number in 0..400 {
        for name in ["A", "B"] {
            write!(parameters, "<parameter name='{name}' value='{number}'/>").unwrap();
        }
    }
    refused(
        &[
            (
                "a.xml",
                "<filter name='a'>\n<rule action='drop' direction='in'>\
                 <tcp srcportstart='$A[@1]' dstportstart='$B[@2]'/></rule></filter>",
            ),
            ("binding.xml", &binding("a", &parameters)),
        ],
        "a.xml:2:1",
        &["more than 100000 rules after expansion"],
    );
}

#[test]
fn a_document_of_another_kind() {
    refused(
        &[("binding.xml", "<filter name='a'/>")],
        "binding.xml:1:2",
        &["root element is `<filter>`", "expected `<filterbinding>`"],
    );
    let documents = Documents::new(&[("domain.xml", "<domain/>")]);
    let ran = run(["check", &documents.path("domain.xml")]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("domain.xml:1:2"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("expected `<filter>` or"),
        "{}",
        ran.stdout
    );
}

#[test]
fn documents_that_are_no_text_or_too_large() {
    let documents = Documents::new(&[]);
    let latin = documents.path("latin.xml");
    std::fs::write(&latin, b"<filter name='a'>\n<!-- caf\xe9 --></filter>").unwrap();
    let large = documents.path("large.xml");
    File::create(&large).unwrap().set_len(50 << 20).unwrap();
    for command in ["check", "compile"] {
        let ran = run([command, &latin]);
        let said = ran.stdout + &ran.stderr;
        assert_eq!(ran.status, 1, "{said}");
        assert!(
            said.contains("NWF0002") && said.contains("latin.xml:2:"),
            "{said}"
        );
        let ran = run([command, &large]);
        let said = ran.stdout + &ran.stderr;
        assert_eq!(ran.status, 1, "{said}");
        assert!(said.contains("the document has 52428800 bytes"), "{said}");
    }
}

#[test]
fn files_that_are_not_there() {
    for args in [
        &["check", "nope.xml"][..],
        &["compile", "nope.xml"],
        &["compile", CLEAN_TRAFFIC, "--filter-dir", "nope"],
        &["explain", "nope.xml", "--packet", "00"],
        &["explain", CLEAN_TRAFFIC, "--pcap", "nope"],
    ] {
        let ran = run(args);
        assert_eq!(ran.status, 2, "{args:?}");
        assert!(
            ran.stderr.starts_with("error: nope"),
            "{args:?} {}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("No such file"),
            "{args:?} {}",
            ran.stderr
        );
    }
    let document = run(["compile", "nope.xml", "--json"]).json();
    assert!(
        document["error"]
            .as_str()
            .unwrap()
            .starts_with("nope.xml: "),
        "{document}"
    );
}

#[test]
fn wrong_arguments() {
    for args in [
        &[][..],
        &["explain", CLEAN_TRAFFIC],
        &["explain", CLEAN_TRAFFIC, "--packet", "00", "--pcap", "x"],
        &[
            "explain",
            CLEAN_TRAFFIC,
            "--packet",
            "00",
            "--direction",
            "up",
        ],
        &["compile", CLEAN_TRAFFIC, "--semantics", "other"],
        &["compile"],
        &["frobnicate"],
    ] {
        let ran = run(args);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            ran.stderr.contains("Usage:") || ran.stderr.contains("--help"),
            "{}",
            ran.stderr
        );
    }
    let ran = run(["explain", CLEAN_TRAFFIC, "--packet", "52:54:0g"]);
    assert_eq!(ran.status, 2);
    assert_eq!(
        ran.stderr,
        "error: --packet 52:54:0g: character 8 is no hexadecimal digit\n"
    );
    for help in ["--help", "--version"] {
        assert_eq!(run([help]).status, 0);
    }
}

#[test]
fn check_and_explain_code_take_json_before_or_after() {
    for args in [
        ["--json", "check", CLEAN_TRAFFIC],
        ["check", CLEAN_TRAFFIC, "--json"],
    ] {
        let ran = run(args);
        assert_eq!((ran.status, &ran.json()["errors"]), (0, &0.into()));
    }
    let document = run(["explain-code", "NWF0120", "--json"]).json();
    assert_eq!(document["name"], "missing-filter");
    let ran = run(["explain-code", "mising-filter", "--json"]);
    let text = "there is no code `mising-filter`; did you mean `missing-filter`?";
    assert_eq!(ran.status, 2);
    assert_eq!(ran.stderr, format!("error: {text}\n"));
    assert_eq!(ran.json()["error"], text);
}

#[test]
fn warnings_are_findings_if_denied() {
    let documents = Documents::new(&[("a.xml", "<filter name='a' colour='red'/>")]);
    let path = documents.path("a.xml");
    assert_eq!(run(["check", &path]).status, 0);
    assert_eq!(run(["check", "--deny-warnings", &path]).status, 1);
    // All errors of all files.
    let mut file = File::create(documents.path("b.xml")).unwrap();
    file.write_all(
        b"<filter name='b'>\n<rule action='no' direction='in'/>\n<rule action='drop'/>\n</filter>",
    )
    .unwrap();
    let ran = run(["check", "--format", "short", documents.directory()]);
    assert_eq!(ran.status, 1);
    for place in ["a.xml:1:18", "b.xml:2:15", "b.xml:3:2"] {
        assert!(
            ran.stdout.contains(&documents.path(place)),
            "{place}\n{}",
            ran.stdout
        );
    }
}
