//! What the built-in filters and the examples resolve to, against golden files. `BLESS=1` rewrites
//! the files; what they say is then to be compared with section 7 of the semantics reference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use nwfilter_ctl::builtin::{self, Flavour};
use nwfilter_ctl::model::{Binding, Parameters, Semantics};
use nwfilter_ctl::parse::parse_binding;
use nwfilter_ctl::resolve::{FilterDir, FilterSource, resolve};
use uuid::Uuid;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Compares with a golden file, line by line.
fn compare(file: &str, actual: &str) {
    let path = root().join("tests/golden").join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(expected, actual, "{file}:{}", number + 1);
    }
    assert_eq!(expected.lines().count(), actual.lines().count(), "{file}");
}

/// A binding of a filter that gives every variable a value.
fn binding(filter: &str) -> Binding {
    let ipv6 = filter.contains("v6");
    let parameters = [
        ("IP", vec!["192.0.2.1", "192.0.2.2"]),
        ("IPV6", vec!["2001:db8::1"]),
        (
            "DHCPSERVER",
            vec![if ipv6 { "2001:db8::67" } else { "192.0.2.67" }],
        ),
        ("GATEWAY_MAC", vec!["52:54:00:00:00:fe"]),
    ];
    let parameters = parameters.into_iter().map(|(name, values)| {
        (
            name.to_owned(),
            values.into_iter().map(Into::into).collect(),
        )
    });
    Binding {
        owner_name: "vm".into(),
        owner_uuid: Uuid::nil(),
        port: "vnet0".into(),
        link: None,
        mac: "52:54:00:00:00:01".parse().unwrap(),
        filter: filter.into(),
        parameters: Parameters(parameters.collect()),
    }
}

fn dump(
    out: &mut String,
    title: &str,
    binding: &Binding,
    filters: &dyn FilterSource,
    semantics: Semantics,
) {
    let resolved = resolve(binding, filters, semantics).unwrap();
    writeln!(out, "== {title}").unwrap();
    for instance in &resolved.instances {
        writeln!(out, "{instance}").unwrap();
    }
    for warning in &resolved.warnings {
        writeln!(out, "warning: {warning}").unwrap();
    }
}

#[test]
fn built_in_filters_resolve_to_the_reference() {
    for semantics in [Semantics::Strict, Semantics::Libvirt] {
        let filters = FilterDir::builtin(Flavour::V11, semantics);
        let mut out = String::new();
        for name in builtin::names() {
            dump(&mut out, name, &binding(name), &filters, semantics);
        }
        compare("resolved-builtin.txt", &out);
    }
}

#[test]
fn the_newer_flavour_lets_other_rarp_through() {
    let filters = FilterDir::builtin(Flavour::V12_8, Semantics::Strict);
    let mut out = String::new();
    for name in ["clean-traffic", "clean-traffic-gateway"] {
        dump(&mut out, name, &binding(name), &filters, Semantics::Strict);
    }
    compare("resolved-builtin-12.8.txt", &out);
}

#[test]
fn built_in_filters_give_no_warning_and_name_their_own_line() {
    let filters = FilterDir::builtin(Flavour::V11, Semantics::Strict);
    for listed in filters.list() {
        let filter = listed.filter.unwrap();
        assert_eq!(filter.filter().uuid, None, "{}", listed.name);
        assert!(
            listed.warnings.is_empty(),
            "{}: {:?}",
            listed.name,
            listed.warnings
        );
        let resolved = resolve(&binding(listed.name), &filters, Semantics::Strict).unwrap();
        for instance in &resolved.instances {
            let source = &resolved.filters[&instance.origin.filter];
            let line = source
                .text()
                .lines()
                .nth(instance.origin.line as usize - 1)
                .unwrap();
            assert!(line.contains("<rule"), "{instance}: {line}");
        }
    }
}

/// The bindings of the examples, by name.
fn examples() -> BTreeMap<String, Binding> {
    let directory = root().join("../examples/bindings");
    let read = |path: PathBuf| {
        let (binding, found) = parse_binding(&fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, binding.unwrap())
    };
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| read(file.unwrap().path())).collect()
}

#[test]
fn examples_resolve_to_what_their_comments_say() {
    for (semantics, file) in [
        (Semantics::Strict, "resolved-examples.txt"),
        (Semantics::Libvirt, "resolved-examples-libvirt.txt"),
    ] {
        let directory = root().join("../examples/filters");
        let filters = FilterDir::load(&directory, Flavour::V11, semantics).unwrap();
        let mut out = String::new();
        for (name, binding) in examples() {
            dump(&mut out, &name, &binding, &filters, semantics);
        }
        compare(file, &out);
    }
}

#[test]
fn every_example_has_a_binding_and_replaces_no_built_in_filter() {
    let directory = root().join("../examples/filters");
    let filters = FilterDir::load(&directory, Flavour::V11, Semantics::Strict).unwrap();
    let mut own = Vec::new();
    for listed in filters.list() {
        if listed.filter.unwrap().path().is_some() {
            let found = listed.warnings;
            assert!(found.is_empty(), "{}: {found:?}", listed.name);
            own.push(listed.name);
        }
    }
    let bound = examples();
    assert!(
        bound.keys().map(String::as_str).eq(own.iter().copied()),
        "{own:?}"
    );
    assert!(bound.iter().all(|(name, binding)| *name == binding.filter));
    assert!(
        own.iter()
            .all(|name| builtin::builtin(name, Flavour::V11).is_none())
    );
}
