//! Filters are changed in an editor, on a terminal.

use std::fs;

use nwfilter_tests::{need, terminal::Terminal};

use crate::{Host, NEEDS, OWN};

#[test]
fn an_editor_changes_a_filter() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.bind_web();
    assert!(!host.passes(OWN, 80));
    let edit = |editor: &str| {
        let arguments = ["edit", "web"];
        let output = host
            .site
            .run_with(&host.lan.host, &arguments, &[("VISUAL", editor)]);
        let output = output.unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), message)
    };
    assert_eq!(edit("true").0, Some(0));
    assert!(!host.passes(OWN, 80));
    assert_eq!(edit("sed -i s/80/81/").0, Some(0));
    assert!(host.passes(OWN, 80));
    assert!(!host.passes(OWN, 81));
    // Nobody is there to be asked for another try.
    let (status, message) = edit("sed -i s/drop/drup/");
    assert_eq!(status, Some(1));
    assert!(message.contains(".xml:3:"), "{message}");
    let (status, message) = edit("false");
    assert_eq!(status, Some(2));
    assert!(message.contains("editor"), "{message}");
    assert!(!host.passes(OWN, 81));
}

/// An editor that makes another mistake each time, until there is none left.
const CLUMSY: &str = r#"#!/bin/sh
echo edit >> "$EDITED"
case $(wc -l < "$EDITED") in
1) sed -i "s/'drop'/'drup'/" "$1";;
2) grep -q drup "$1" && echo '</filter>' >> "$1";;
*) sed -i "s/drup/drop/; s/80/81/; \$ d" "$1";;
esac
"#;

const QUESTION: &str = "edit again? [Y/n] ";

#[test]
fn somebody_who_edits_nonsense_is_asked_for_another_try() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.bind_web();
    let editor = format!("sh {}", host.file("editor", CLUMSY));
    let drafts = host.site.state().join("drafts");
    fs::create_dir(&drafts).unwrap();
    let edit = |terminal: &Terminal| {
        let edited = host.file("edited", "");
        let variables = [
            ("VISUAL", editor.as_str()),
            ("EDITED", &edited),
            ("TMPDIR", drafts.to_str().unwrap()),
        ];
        host.site
            .spawn_at(&host.lan.host, &["edit", "web"], &variables, terminal)
            .unwrap()
    };
    let no_drafts = || assert_eq!(fs::read_dir(&drafts).unwrap().count(), 0);

    // Who gives up has changed nothing. 4 is what ^D enters.
    for answer in ["n\n", "No\n", "\u{4}"] {
        let mut terminal = Terminal::open().unwrap();
        let mut editing = edit(&terminal);
        let said = terminal.expect(QUESTION).unwrap();
        assert!(said.contains(".xml:3:") && said.contains("drup"), "{said}");
        terminal.enter(answer).unwrap();
        assert_eq!(editing.wait().unwrap().code(), Some(1), "{answer:?}");
        no_drafts();
        assert!(!host.passes(OWN, 80) && host.passes(OWN, 81));
    }

    // Who does not finds the text as it was left.
    let mut terminal = Terminal::open().unwrap();
    let mut editing = edit(&terminal);
    terminal.expect(QUESTION).unwrap();
    assert!(!host.passes(OWN, 80) && host.passes(OWN, 81));
    terminal.enter("y\n").unwrap();
    let said = terminal.expect(QUESTION).unwrap();
    assert!(said.contains("error: "), "{said}");
    terminal.enter("\n").unwrap();
    terminal.expect("filter web changed").unwrap();
    assert_eq!(editing.wait().unwrap().code(), Some(0));
    no_drafts();
    assert!(host.passes(OWN, 80) && !host.passes(OWN, 81));
}
