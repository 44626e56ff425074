//! The width of lines: every file in Git has lines of at most [`COLUMNS`] characters, except
//! [`EXCEPTIONS`].

use super::sources::root;
use std::fs;
use std::process::Command;

/// Characters of a line: two files fit beside each other on a screen.
pub const COLUMNS: usize = 100;

/// Files and directories whose lines are not ours to wrap: lock files, the licence, test data, and
/// kept results of the bench.
const EXCEPTIONS: [&str; 7] = [
    "Cargo.lock",
    "LICENSE",
    "benches/peers/go/go.sum",
    "benches/runs/",
    "tests/data/",
    "tests/fuzz/Cargo.lock",
    "tests/fuzz/seeds/",
];

/// The files in Git, and new ones that it does not ignore, without the exceptions.
fn files() -> Vec<String> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = list.output().expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names in UTF-8");
    let is_ours = |name: &&str| !EXCEPTIONS.iter().any(|exception| name.starts_with(exception));
    names.lines().filter(is_ours).map(str::to_owned).collect()
}

/// The numbers of lines that are too long.
pub fn too_long(text: &str) -> impl Iterator<Item = usize> {
    let lines = text.lines().zip(1..);
    lines.filter(|(line, _)| line.chars().count() > COLUMNS).map(|(_, number)| number)
}

#[test]
fn no_line_is_over_100_columns() {
    let (files, mut long) = (files(), Vec::new());
    for file in files.iter().filter(|file| root().join(file).exists()) {
        let text = fs::read_to_string(root().join(file)).expect("text");
        long.extend(too_long(&text).map(|line| format!("{file}:{line}")));
    }
    assert!(long.is_empty(), "lines of more than {COLUMNS} columns:\n{}", long.join("\n"));
    for kind in [".rs", ".md", ".go", ".sh", ".bash", ".lua", ".toml", ".service"] {
        assert!(files.iter().any(|file| file.ends_with(kind)), "no {kind} file was read");
    }
}

#[test]
fn characters_are_counted_not_bytes() {
    let (fits, is_long) = ("─".repeat(COLUMNS), "a".repeat(COLUMNS + 1));
    assert_eq!(too_long(&format!("{fits}\n{is_long}\n")).collect::<Vec<_>>(), [2]);
}
