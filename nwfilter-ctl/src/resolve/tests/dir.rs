//! Directories of filters over the built-in ones.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tempfile::TempDir;

use super::binding;
use crate::builtin::{self, Flavour};
use crate::model::Semantics;
use crate::resolve::{FilterDir, FilterSource, ResolveError, SourceError, resolve};

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn load(directory: &Path) -> FilterDir {
    FilterDir::load(directory, Flavour::default(), Semantics::Strict).unwrap()
}

#[test]
fn an_empty_directory_has_the_built_in_filters() {
    let filters = load(directory(&[]).path());
    let names: Vec<_> = filters
        .list()
        .map(|listed| listed.name.to_owned())
        .collect();
    assert!(names.iter().map(String::as_str).eq(builtin::names()));
    for listed in filters.list() {
        let filter = listed.filter.unwrap();
        assert_eq!(filter.path(), None);
        assert_eq!(&**filter.name(), listed.name);
        assert_eq!(
            Some(&**filter.text()),
            builtin::builtin(listed.name, Flavour::V11)
        );
    }
}

#[test]
fn the_flavour_is_a_setting() {
    let text = |flavour| {
        let filters = FilterDir::builtin(flavour, Semantics::Strict);
        filters.get("clean-traffic").unwrap().text().to_string()
    };
    assert!(text(Flavour::V11).contains("'qemu-announce-self'"));
    assert!(text(Flavour::V12_8).contains("'qemu-announce-self-rarp'"));
}

#[test]
fn a_file_wins_over_the_built_in_filter_of_its_name() {
    let mine =
        "<filter name='allow-arp' chain='arp'>\n<rule action='drop' direction='in'/></filter>";
    let directory = directory(&[
        ("allow-arp.xml", mine),
        ("mine.xml", "<filter name='mine'/>"),
    ]);
    let filters = load(directory.path());
    assert_eq!(filters.list().len(), 25);
    let filter = filters.get("allow-arp").unwrap();
    assert_eq!(&**filter.text(), mine);
    assert_eq!(
        filter.path(),
        Some(directory.path().join("allow-arp.xml").as_path())
    );
    assert_eq!(filter.filter().entries.len(), 1);
    assert!(filters.get("mine").unwrap().path().is_some());
    assert!(filters.get("allow-ipv4").unwrap().path().is_none());
    assert!(matches!(filters.get("nosuch"), Err(SourceError::Missing)));
}

#[test]
fn a_bad_file_is_an_error_of_its_own_filter_only() {
    let directory = directory(&[
        (
            "top.xml",
            "<filter name='top'><filterref filter='broken'/></filter>",
        ),
        (
            "broken.xml",
            "<filter name='broken'>\n  <rule action='drop' direction='up'/>\n</filter>",
        ),
        ("other.xml", "<filter name='another'/>"),
        ("allow-arp.xml", "<filter"),
        ("fine.xml", "<filter name='fine'/>"),
    ]);
    fs::write(
        directory.path().join("latin.xml"),
        b"<filter name='latin'>\xe9</filter>",
    )
    .unwrap();
    let filters = load(directory.path());
    let error = |name| filters.get(name).unwrap_err().to_string();
    let path = |name: &str| directory.path().join(name).display().to_string();

    assert!(
        error("broken").starts_with(&format!("{}:2:", path("broken.xml"))),
        "{}",
        error("broken")
    );
    assert_eq!(
        error("other"),
        format!(
            "{}: holds a filter named `another`; the name must be that of the file",
            path("other.xml")
        )
    );
    assert!(error("latin").contains("UTF-8"), "{}", error("latin"));
    assert!(matches!(filters.get("another"), Err(SourceError::Missing)));
    // The built-in filter does not step in for a broken file: that would be another filter than
    // the operator wrote.
    assert!(matches!(
        filters.get("allow-arp"),
        Err(SourceError::Invalid { .. })
    ));
    assert!(filters.get("fine").is_ok());

    let failed = resolve(&binding(""), &filters, Semantics::Strict).unwrap_err();
    let ResolveError::Filter {
        name,
        error: SourceError::Invalid { .. },
        path,
    } = &failed
    else {
        panic!("{failed}");
    };
    assert_eq!((name.as_str(), path.0.len()), ("broken", 1));
}

#[test]
fn warnings_of_the_parser_are_kept() {
    let directory = directory(&[("odd.xml", "<filter name='odd' colour='red'/>")]);
    let filters = load(directory.path());
    let odd = filters.list().find(|listed| listed.name == "odd").unwrap();
    assert!(odd.filter.is_ok());
    assert_eq!(odd.warnings.len(), 1);
}

#[test]
fn other_files_are_not_looked_at() {
    let directory = directory(&[
        (".hidden.xml", "<"),
        (".xml", "<"),
        ("mine.xml.tmp", "<"),
        ("mine.xml~", "<"),
        ("README.md", "<"),
    ]);
    fs::create_dir(directory.path().join("sub.xml")).unwrap();
    assert_eq!(load(directory.path()).list().len(), 24);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own_filter_only() {
    let directory = directory(&[]);
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling.xml")).unwrap();
    let pipe = directory.path().join("pipe.xml");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let odd = OsStr::from_bytes(b"odd\xff.xml");
    fs::write(directory.path().join(odd), "<filter name='odd'/>").unwrap();
    let filters = load(directory.path());
    for name in ["dangling", "pipe"] {
        let error = filters.get(name).unwrap_err();
        assert!(matches!(error, SourceError::Unreadable { .. }), "{error}");
    }
    // No text can name this file.
    assert!(matches!(
        filters.get("odd\u{fffd}"),
        Err(SourceError::Misnamed { .. })
    ));
    assert!(filters.get("clean-traffic").is_ok());
}

#[test]
fn a_file_that_is_too_large_is_refused_without_reading_all_of_it() {
    let directory = directory(&[]);
    let file = fs::File::create(directory.path().join("large.xml")).unwrap();
    // Sparse; 1 TiB would not fit into memory.
    file.set_len(1 << 40).unwrap();
    let error = load(directory.path()).get("large").unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let directory = directory(&[]);
    let missing = directory.path().join("missing");
    assert!(FilterDir::load(&missing, Flavour::default(), Semantics::Strict).is_err());
}

#[test]
fn the_message_names_the_first_error_and_counts_the_rest() {
    let directory = directory(&[(
        "top.xml",
        "<filter name='top'>\n  <rule action='drop' direction='up'/>\n  \
         <rule action='drop' direction='down'/>\n</filter>",
    )]);
    let text = load(directory.path()).get("top").unwrap_err().to_string();
    assert!(text.contains("top.xml:2:"), "{text}");
    assert!(text.contains(", expected "), "{text}");
    assert!(text.ends_with("(and another error)"), "{text}");
}
