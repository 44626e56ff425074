//! Check that no files import each other in a cycle.
//!
//! A parent's `mod child;` is no import. A child that imports from its parent while the parent
//! imports from the child is a cycle: what both need belongs in a file of its own.

use super::sources::{Module, lookup, modules};
use std::collections::{BTreeMap, BTreeSet};

/// Files whose imports are not checked yet. Temporary: remove a file once it is in no cycle.
const NOT_YET: &[&str] = &[
    // Its children import constants and `Error` from it.
    "src/cli/mod.rs",
];

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The files that each file imports from. A name that the other file re-exports from a third counts
/// as an import of both.
fn graph(modules: &[Module]) -> Graph<'_> {
    let counts = |file: &str| !NOT_YET.contains(&file);
    let mut graph = Graph::new();
    for module in modules.iter().filter(|module| counts(&module.file)) {
        let imports = graph.entry(&module.file).or_default();
        for path in &module.paths {
            let mut path = path.clone();
            // At most as many steps as there are files: only code that does not compile has a cycle
            // of `use` items.
            for _ in modules {
                let Some((target, name)) = lookup(modules, &path) else { break };
                if target.file != module.file && !target.at.is_empty() && counts(&target.file) {
                    imports.insert(&*target.file);
                }
                let Some(next) = name.and_then(|name| target.uses.get(&name)) else { break };
                path.clone_from(next);
            }
        }
    }
    graph
}

/// The shortest cycle through a file, starting with it.
fn shortest<'a>(graph: &Graph<'a>, from: &'a str) -> Option<Vec<&'a str>> {
    let (mut paths, mut seen) = (vec![vec![from]], BTreeSet::new());
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in &paths {
            for &next in graph.get(path.last().unwrap()).into_iter().flatten() {
                if next == from {
                    return Some(path.clone());
                }
                if seen.insert(next) {
                    longer.push([&path[..], &[next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}

/// The shortest cycle through each file that is in one, without repeats. Each starts with its first
/// file in alphabetical order.
fn cycles(graph: &Graph<'_>) -> BTreeSet<Vec<String>> {
    let rotated = |mut cycle: Vec<&str>| {
        let first = cycle.iter().enumerate().min_by_key(|(_, file)| **file).map_or(0, |(at, _)| at);
        cycle.rotate_left(first);
        cycle.into_iter().map(str::to_owned).collect()
    };
    graph.keys().filter_map(|file| shortest(graph, file)).map(rotated).collect()
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    let modules = modules();
    let found: Vec<_> = cycles(&graph(&modules))
        .iter()
        .map(|cycle| format!("{} → {}", cycle.join(" → "), cycle[0]))
        .collect();
    assert!(found.is_empty(), "import cycles:\n{}", found.join("\n"));
}

#[test]
fn a_planted_cycle_is_found() {
    let found = |parent: &str, child: &str| {
        let planted = [Module::new("src/a/mod.rs", parent), Module::new("src/a/b.rs", child)];
        cycles(&graph(&planted)).iter().map(|cycle| cycle.join(" → ")).collect::<String>()
    };
    assert_eq!(found("pub mod b;", "use super::X;"), "", "a module item is no import");
    assert_eq!(found("mod b;\nuse b::Y;", "fn y() {}"), "");
    assert_eq!(found("mod b;\nuse b::Y;", "use super::X;"), "src/a/b.rs → src/a/mod.rs");
    assert_eq!(
        found("mod b;\nfn f() { b::y() }", "fn g() { super::x() }"),
        "src/a/b.rs → src/a/mod.rs"
    );
    assert_eq!(
        found("pub mod b;\npub use self::b::Y;", "use crate::a::X;"),
        "src/a/b.rs → src/a/mod.rs"
    );
}
