//! No circles between files: what a file needs lies below it, never above.
//!
//! A parent's `mod child;` is no import. A child that imports from its parent while the parent
//! imports from the child is a circle: what both need belongs in a file of its own.

use super::sources::{Module, lookup, modules};
use std::collections::{BTreeMap, BTreeSet};

/// Files whose imports are not counted yet. Temporary: take a file off once it is in no circle.
const NOT_YET: &[&str] = &[
    // Children take constants and `Error` from it.
    "src/cli/mod.rs",
];

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Which files each file imports from. A name that the other file has from a third counts for both.
fn graph(modules: &[Module]) -> Graph<'_> {
    let counts = |file: &str| !NOT_YET.contains(&file);
    let mut graph = Graph::new();
    for module in modules.iter().filter(|module| counts(&module.file)) {
        let imports = graph.entry(&module.file).or_default();
        for path in &module.paths {
            let mut path = path.clone();
            // As many steps as there are files: a `use` leads back to itself only in code that does
            // not compile.
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

/// The shortest circle through a file, from there on.
fn shortest<'a>(graph: &Graph<'a>, from: &'a str) -> Option<Vec<&'a str>> {
    let (mut ways, mut seen) = (vec![vec![from]], BTreeSet::new());
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in &ways {
            for &next in graph.get(way.last().unwrap()).into_iter().flatten() {
                if next == from {
                    return Some(way.clone());
                }
                if seen.insert(next) {
                    longer.push([&way[..], &[next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// The shortest circle through each file that is in one, without repeats.
fn circles(graph: &Graph<'_>) -> BTreeSet<Vec<String>> {
    let turned = |mut way: Vec<&str>| {
        let first = way.iter().enumerate().min_by_key(|(_, file)| **file).map_or(0, |(at, _)| at);
        way.rotate_left(first);
        way.into_iter().map(str::to_owned).collect()
    };
    graph.keys().filter_map(|file| shortest(graph, file)).map(turned).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let told: Vec<_> = circles(&graph(&modules))
        .iter()
        .map(|way| format!("{} → {}", way.join(" → "), way[0]))
        .collect();
    assert!(told.is_empty(), "circles:\n{}", told.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let told = |parent: &str, child: &str| {
        let planted = [Module::new("src/a/mod.rs", parent), Module::new("src/a/b.rs", child)];
        circles(&graph(&planted)).iter().map(|way| way.join(" → ")).collect::<String>()
    };
    assert_eq!(told("pub mod b;", "use super::X;"), "", "a module item is no import");
    assert_eq!(told("mod b;\nuse b::Y;", "fn y() {}"), "");
    assert_eq!(told("mod b;\nuse b::Y;", "use super::X;"), "src/a/b.rs → src/a/mod.rs");
    assert_eq!(
        told("mod b;\nfn f() { b::y() }", "fn g() { super::x() }"),
        "src/a/b.rs → src/a/mod.rs"
    );
    assert_eq!(
        told("pub mod b;\npub use self::b::Y;", "use crate::a::X;"),
        "src/a/b.rs → src/a/mod.rs"
    );
}
