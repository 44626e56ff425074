//! Import rules between the top-level modules of `src`, and a check that re-exports do not bypass
//! them.
//!
//! An item reached through another module's `use` counts as an import of the module that defines
//! it. It is refused, because it hides the dependency.

use super::sources::{Module, Names, lookup, modules, top_module};

/// Leaf modules: every module may import them, and they import no module of this crate.
const LEAVES: &[&str] = &["limits", "metrics", "prefetch", "decimal"];

/// The modules that a module may import, besides itself and the leaves. Planned modules are listed
/// already.
const ALLOWED_IMPORTS: &[(&str, &[&str])] = &[
    ("ledger", &[]),
    ("http", &[]),
    ("tls", &[]),
    ("api", &["http", "ledger"]),
    ("journal", &["ledger"]),
    ("slice", &["journal", "ledger"]),
    ("server", &["api", "http", "slice", "journal", "ledger"]),
    // `engine` needs `ledger` for the users of a snapshot that is written offline.
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

/// Every module except `cli`, which only `main` imports.
const EVERYTHING: [&str; 12] = [
    "ledger", "http", "tls", "api", "journal", "slice", "server", "engine", "admin", "ingest",
    "shadow", "config",
];

/// The module that defines what a path names. If the path goes through another module's `use`, also
/// the file with that `use` and the direct path.
fn defined(modules: &[Module], path: &[String]) -> (String, Option<(String, Names)>) {
    let (mut path, mut through) = (path.to_vec(), None);
    // At most as many steps as there are files: only code that does not compile has a cycle of
    // `use` items.
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

/// Whether code of module `own` may name, and so call, items of module `other`. `None` if `own` is
/// not a known module.
pub fn may_import(own: &str, other: &str) -> Option<bool> {
    let is_leaf = LEAVES.contains(&own);
    let allowed = match ALLOWED_IMPORTS.iter().find(|(name, _)| *name == own) {
        Some((_, allowed)) => *allowed,
        None if is_leaf => &[],
        None => return None,
    };
    Some(other == own || allowed.contains(&other) || !is_leaf && LEAVES.contains(&other))
}

/// Violations in the imports of one file.
fn faults(modules: &[Module], module: &Module) -> Vec<String> {
    let (file, own) = (&module.file, top_module(&module.file));
    if may_import(own, own).is_none() {
        return vec![format!("{file}: no such module")];
    }
    let mut faults = Vec::new();
    for path in module.paths.iter().filter(|path| !path.is_empty()) {
        let (from, through) = defined(modules, path);
        for other in [&path[0], &from] {
            if may_import(own, other) != Some(true) {
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
fn modules_import_only_what_they_may() {
    let modules = modules();
    let faults: Vec<_> = modules.iter().flat_map(|module| faults(&modules, module)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn forbidden_imports_are_found() {
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
    assert!(caught("src/novel/mod.rs", "").ends_with("no such module"));
}
