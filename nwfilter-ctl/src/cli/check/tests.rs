//! `check` on files of its own: what is printed, and how it ends.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{CheckArgs, Format, SemanticsArg, run};
use crate::cli::{Global, Outcome, explain_code};

/// A directory of files that goes away at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("nwfilter-check-{}-{number}", process::id()));
        for (name, text) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn args(path: &Path, format: Format) -> CheckArgs {
    CheckArgs {
        paths: vec![path.to_owned()],
        deny_warnings: false,
        semantics: SemanticsArg::Strict,
        format,
        color: false,
    }
}

/// How it ends, and what is printed on stdout (without the directory) and stderr.
fn check(dir: &Dir, args: &CheckArgs) -> (Outcome, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let outcome = run(args, &mut out, &mut errors).unwrap();
    let prefix = format!("{}/", dir.0.display());
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&prefix, "");
    (outcome, text(out), text(errors))
}

const CLEAN: &str = "<filter name='clean'><rule action='drop' direction='inout'/></filter>";
const WARNS: &str =
    "<filter name='warns'>\n  <rule action='drop' direction='inout' foo='1'/>\n</filter>";
const FAILS: &str = "<filter name='fails'>\n  <rule action='drop'/>\n</filter>";

#[test]
fn exit_status() {
    let dir = Dir::new(&[
        ("clean.xml", CLEAN),
        ("warns.xml", WARNS),
        ("fails.xml", FAILS),
    ]);
    for (file, deny_warnings, expected) in [
        ("clean.xml", false, Outcome::Done),
        ("clean.xml", true, Outcome::Done),
        ("warns.xml", false, Outcome::Done),
        ("warns.xml", true, Outcome::Findings),
        ("fails.xml", false, Outcome::Findings),
        ("missing.xml", false, Outcome::Failed),
    ] {
        let args = CheckArgs {
            deny_warnings,
            ..args(&dir.file(file), Format::Short)
        };
        assert_eq!(check(&dir, &args).0, expected, "{file} {deny_warnings}");
    }
    assert_eq!(
        [Outcome::Done, Outcome::Findings, Outcome::Failed].map(Outcome::code),
        [0, 1, 2]
    );
}

#[test]
fn all_files_of_a_directory_are_checked() {
    let dir = Dir::new(&[
        ("b.xml", FAILS),
        ("a.xml", WARNS),
        ("sub/c.xml", FAILS),
        ("note.txt", "<"),
    ]);
    let (outcome, out, errors) = check(&dir, &args(&dir.0, Format::Short));
    assert_eq!(outcome, Outcome::Findings);
    assert_eq!(errors, "");
    assert_eq!(
        out,
        "a.xml:2:41: warning[NWF0040]: `<rule>` has no attribute `foo`\n\
         b.xml:2:4: error[NWF0020]: `<rule>` has no attribute `direction`, \
         expected one of `in`, `out`, `inout`\n\
         sub/c.xml:2:4: error[NWF0020]: `<rule>` has no attribute `direction`, \
         expected one of `in`, `out`, `inout`\n"
    );
}

#[test]
fn a_file_that_cannot_be_read_does_not_stop_the_others() {
    let dir = Dir::new(&[("fails.xml", FAILS)]);
    let mut args = args(&dir.file("missing.xml"), Format::Short);
    args.paths.push(dir.file("fails.xml"));
    let (outcome, out, errors) = check(&dir, &args);
    assert_eq!(outcome, Outcome::Failed);
    assert!(errors.starts_with("error: missing.xml: "), "{errors}");
    assert!(out.contains("NWF0020"), "{out}");
}

#[test]
fn findings_for_people() {
    let text = "<filter name='t'>\n  <rule action='acept' direction='in'>\n    \
                <tcp match='no' dscp='1'/>\n    <udp/>\n  </rule>\n</filter>\n";
    let dir = Dir::new(&[("t.xml", text)]);
    let (_, out, _) = check(&dir, &args(&dir.file("t.xml"), Format::Human));
    let expected = "\
error[NWF0021]: `acept` is no action
 --> t.xml:2:17
  |
2 |   <rule action='acept' direction='in'>
  |                 ^^^^^
  |
  = note: expected one of `drop`, `accept`, `reject`, `return`, `continue`
  = help: did you mean `accept`?

warning[NWF0042]: `<udp>` is ignored in a rule of `<tcp>`
 --> t.xml:4:6
  |
3 |     <tcp match='no' dscp='1'/>
  |      --- the first element decides what the rule is about
4 |     <udp/>
  |      ^^^
  |
  = help: write a rule of its own for `<udp>`

1 error, 1 warning in 1 file
";
    assert_eq!(out, expected);
    let color = CheckArgs {
        color: true,
        ..args(&dir.file("t.xml"), Format::Human)
    };
    assert!(check(&dir, &color).1.contains('\u{1b}'));
}

#[test]
fn findings_for_programs() {
    let dir = Dir::new(&[(
        "t.xml",
        "<filter name='é'>\n<rule action='é' direction='in'/></filter>",
    )]);
    let (_, out, _) = check(&dir, &args(&dir.0, Format::Json));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["schema"], &json["files"], &json["errors"]),
        (&1.into(), &1.into(), &1.into())
    );
    let found = &json["diagnostics"][0];
    assert_eq!(found["code"], "NWF0021");
    assert_eq!(found["name"], "illegal-value");
    assert_eq!(found["severity"], "error");
    assert_eq!(found["file"], "t.xml");
    // Columns count characters.
    let primary = &found["primary"];
    assert_eq!(
        (&primary["line"], &primary["column"]),
        (&2.into(), &15.into())
    );
    assert_eq!(
        (&primary["end_line"], &primary["end_column"]),
        (&2.into(), &16.into())
    );
    let empty = Dir::new(&[("clean.xml", CLEAN)]);
    let (_, out, _) = check(&empty, &args(&empty.0, Format::Json));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["diagnostics"], serde_json::json!([]));
}

#[test]
fn loops_and_names_across_files() {
    let refer =
        |name: &str, to: &str| format!("<filter name='{name}'><filterref filter='{to}'/></filter>");
    let dir = Dir::new(&[
        ("a.xml", &refer("a", "b")),
        ("b.xml", &refer("b", "c")),
        ("c.xml", &refer("c", "a")),
        ("d.xml", &refer("d", "a")),
        ("e.xml", &refer("d", "unknown")),
    ]);
    let (outcome, out, _) = check(&dir, &args(&dir.0, Format::Short));
    assert_eq!(outcome, Outcome::Findings);
    assert_eq!(
        out,
        "c.xml:1:18: error[NWF0028]: filters refer to each other in a loop: a, b, c, a\n\
         e.xml:1:1: error[NWF0029]: filter `d` is defined by another document too\n"
    );
}

#[test]
fn semantics_decide_what_is_accepted() {
    let text = "<filter name='t'><rule action='drop' direction='inout'>\
                <all-ipv6 dstipfrom='::1' dstipto='::2'/></rule></filter>";
    let dir = Dir::new(&[("t.xml", text)]);
    let strict = args(&dir.0, Format::Short);
    assert_eq!(check(&dir, &strict).0, Outcome::Done);
    let libvirt = CheckArgs {
        semantics: SemanticsArg::Libvirt,
        ..strict
    };
    assert_eq!(check(&dir, &libvirt).0, Outcome::Findings);
}

#[test]
fn bindings_are_checked_too() {
    let dir = Dir::new(&[("binding.xml", "<filterbinding/>")]);
    let (_, out, _) = check(&dir, &args(&dir.0, Format::Short));
    assert!(
        out.contains("binding.xml:1:2: error[NWF0027]: the binding has no owner"),
        "{out}"
    );
}

#[test]
fn huge_files_are_refused_unread() {
    let dir = Dir::new(&[("huge.xml", "")]);
    // Sparse: reading it would take memory, writing it would take time.
    let file = fs::File::options()
        .write(true)
        .open(dir.file("huge.xml"))
        .unwrap();
    file.set_len(50 << 30).unwrap();
    let (outcome, out, _) = check(&dir, &args(&dir.0, Format::Short));
    assert_eq!(outcome, Outcome::Findings);
    assert_eq!(
        out,
        "huge.xml:1:1: error[NWF0001]: the document has 53687091200 bytes, \
         the limit is 16777216 bytes\n"
    );
}

#[test]
fn bytes_that_are_no_text() {
    let dir = Dir::new(&[("t.xml", "")]);
    fs::write(dir.file("t.xml"), b"<filter\n  name='\xe9'/>").unwrap();
    let (outcome, out, _) = check(&dir, &args(&dir.0, Format::Short));
    assert_eq!(outcome, Outcome::Findings);
    assert!(
        out.starts_with("t.xml:2:9: error[NWF0002]: byte 16 of the document, 0xe9"),
        "{out}"
    );
    // Rendering shows what it can.
    assert!(
        check(&dir, &args(&dir.0, Format::Human))
            .1
            .contains("NWF0002")
    );
}

#[test]
fn very_long_lines_are_not_shown() {
    let text = format!("<filter name='t'>{}<rule/></filter>", " ".repeat(5000));
    let dir = Dir::new(&[("t.xml", &text)]);
    let (_, out, _) = check(&dir, &args(&dir.0, Format::Human));
    assert!(out.contains("--> t.xml:1:5019"), "{out}");
    assert!(out.len() < 2000, "{out}");
}

#[test]
fn codes_are_explained() {
    let explain = |code: &str| {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let args = explain_code::ExplainCodeArgs { code: code.into() };
        let outcome = explain_code::run(&args, &Global::default(), &mut out, &mut errors).unwrap();
        (
            outcome,
            String::from_utf8(out).unwrap(),
            String::from_utf8(errors).unwrap(),
        )
    };
    let (outcome, out, _) = explain("NWF0060");
    assert_eq!(outcome, Outcome::Done);
    assert!(
        out.starts_with("NWF0060 (port-negation), warning: "),
        "{out}"
    );
    assert!(out.contains("```xml"), "{out}");
    let (outcome, out, errors) = explain("port-negaton");
    assert_eq!((outcome, out.as_str()), (Outcome::Failed, ""));
    assert_eq!(
        errors,
        "error: there is no code `port-negaton`; did you mean `port-negation`?\n"
    );
}
