//! One name, one thing: public types of different modules do not share a name, and an overloaded
//! verb means one thing.

use super::sources::{code, sources, top_module};
use std::collections::{BTreeMap, BTreeSet};

/// Names that may repeat. Each module has its own `Error`.
const EXEMPT: &[&str] = &["Error"];

/// Verbs that many types could define, each with what it means here and the files that may define
/// it. Everything else needs a verb of its own.
const VERBS: &[(&str, &str, &[&str])] = &[
    (
        "begin",
        "starts a snapshot or a generation that is written step by step",
        &[
            "src/engine/generation.rs",
            "src/engine/snapshot.rs",
            "src/slice/offline.rs",
            "src/slice/snapshot.rs",
        ],
    ),
    (
        "take",
        "takes the next bytes off a cursor",
        &["src/journal/fields.rs", "src/ledger/cursor.rs"],
    ),
    (
        "read",
        "reads bytes of a file",
        &[
            "src/cli/import/input.rs",
            "src/cli/import/sort.rs",
            "src/engine/files.rs",
            "src/slice/reader.rs",
            "src/slice/source.rs",
        ],
    ),
    (
        "release",
        "returns what was reserved of a budget",
        &["src/server/budget.rs", "src/server/connection.rs"],
    ),
    (
        "apply",
        "judges an entry and books it",
        &["src/ledger/book.rs", "src/server/owner.rs", "src/server/shared.rs", "src/slice/mod.rs"],
    ),
    (
        "recycle",
        "returns memory or a place to whoever hands it out again",
        &["src/engine/arena.rs", "src/engine/buffers.rs", "src/engine/queue.rs"],
    ),
    ("answered", "counts an answer", &["src/metrics.rs"]),
    (
        "done",
        "takes the completion of a task",
        &[
            "src/slice/offline.rs",
            "src/slice/recovery.rs",
            "src/slice/repartition.rs",
            "src/slice/store.rs",
        ],
    ),
];

#[test]
fn an_overloaded_verb_means_one_thing() {
    for (file, text) in sources() {
        for (verb, meaning, files) in VERBS {
            let defines =
                ["(", "<"].iter().any(|open| code(&text).contains(&format!("fn {verb}{open}")));
            assert!(
                !defines || files.contains(&&*file),
                "{file} defines `{verb}`, which {meaning}: choose another verb"
            );
        }
    }
}

/// The public types that are declared in some code.
fn types(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let item = line.trim_start().strip_prefix("pub ")?;
        let kinds = ["struct ", "enum ", "trait ", "union ", "type ", "unsafe trait "];
        let name = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
        name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    })
}

#[test]
fn public_types_of_different_modules_have_different_names() {
    let sources = sources();
    let mut modules: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in &sources {
        for name in types(&code(text)) {
            modules.entry(name.to_owned()).or_default().insert(top_module(file));
        }
    }
    modules.retain(|name, modules| modules.len() > 1 && !EXEMPT.contains(&&**name));
    assert!(modules.is_empty(), "modules that have a public type of the same name: {modules:?}");
}

#[test]
fn public_types_are_found() {
    let code = "pub struct A<T>(T);\n    pub enum B {\nstruct C;\npub(super) struct D;\n\
                pub trait E: F {\npub const G: u8 = 1;";
    assert_eq!(types(code).collect::<Vec<_>>(), ["A", "B", "E"]);
}
