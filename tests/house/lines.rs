//! The width of lines: source, comments and strings have at most [`COLUMNS`] characters.

use super::sources::files;

/// Characters of a line: two files fit beside each other on a screen.
pub const COLUMNS: usize = 100;

/// Directories with source files.
const DIRECTORIES: [&str; 4] = ["src", "tests", "benches", "examples"];

/// The numbers of lines that are too long.
pub fn too_long(text: &str) -> impl Iterator<Item = usize> {
    let lines = text.lines().zip(1..);
    lines.filter(|(line, _)| line.chars().count() > COLUMNS).map(|(_, number)| number)
}

#[test]
fn no_line_is_over_100_columns() {
    let mut long = Vec::new();
    for (file, text) in DIRECTORIES.iter().flat_map(|directory| files(directory)) {
        long.extend(too_long(&text).map(|line| format!("{file}:{line}")));
    }
    assert!(long.is_empty(), "lines of more than {COLUMNS} columns:\n{}", long.join("\n"));
}

#[test]
fn characters_are_counted_not_bytes() {
    let (fits, is_long) = ("─".repeat(COLUMNS), "a".repeat(COLUMNS + 1));
    assert_eq!(too_long(&format!("{fits}\n{is_long}\n")).collect::<Vec<_>>(), [2]);
}
