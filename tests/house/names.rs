//! One name, one thing: two public types of different rooms do not share a name.

use super::sources::{code, room, sources};
use std::collections::{BTreeMap, BTreeSet};

/// Names that may repeat. Each room has its own `Error`.
const EXEMPT: &[&str] = &["Error"];

/// Names that still repeat. Temporary: each goes when one of its types is renamed or removed.
const REPEATED: &[&str] = &[
    "Block",
    "Counts",
    "Directory",
    "Found",
    "Kind",
    "Line",
    "Names",
    "Place",
    "Progress",
    "Room",
    "Slice",
    "Slot",
    "Written",
];

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
fn two_public_types_of_different_rooms_have_different_names() {
    let sources = sources();
    let mut rooms: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in &sources {
        for name in types(&code(text)) {
            rooms.entry(name.to_owned()).or_default().insert(room(file));
        }
    }
    rooms.retain(|name, rooms| rooms.len() > 1 && !EXEMPT.contains(&&**name));
    println!("repeated: {rooms:?}");
    rooms.retain(|name, _| !REPEATED.contains(&&**name));
    assert!(rooms.is_empty(), "rooms that have a public type of the same name: {rooms:?}");
}

#[test]
fn public_types_are_found() {
    let code = "pub struct A<T>(T);\n    pub enum B {\nstruct C;\npub(super) struct D;\npub trait E: F {\npub const G: u8 = 1;";
    assert_eq!(types(code).collect::<Vec<_>>(), ["A", "B", "E"]);
}
