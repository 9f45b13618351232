//! Bindings on disk: `PORT.xml`, readable as libvirt's `<filterbindingstatus>`. One that cannot be
//! read concerns its port alone, and is never removed or replaced unless somebody asks for that.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use crate::{
    diag::{Diagnostic, SourceFile},
    format::format_binding,
    model::Binding,
    parse::parse_binding,
    xml::Limits,
};

use super::file;

/// Longest name of a device (`IFNAMSIZ` of `linux/if.h`, less the final zero).
const LONGEST_PORT: usize = 15;

/// The directory of bindings.
#[derive(Debug)]
pub(super) struct BindingFiles {
    directory: PathBuf,
}

impl BindingFiles {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// All bindings by port, and for each that cannot be used why.
    pub(super) fn load(&self) -> io::Result<BTreeMap<String, Result<Binding, String>>> {
        let mut bindings = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if let Some(port) = name.strip_suffix(".xml")
                && is_port(port)
            {
                bindings.insert(port.to_owned(), self.read(port));
            }
        }
        Ok(bindings)
    }

    fn read(&self, port: &str) -> Result<Binding, String> {
        let path = self.path(port);
        let name = path.display().to_string();
        let text = file::read(&path, Limits::default().bytes)
            .map_err(|error| format!("{name}: {error}"))?;
        let (binding, found) = parse_binding(&text);
        let Some(binding) = binding else {
            let file = SourceFile::new(name.as_str(), text.as_str());
            return Err(match found.iter().find(|found| found.is_error()) {
                Some(first) => place(&file, first),
                None => format!("{name}: not a binding"),
            });
        };
        if binding.port != port {
            return Err(format!(
                "{name}: holds the binding of `{}`; the name must be that of the file",
                binding.port
            ));
        }
        Ok(binding)
    }

    /// Saves a binding. When this returns, it is on disk.
    pub(super) fn save(&self, binding: &Binding) -> io::Result<()> {
        let text = format!(
            "<filterbindingstatus>\n{}</filterbindingstatus>\n",
            format_binding(binding)
        );
        file::write(&self.path(&binding.port), text.as_bytes())
    }

    /// Removes the binding of a port, also one that cannot be used.
    pub(super) fn remove(&self, port: &str) -> io::Result<()> {
        file::remove(&self.path(port))
    }

    fn path(&self, port: &str) -> PathBuf {
        self.directory.join(format!("{port}.xml"))
    }
}

/// Whether a device may have that name (`dev_valid_name` of the kernel's `net/core/dev.c`), and a
/// file too. Names that begin with a dot are left to temporary files.
pub(super) fn is_port(name: &str) -> bool {
    let allowed = |c: char| !matches!(c, '/' | ':') && !c.is_whitespace() && !c.is_control();
    !name.is_empty()
        && name.len() <= LONGEST_PORT
        && !name.starts_with('.')
        && name.chars().all(allowed)
}

/// A finding in one line.
pub(super) fn place(file: &SourceFile, found: &Diagnostic) -> String {
    let position = file.position(found.primary.span.start);
    let expected = found.expected.as_ref();
    let expected = expected.map_or_else(String::new, |expected| format!(", expected {expected}"));
    format!(
        "{}:{}:{}: {}{expected}",
        file.name(),
        position.line,
        position.column,
        found.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: &str = "<filterbinding><owner><name>vm</name>\
        <uuid>fce8ae33-e69e-83bf-262e-30786c1f8072</uuid></owner><portdev name='vm1'/>\
        <mac address='52:54:00:00:00:01'/><filterref filter='clean-traffic'>\
        <parameter name='IP' value='10.0.0.1'/></filterref></filterbinding>";

    #[test]
    fn a_saved_binding_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let files = BindingFiles::new(directory.path().to_owned());
        let binding = parse_binding(BINDING).0.unwrap();
        files.save(&binding).unwrap();
        let text = fs::read_to_string(directory.path().join("vm1.xml")).unwrap();
        assert!(text.starts_with("<filterbindingstatus>\n<filterbinding>"));
        let loaded = files.load().unwrap();
        assert_eq!(loaded["vm1"], Ok(binding));
        files.remove("vm1").unwrap();
        assert!(files.load().unwrap().is_empty());
    }

    #[test]
    fn torn_empty_and_misnamed_files_concern_their_ports_alone() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("vm1.xml", BINDING);
        write("vm2.xml", BINDING);
        write("empty.xml", "");
        write("torn.xml", &BINDING[..BINDING.len() / 2]);
        fs::create_dir(directory.path().join("dir.xml")).unwrap();
        write(".vm3.xml.new", BINDING);
        write("README", "not a binding");
        let loaded = BindingFiles::new(directory.path().to_owned())
            .load()
            .unwrap();
        let names: Vec<_> = loaded.keys().map(String::as_str).collect();
        assert_eq!(names, ["dir", "empty", "torn", "vm1", "vm2"]);
        assert!(loaded["vm1"].is_ok());
        for (name, reason) in [
            ("dir", "regular"),
            ("vm2", "`vm1`"),
            ("torn", "torn.xml:1:"),
        ] {
            let error = loaded[name].as_ref().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(loaded["empty"].is_err());
    }

    #[test]
    fn names_that_no_device_has_are_no_ports() {
        for name in ["vm1", "eth0.100", "ünnamed"] {
            assert!(is_port(name), "{name}");
        }
        for name in ["", ".", "..", ".x", "a/b", "a b", "a:b", "sixteen-bytes-xx"] {
            assert!(!is_port(name), "{name}");
        }
    }
}
