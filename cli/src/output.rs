//! What people and scripts see: data on stdout, everything else on stderr.

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Writes data to stdout as it is. A reader that has gone away (`| head`) is not an error.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Stdout for data that is written piece by piece; the caller flushes it.
pub fn stream() -> impl io::Write {
    io::BufWriter::new(io::stdout().lock())
}

/// Writes one line of data.
pub fn line(text: impl Display) -> Result<(), Failure> {
    raw(format!("{text}\n").as_bytes())
}

/// Writes a value as pretty JSON.
pub fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
    line(text)
}

/// Writes a remark to stderr.
pub fn note(text: impl Display) {
    eprintln!("{text}");
}

/// Rows in columns, two spaces apart, each as wide as its widest cell; no space at line ends.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let text = cells.collect::<Vec<_>>().join("  ");
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// A byte count for people: `14.2 MiB`.
pub fn bytes(count: u64) -> impl Display {
    indicatif::BinaryBytes(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let text = table(&[row(&["BUILD", "STAGE", ""]), row(&["7", "held", "why"])]);
        assert_eq!(text, "BUILD  STAGE\n7      held   why\n");
    }
}
