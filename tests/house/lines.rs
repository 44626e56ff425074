//! The width of lines: source, comments and strings have at most [`COLUMNS`] characters.

use super::sources::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Characters of a line: two files fit beside each other on a screen.
const COLUMNS: usize = 100;

/// Directories with source files.
const DIRECTORIES: [&str; 5] = ["src", "tests", "benches", "examples", "tests/fuzz/targets"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The numbers of lines that are too long.
fn too_long(text: &str) -> impl Iterator<Item = usize> {
    let lines = text.lines().zip(1..);
    lines.filter(|(line, _)| line.chars().count() > COLUMNS).map(|(_, number)| number)
}

#[test]
fn no_line_is_over_100_columns() {
    let mut files = Vec::new();
    DIRECTORIES.iter().for_each(|directory| sources(&root().join(directory), &mut files));
    let mut long = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        long.extend(too_long(&text).map(|line| format!("{}:{line}", file.display())));
    }
    assert!(long.is_empty(), "lines of more than {COLUMNS} columns:\n{}", long.join("\n"));
}

#[test]
fn characters_are_counted_not_bytes() {
    let (fits, is_long) = ("─".repeat(COLUMNS), "a".repeat(COLUMNS + 1));
    assert_eq!(too_long(&format!("{fits}\n{is_long}\n")).collect::<Vec<_>>(), [2]);
}
