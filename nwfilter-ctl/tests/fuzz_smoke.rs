//! The fuzz targets on their corpus and on damaged copies of it: a bounded run without a fuzzer.

use std::{fs, io, path::Path};

#[path = "../../fuzz/bodies.rs"]
mod bodies;

/// Damaged copies of each input.
const COPIES: usize = 300;

/// A small generator of numbers (xorshift64), the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Replaces, removes, repeats or moves a few pieces of the input.
fn damage(input: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&str; 14] = [
        "'",
        "<",
        "/>",
        ">",
        "&",
        "$",
        "[@1]",
        "\n---\n",
        "é",
        "-",
        "0x",
        "match='no'",
        "<tcp/>",
        "\0",
    ];
    let mut data = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len());
        let end = (at + numbers.below(16)).min(data.len());
        match numbers.below(4) {
            0 => drop(data.splice(at..end, [])),
            1 => drop(data.splice(at..end, PIECES[numbers.below(PIECES.len())].bytes())),
            2 => {
                let piece = data[at..end].to_vec();
                let to = numbers.below(data.len());
                data.splice(to..to, piece);
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = numbers.below(256) as u8;
                }
            }
        }
    }
    data
}

fn run(target: &str, body: fn(&[u8])) -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(corpus)?.map(|entry| Ok(entry?.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.sort();
    assert!(!files.is_empty());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for file in files {
        let input = fs::read(&file)?;
        body(&input);
        for _ in 0..COPIES {
            body(&damage(&input, &mut numbers));
        }
    }
    Ok(())
}

#[test]
fn documents() -> io::Result<()> {
    run("documents", bodies::documents)
}

#[test]
fn values() -> io::Result<()> {
    run("values", bodies::values)
}

#[test]
fn resolve() -> io::Result<()> {
    run("resolve", bodies::resolve)
}

#[test]
fn learn() -> io::Result<()> {
    run("learn", bodies::learn)
}
