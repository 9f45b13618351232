//! Columns for people.

use std::io::{self, Write};

/// Prints rows below a heading, every column as wide as it must be.
pub(super) fn print(
    heading: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut table = vec![heading.iter().map(ToString::to_string).collect()];
    table.extend(rows);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row: &Vec<String>| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        let rows = [["vm1", "ä"], ["longer", "b"]];
        let rows = rows.map(|row| row.map(String::from).to_vec());
        print(&["P", "Q"], rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "P       Q\nvm1     ä\nlonger  b\n");
    }
}
