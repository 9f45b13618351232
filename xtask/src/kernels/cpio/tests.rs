//! Archives byte by byte. That kernels read them is shown by every guest that starts.

use super::*;

/// The fields of one entry: name, mode, content, and what follows it.
fn read(bytes: &[u8]) -> (&str, u32, &[u8], &[u8]) {
    let (header, rest) = bytes.split_at(110);
    let header = str::from_utf8(header).unwrap();
    assert_eq!(&header[..6], "070701");
    let number = |index: usize| {
        let digits = &header[6 + 8 * index..][..8];
        usize::from_str_radix(digits, 16).unwrap()
    };
    let (mode, size, name_size) = (number(1), number(6), number(11));
    let name = str::from_utf8(&rest[..name_size - 1]).unwrap();
    assert_eq!(rest[name_size - 1], 0);
    let content = (110 + name_size).next_multiple_of(4);
    let end = (content + size).next_multiple_of(4);
    (
        name,
        u32::try_from(mode).unwrap(),
        &bytes[content..content + size],
        &bytes[end..],
    )
}

#[test]
fn an_entry_has_the_bytes_of_the_format() {
    let mut archive = Archive::default();
    archive.program("/init", b"#!").unwrap();
    let bytes = archive.finish().unwrap();
    let mut expected = Vec::new();
    // Inode, mode, user, group, links, time, size, four halves of devices, length of the name, check.
    for text in [
        "070701", "00000001", "000081ed", "00000000", "00000000", "00000001", "00000000",
        "00000002", "00000000", "00000000", "00000000", "00000000", "00000006", "00000000",
        "init\0", "\0", "#!\0\0",
    ] {
        expected.extend_from_slice(text.as_bytes());
    }
    assert_eq!(expected.len(), 120);
    assert_eq!(&bytes[..120], expected);
    assert_eq!(read(&bytes[120..]), (TRAILER, 0, &[][..], &[][..]));
    assert_eq!(bytes.len() % 4, 0);
}

#[test]
fn directories_come_once_and_before_what_they_hold() {
    let mut archive = Archive::default();
    archive.file("/a/b/data", b"12345").unwrap();
    archive.directory("/a/c").unwrap();
    archive.directory("/a").unwrap();
    assert!(archive.contains("/a/b/data") && archive.contains("/a/c"));
    assert!(!archive.contains("/a/b/other") && !archive.contains("a/c"));

    let bytes = archive.finish().unwrap();
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (name, mode, content, after) = read(rest);
        entries.push((name, mode, content));
        rest = after;
    }
    let expected: [(&str, u32, &[u8]); 5] = [
        ("a", DIRECTORY, b""),
        ("a/b", DIRECTORY, b""),
        ("a/b/data", FILE, b"12345"),
        ("a/c", DIRECTORY, b""),
        (TRAILER, 0, b""),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn what_the_kernel_could_not_unpack_is_refused() {
    let mut archive = Archive::default();
    for path in ["", "init", "/", "/a/", "//a", "/a/../b", "/./a"] {
        assert!(archive.file(path, b"").is_err(), "{path:?}");
        assert!(archive.directory(path).is_err(), "{path:?}");
    }
    archive.file("/a", b"").unwrap();
    assert!(archive.file("/a", b"").is_err(), "twice");
}
