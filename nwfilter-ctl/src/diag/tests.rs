//! Tests of the registry, of positions and of "did you mean".

use std::{collections::BTreeSet, env, fs, path::Path};

use super::{Code, SourceFile, closest, page};
use crate::model::Span;

/// With `BLESS=1` in the environment the page is written instead of compared.
#[test]
fn the_docs_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/diagnostics.md");
    if env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page()).unwrap();
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        current == page(),
        "docs/diagnostics.md is stale: run the test with BLESS=1"
    );
}

#[test]
fn codes_ascend_and_names_are_unique() {
    let numbers: Vec<_> = Code::ALL.iter().map(|code| *code as u16).collect();
    assert!(numbers.is_sorted());
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn every_code_is_explained_with_an_example() {
    for code in Code::ALL {
        let text = code.explanation();
        assert!(text.contains("```"), "{code} {}", code.name());
        assert!(text.ends_with('\n'), "{code}");
        assert!(text.len() > 100, "{code} {}", code.name());
    }
}

#[test]
fn codes_are_found_by_number_and_name() {
    for text in [
        "NWF0021",
        "nwf0021",
        "21",
        "0021",
        "illegal-value",
        "Illegal-Value",
    ] {
        assert_eq!(Code::find(text), Some(Code::IllegalValue), "{text}");
    }
    assert_eq!(Code::find("NWF9999"), None);
    assert_eq!(Code::find(""), None);
}

#[test]
fn positions_count_lines_and_characters() {
    let file = SourceFile::new("f", "a\né€b\n");
    let at = |offset| {
        let position = file.position(offset);
        (position.line, position.column)
    };
    assert_eq!(at(0), (1, 1));
    assert_eq!(at(1), (1, 2));
    assert_eq!(at(2), (2, 1));
    assert_eq!(at(7), (2, 3));
    // Inside a character counts as its start, beyond the end as the end.
    assert_eq!(at(3), (2, 1));
    assert_eq!(at(100), (3, 1));
    assert_eq!(file.range(Span { start: 3, end: 200 }), 2..9);
}

#[test]
fn columns_of_long_lines() {
    let file = SourceFile::new("f", format!("{}\nx{}y", "é".repeat(3000), "€".repeat(5000)));
    let end = file.position(file.text().len());
    assert_eq!((end.line, end.column), (2, 5003));
    let middle = file.position(6001 + 1 + 3 * 2000);
    assert_eq!((middle.line, middle.column), (2, 2002));
    assert_eq!(file.lines_of(&(6005..6006)), 6001..file.text().len());
    assert_eq!(file.lines_of(&(10..10)), 0..6000);
}

#[test]
fn did_you_mean() {
    let known = ["srcportstart", "srcportend", "dscp"];
    assert_eq!(closest("srcportstrat", known), Some("srcportstart"));
    assert_eq!(closest("SrcPortStart", known), Some("srcportstart"));
    assert_eq!(closest("dcsp", known), Some("dscp"));
    assert_eq!(closest("protocol", known), None);
    assert_eq!(closest(&"a".repeat(100_000), known), None);
}
