//! Names on stable storage: a file or directory lasts only if the directory that holds its name was
//! synced after the name was made. The real program runs under strace, and its calls are checked:
//!
//! - A file is renamed only after it was synced.
//! - Every name that was made is synced at the end, and before the data directory's manifest is
//!   replaced.
//! - Nothing is removed while a name in the data directory is not synced: the manifest may be that
//!   name, and the removed file what the manifest before it named.
//!
//! A process killed at any call leaves the syncs that it owes to the next start.

use crate::import::{entries_in, import};
use crate::server::{Scratch, credit, entries};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const T: u64 = 1_700_000_100_000;
/// Calls at which the program is killed; whichever of these names this machine has.
const CALLS: [&str; 4] = [
    "?mkdir,?mkdirat",
    "?rename,?renameat,?renameat2",
    "?fsync,?fdatasync",
    "?unlink,?unlinkat,?rmdir",
];

/// Names and files that are not on stable storage yet.
struct Unsynced {
    /// The data directory.
    data: PathBuf,
    /// Directories with names that were made since they were synced.
    directories: BTreeSet<PathBuf>,
    /// Files that were synced.
    files: BTreeSet<PathBuf>,
}

impl Unsynced {
    fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), directories: BTreeSet::new(), files: BTreeSet::new() }
    }

    fn made(&mut self, path: &Path) {
        self.directories.insert(path.parent().expect("no name is that of the root").to_owned());
    }

    /// Takes a line of strace. A call that failed, or that the kill prevented, has no effect.
    fn take(&mut self, line: &str) {
        let Some((call, result)) = line.rsplit_once(" = ") else { return };
        let Some((call, arguments)) = call.split_once('(') else { return };
        if !result.starts_with(|first: char| first.is_ascii_digit()) {
            return;
        }
        let paths = paths(arguments);
        match (call, &paths[..]) {
            ("openat", [path]) => {
                if arguments.contains("O_CREAT") && !is_temporary(path) && !path.ends_with("lock") {
                    self.made(path);
                }
            }
            ("mkdir" | "mkdirat", [path]) => self.made(path),
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                assert!(self.files.remove(from), "renamed before it was synced: {line}");
                if *to == self.data.join("manifest") {
                    assert!(self.directories.is_empty(), "{:?}: {line}", self.directories);
                }
                self.made(to);
            }
            ("fsync" | "fdatasync", [path]) => {
                if !self.directories.remove(path) {
                    self.files.insert(path.clone());
                }
            }
            ("unlink" | "unlinkat" | "rmdir", [path]) => {
                let is_unsynced = self.directories.contains(&self.data);
                assert!(!is_unsynced || is_temporary(path), "removed before the sync: {line}");
                self.directories.remove(path);
            }
            _ => panic!("unknown call: {line}"),
        }
    }

    /// Imports three entries and a line that is none under strace, with further flags for strace.
    fn import(&mut self, trace: &Path, flags: &[&str]) {
        let (program, body) = (import(&self.data), trace.with_extension("body"));
        let mut lines: Vec<_> = (0..3).map(|n| credit(n + 1, n, 1, T)).collect();
        lines.push("{}".to_owned());
        fs::write(&body, entries(&lines)).expect("it can be written");
        let mut strace = Command::new("strace");
        strace.args(["-y", "-e", &format!("trace=openat,{}", CALLS.join(",")), "-o"]).arg(trace);
        strace.args(flags).arg(program.get_program()).args(program.get_args());
        strace.args(["--slices", "2"]).arg(&body).stdout(Stdio::null()).stderr(Stdio::null());
        strace.status().expect("strace runs");
        let lines = fs::read_to_string(trace).expect("strace has written it");
        assert!(lines.contains("openat("), "strace works: {lines}");
        lines.lines().for_each(|line| self.take(line));
    }
}

/// Whether a file may vanish: its name does not count.
fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "new")
}

/// The paths in the arguments of a call: `3</a>` of a descriptor, `"/b"`, or `3</a>, "b"`.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let (mut found, mut above) = (Vec::new(), None);
    for argument in arguments.split(", ") {
        if let Some((path, _)) = argument.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            found.push(above.take().unwrap_or_else(PathBuf::new).join(path));
        } else if let Some((_, path)) = argument.split_once('<') {
            above = path.split_once('>').map(|(path, _)| PathBuf::from(path));
        }
    }
    found.extend(above);
    found
}

#[test]
fn every_name_is_synced_even_after_a_kill_at_any_call() {
    let is_traced = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !is_traced.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace is missing, or may trace no process here");
        return;
    }
    let mut kills = 0;
    for calls in CALLS {
        for number in 1.. {
            let scratch = Scratch::new("durability");
            let whole = fs::canonicalize(scratch.join("")).expect("it is there");
            let (data, trace) = (whole.join("a/b/data"), whole.join("trace"));
            let context = format!("killed at call {number} of {calls}");
            let mut unsynced = Unsynced::new(&data);
            unsynced.import(&trace, &["-e", &format!("inject={calls}:signal=KILL:when={number}")]);
            let text = fs::read_to_string(&trace).expect("strace has written it");
            let is_killed = text.contains("+++ killed by SIGKILL +++");
            assert!(is_killed || text.contains("+++ exited with 4 +++"), "{context}: {text}");
            kills += u32::from(is_killed);
            if is_killed {
                let found = entries_in(&data);
                assert!(found == 0 || found == 3, "{context}: {found} entries");
                unsynced.import(&trace, &[]);
            }
            let left = &unsynced.directories;
            assert!(left.is_empty(), "{context}, and never synced: {left:?}");
            assert_eq!(entries_in(&data), 3, "{context}");
            if !is_killed {
                break;
            }
        }
    }
    assert!(kills > 30, "{kills} kills");
}
