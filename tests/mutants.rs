//! Mutants: faults that are planted in the source, each of which a test must catch. They are the
//! syncs that data depends on, left out one by one, and the log's accounts of its space.
//!
//! Always: each text to be replaced occurs exactly once in its file. With `PURSER_MUTANTS=1`, or
//! with a part of a mutant's name: a copy of the tree is built with each mutant in turn, and its
//! test must fail there; without a mutant it must pass. All builds share a target directory, in
//! `PURSER_MUTANTS_TARGET` if that is set, else in the copy. It is never the one of this tree,
//! where a program with a mutant would stay behind.

use crate::house::sources::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A planted fault.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// Text that occurs once, and what replaces it.
    before: &'static str,
    after: &'static str,
    /// The test that catches it.
    test: Test,
}

/// Unit tests or integration tests, by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Unit(&'static str),
    Integration(&'static str),
}

const SERVER: Test = Test::Integration("durability::a_server_syncs_what_it_builds_on");
const IMPORT: Test = Test::Integration("durability::every_name_is_synced");
const SPACE: Test = Test::Unit("records_that_are_let_in_fit");
const GROWTH: Test = Test::Unit("entries_are_refused_while_snapshots_fail");

const MUTANTS: [Mutant; 19] = [
    Mutant {
        name: "log writes are not synchronous",
        file: "src/engine/storage.rs",
        before: "self.open(File::Segment(segment), libc::O_DSYNC)",
        after: "self.open(File::Segment(segment), 0)",
        test: SERVER,
    },
    Mutant {
        name: "a start does not sync the last segment",
        file: "src/engine/storage.rs",
        before: "fs::File::open(&path).and_then(|file| file.sync_all())",
        after: "fs::File::open(&path).map(drop)",
        test: SERVER,
    },
    Mutant {
        name: "a start does not sync a slice's directory",
        file: "src/engine/storage.rs",
        before: "sync(&self.directory.path)?;\n        for path",
        after: "for path",
        test: SERVER,
    },
    Mutant {
        name: "zeros of a new segment are not synced",
        file: "src/engine/storage.rs",
        before: "file.sync_all()\n    }",
        after: "Ok(())\n    }",
        test: SERVER,
    },
    Mutant {
        name: "the name of a prepared segment is not synced",
        file: "src/engine/storage.rs",
        before: "sync(&self.directory.path)?;\n        self.open(",
        after: "self.open(",
        test: SERVER,
    },
    Mutant {
        name: "a snapshot is not synced",
        file: "src/engine/storage.rs",
        before: "file.sync_all().map_err(",
        after: "file.metadata().map(drop).map_err(",
        test: SERVER,
    },
    Mutant {
        name: "the name of a snapshot is not synced",
        file: "src/engine/storage.rs",
        before: "sync(&self.directory.path)\n    }",
        after: "Ok(())\n    }",
        test: SERVER,
    },
    Mutant {
        name: "the manifest of a slice is not synced",
        file: "src/engine/directory.rs",
        before: "u64)?;\n    file.sync_all()",
        after: "u64)",
        test: SERVER,
    },
    Mutant {
        name: "the name of a slice's manifest is not synced",
        file: "src/engine/directory.rs",
        before: "swap().map_err(Failure::at(\"replace\", &file))?;\n        sync(&self.path)",
        after: "swap().map_err(Failure::at(\"replace\", &file))",
        test: SERVER,
    },
    Mutant {
        name: "the data directory's manifest is not synced",
        file: "src/engine/directory.rs",
        before: "out.sync_all()?;",
        after: "",
        test: SERVER,
    },
    Mutant {
        name: "the name of the data directory's manifest is not synced",
        file: "src/engine/directory.rs",
        before: "write().map_err(Failure::at(\"replace\", &file))?;\n    sync(directory)",
        after: "write().map_err(Failure::at(\"replace\", &file))",
        test: SERVER,
    },
    Mutant {
        name: "a start does not sync the data directory",
        file: "src/engine/directory.rs",
        before: "sync(path)?;\n        if !",
        after: "if !",
        test: IMPORT,
    },
    Mutant {
        name: "an offline snapshot is not synced",
        file: "src/engine/files.rs",
        before: "self.open_file(file).sync_all()",
        after: "self.open_file(file).metadata().map(drop)",
        test: SERVER,
    },
    Mutant {
        name: "the slices of a re-partition have no synced names",
        file: "src/engine/repartition.rs",
        before: "directory::sync(&self.directory.generation(generation))?;",
        after: "let _ = generation;",
        test: SERVER,
    },
    Mutant {
        name: "the slices of an import have no synced names",
        file: "src/engine/generation.rs",
        before: "directory::sync(&self.path())?;",
        after: "",
        test: IMPORT,
    },
    Mutant {
        name: "a generation is not removed for good",
        file: "src/slice/repartition.rs",
        before: "Remove));\n        self.next.push_back(DirectoryTask::Sync(None));",
        after: "Remove));",
        test: SERVER,
    },
    Mutant {
        name: "space ignores the write in flight",
        file: "src/slice/log.rs",
        before: "let flight = self.in_flight.as_ref().map_or(0, |f| f.size);",
        after: "let flight = 0;",
        test: SPACE,
    },
    Mutant {
        name: "space ignores that a record begins a new block",
        file: "src/slice/log.rs",
        before: "+ bytes) + ALIGN;",
        after: "+ bytes);",
        test: SPACE,
    },
    Mutant {
        name: "the log grows without limit",
        file: "src/slice/store.rs",
        before: "self.log.has_space() && self.uncovered_bytes() <= most",
        after: "self.log.has_space() && most > 0",
        test: GROWTH,
    },
];

impl Mutant {
    /// The text of its file with the fault.
    fn planted(&self, text: &str) -> String {
        text.replacen(self.before, self.after, 1)
    }
}

#[test]
fn each_mutants_text_occurs_once_in_its_file() {
    for Mutant { name, file, before, after, .. } in &MUTANTS {
        let text = fs::read_to_string(root().join(file)).expect("the file exists");
        assert_eq!(text.matches(before).count(), 1, "{name}: {file} has not one {before:?}");
        assert_ne!(before, after, "{name}");
    }
}

/// A copy of the files in Git, outside of the tree. It is removed when dropped.
struct TreeCopy(PathBuf);

impl TreeCopy {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("purser-mutants-{}", std::process::id()));
        let list = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
        let list = String::from_utf8(list.expect("git runs").stdout).expect("names in UTF-8");
        for file in list.split_terminator('\0') {
            let (from, to) = (root().join(file), path.join(file));
            fs::create_dir_all(to.parent().expect("a directory")).expect("it can be made");
            // A file that was removed and not committed is not there.
            if from.exists() {
                fs::copy(from, to).expect("it can be copied");
            }
        }
        Self(path)
    }

    /// Runs a test: whether it passed, and what was printed.
    fn run(&self, test: Test) -> (bool, String) {
        let target =
            std::env::var_os("PURSER_MUTANTS_TARGET").map_or_else(|| self.0.clone(), PathBuf::from);
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--locked"]).current_dir(&self.0);
        let filter = match test {
            Test::Unit(filter) => {
                cargo.arg("--lib");
                filter
            }
            Test::Integration(filter) => {
                cargo.args(["--test", "purser"]);
                filter
            }
        };
        cargo.args(["--", filter]).env_remove("PURSER_MUTANTS").env("RUST_BACKTRACE", "0");
        cargo.env("CARGO_TARGET_DIR", target.join("target-of-mutants"));
        let output = cargo.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_run = text.contains("test result: ") && !text.contains("running 0 tests");
        assert!(is_run, "{test:?} did not run: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), !text.contains("test result: FAILED"), "{text}");
        (output.status.success(), text)
    }
}

impl Drop for TreeCopy {
    fn drop(&mut self) {
        // If it stays, nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The message of the test that failed.
fn message(text: &str) -> &str {
    let after = text.split_once("panicked at ").map_or(text, |(_, after)| after);
    after.split("\nnote: ").next().unwrap_or(after)
}

#[test]
fn each_mutant_is_caught() {
    let Ok(wanted) = std::env::var("PURSER_MUTANTS") else { return };
    let is_wanted = |mutant: &&Mutant| wanted == "1" || mutant.name.contains(&wanted);
    let mutants: Vec<_> = MUTANTS.iter().filter(is_wanted).collect();
    assert!(!mutants.is_empty(), "no mutant is named {wanted}");
    let copy = TreeCopy::new();
    for test in mutants.iter().map(|mutant| mutant.test).collect::<BTreeSet<_>>() {
        let (is_passed, text) = copy.run(test);
        assert!(is_passed, "{test:?} fails without a mutant: {text}");
        println!("passes without a mutant: {test:?}");
    }
    let mut survivors = Vec::new();
    for mutant in mutants {
        let path = copy.0.join(Path::new(mutant.file));
        let text = fs::read_to_string(&path).expect("the file exists");
        fs::write(&path, mutant.planted(&text)).expect("it can be written");
        let (is_passed, output) = copy.run(mutant.test);
        fs::write(&path, text).expect("it can be written");
        if is_passed {
            survivors.push(mutant.name);
            println!("SURVIVES: {}", mutant.name);
        } else {
            println!("caught: {}: {:?}: {}", mutant.name, mutant.test, message(&output));
        }
    }
    assert!(survivors.is_empty(), "no test catches: {survivors:#?}");
}
