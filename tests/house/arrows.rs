//! Which room may import which, and that nothing gets around it.
//!
//! A re-export is an import: what a room reaches through another room's `use` counts as an import
//! of the room where it is defined, and is refused, since it hides the arrow.

use super::sources::{Module, Names, lookup, modules, room};

/// Leaves: every room may import them, and they import nothing of ours.
const LEAVES: &[&str] = &["limits", "metrics", "prefetch", "calendar", "decimal"];

/// Which rooms a room may import, besides itself and the leaves. Rooms to come are listed already.
const ARROWS: &[(&str, &[&str])] = &[
    ("ledger", &[]),
    ("http", &[]),
    ("tls", &[]),
    ("api", &["http", "ledger"]),
    ("journal", &["ledger"]),
    ("slice", &["journal", "ledger"]),
    ("server", &["api", "http", "slice", "journal", "ledger"]),
    // `ledger` is for the users that go to a snapshot which is written offline.
    ("engine", &["server", "tls", "slice", "journal", "ledger"]),
    ("admin", &["engine", "ledger", "http", "api", "journal", "slice", "server"]),
    ("ingest", &["engine", "ledger", "http", "api", "journal", "slice", "server"]),
    ("shadow", &["admin", "engine", "ledger", "http", "api", "journal", "slice", "server"]),
    ("config", &EVERYTHING),
    ("cli", &EVERYTHING),
    ("main", &["cli", "engine"]),
    ("lib", &[]),
    ("build", &[]),
];

/// Every room but `cli`, which nobody imports except `main`.
const EVERYTHING: [&str; 12] = [
    "ledger", "http", "tls", "api", "journal", "slice", "server", "engine", "admin", "ingest",
    "shadow", "config",
];

/// The room where what a path names is defined, and the path itself, if it goes through another
/// room's `use`.
fn defined(modules: &[Module], path: &[String]) -> (String, Option<(String, Names)>) {
    let (mut path, mut through) = (path.to_vec(), None);
    // As many steps as there are files: a `use` leads back to itself only in code that does not
    // compile.
    for _ in modules {
        let Some((module, Some(name))) = lookup(modules, &path) else { break };
        let Some(next) = module.uses.get(&name) else { break };
        if next.first() != path.first() {
            through = Some((module.file.clone(), next.clone()));
        }
        path.clone_from(next);
    }
    (path.first().cloned().unwrap_or_default(), through)
}

/// Whether code of room `own` may name, and so call, what is in room `other`. `None` if there is no
/// such room.
pub fn may(own: &str, other: &str) -> Option<bool> {
    let is_leaf = LEAVES.contains(&own);
    let allowed = match ARROWS.iter().find(|(name, _)| *name == own) {
        Some((_, allowed)) => *allowed,
        None if is_leaf => &[],
        None => return None,
    };
    Some(other == own || allowed.contains(&other) || !is_leaf && LEAVES.contains(&other))
}

/// What is wrong with the imports of one file.
fn faults(modules: &[Module], module: &Module) -> Vec<String> {
    let (file, own) = (&module.file, room(&module.file));
    if may(own, own).is_none() {
        return vec![format!("{file}: no such room")];
    }
    let mut faults = Vec::new();
    for path in module.paths.iter().filter(|path| !path.is_empty()) {
        let (from, through) = defined(modules, path);
        for other in [&path[0], &from] {
            if may(own, other) != Some(true) {
                faults.push(format!(
                    "{file} imports {}: {own} may not import {other}",
                    path.join("::")
                ));
            }
        }
        if let Some((by, whole)) = through {
            let (path, whole) = (path.join("::"), whole.join("::"));
            faults
                .push(format!("{file} imports {path} through {by}: import crate::{whole} itself"));
        }
    }
    faults.dedup();
    faults
}

#[test]
fn arrows_point_one_way() {
    let modules = modules();
    let faults: Vec<_> = modules.iter().flat_map(|module| faults(&modules, module)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_wall_has_no_hole() {
    let caught = |file: &str, text: &str| {
        let planted = [
            Module::new("src/ledger/book.rs", "pub struct Book;"),
            Module::new("src/journal/mod.rs", "pub use crate::ledger::book::Book;"),
            Module::new("src/slice/mod.rs", "use crate::journal::Book as B;"),
            Module::new(file, text),
        ];
        faults(&planted, &planted[3]).join(", ")
    };
    assert_eq!(
        caught("src/slice/log.rs", "use crate::ledger::book::Book; use crate::limits::Limits;"),
        ""
    );
    assert!(
        caught("src/ledger/user.rs", "use crate::journal::File;")
            .ends_with("ledger may not import journal")
    );
    assert!(
        caught("src/limits.rs", "use crate::metrics::Counters;")
            .ends_with("limits may not import metrics")
    );
    assert!(
        caught("src/slice/log.rs", "use crate::journal::Book;")
            .ends_with("import crate::ledger::book::Book itself")
    );
    assert!(
        caught("src/slice/log.rs", "fn f(b: super::B) {}")
            .ends_with("import crate::ledger::book::Book itself")
    );
    assert!(
        caught("src/http/mod.rs", "use crate::journal::Book;")
            .contains("http may not import ledger")
    );
    assert!(
        caught("src/http/mod.rs", "use crate::{limits, api};").contains("http may not import api")
    );
    assert!(caught("src/novel/mod.rs", "").ends_with("no such room"));
}
