//! The examples of `docs/cli.md` are what the binary prints. With `BLESS=1` the page is written
//! instead of compared.

use std::{env, fs};

use crate::{root, run};

/// What a `$` line of the page prints: the command's output, or the status of the one before.
fn output(line: &str, status: &mut i32) -> String {
    if line == "echo $?" {
        return format!("{status}\n");
    }
    let words = line.strip_prefix("nwfilter-ctl ").unwrap();
    let ran = run(words.split_whitespace());
    *status = ran.status;
    ran.stdout + &ran.stderr
}

#[test]
fn the_examples_are_true() {
    let path = root().join("docs/cli.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut current = String::new();
    let mut commands = 0;
    let mut status = 0;
    // Four marks, because an example may print three.
    let mut in_example = false;
    for line in page.lines() {
        if line == "````console" || (in_example && line == "````") {
            in_example = line != "````";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_example) {
            current += line;
            current += "\n";
            current += output(command, &mut status).trim_end();
            current += "\n";
            commands += 1;
            continue;
        } else if in_example {
            continue;
        }
        current += line;
        current += "\n";
    }
    assert!(commands > 5, "{commands}");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap();
    for (number, (page, current)) in page.lines().zip(current.lines()).enumerate() {
        assert_eq!(
            page,
            current,
            "docs/cli.md:{}; BLESS=1 writes it",
            number + 1
        );
    }
    assert_eq!(page.lines().count(), current.lines().count());
}
