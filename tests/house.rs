//! Rules for the code base, as tests: layering, import cycles, names, the code map, and banned
//! constructs with their replacements.

mod count;
mod cycles;
pub mod imports;
pub mod lines;
mod names;
pub mod sources;

use sources::{code, root, sources, top_module};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_code_map_names_every_file() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//! src/"))
        .filter_map(|line| line.split(' ').next());
    let map: BTreeSet<_> = map.map(|path| format!("src/{path}")).collect();
    let files: BTreeSet<_> = sources().into_iter().map(|(file, _)| file).collect();
    assert_eq!(map, files, "the code map in src/lib.rs and the files of src differ");
}

#[test]
fn every_file_is_a_module_and_starts_with_a_doc_line() {
    let sources = sources();
    for (file, text) in &sources {
        assert!(text.starts_with("//! "), "{file} does not open with a `//!` line");
        let path = Path::new(file);
        if ["src/lib.rs", "src/main.rs", "src/build.rs"].contains(&&**file) {
            continue;
        }
        let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
        let name = if is_mod { path.parent().unwrap().file_stem() } else { path.file_stem() }
            .unwrap()
            .to_str()
            .unwrap();
        let dir =
            if is_mod { path.parent().unwrap().parent().unwrap() } else { path.parent().unwrap() };
        let parent = if dir == Path::new("src") { "src/lib.rs".into() } else { dir.join("mod.rs") };
        let (_, parent_text) = sources.iter().find(|(f, _)| Path::new(f) == parent).unwrap();
        assert!(
            parent_text
                .lines()
                .any(|line| line.trim_start_matches("pub ") == format!("mod {name};")),
            "{file} is not a module of {}",
            parent.display()
        );
    }
}

/// Pure modules: their results depend only on their arguments.
const PURE: &[&str] = &[
    "ledger", "http", "api", "journal", "slice", "server", "limits", "metrics", "decimal", "config",
];

/// Modules without unsafe code: all except `engine` and `prefetch`.
const SAFE: &[&str] = &[
    "ledger", "http", "tls", "api", "journal", "slice", "server", "limits", "metrics", "decimal",
    "config", "admin", "ingest", "shadow", "cli", "lib", "main", "build",
];

/// Modules that process bytes from outside.
const FED: &[&str] = &["ledger", "http", "tls", "api", "journal", "slice", "server"];

/// Bans: the modules, the banned words, and what to use instead.
const BANS: &[(&[&str], &[&str], &str)] = &[
    (SAFE, &["unsafe ", "unsafe{"], "unsafe code belongs in engine/ or prefetch.rs"),
    (
        PURE,
        &[
            "std::time::Instant",
            "SystemTime",
            "Instant::now",
            "std::fs",
            "std::env",
            "std::io",
            "TcpStream",
            "io_uring",
            "libc::",
            "rustix::",
        ],
        "clocks, files and sockets belong in engine/: time comes in as a value",
    ),
    (
        PURE,
        &[
            "std::thread",
            "Mutex",
            "RwLock",
            "Atomic",
            "RefCell",
            "thread_local",
            "RandomState",
            "std::collections::HashMap",
        ],
        "no threads, locks or random state in a pure module: state is owned, maps are BTreeMap or \
         hashbrown with a fixed hasher",
    ),
    (
        &["ledger"],
        &["f32", "f64"],
        "money is integer minor units; so are all figures of the ledger",
    ),
    (
        FED,
        &[".unwrap()", "println!", "eprintln!", "dbg!"],
        "refuse bad input with an error; where failure is impossible, use an expect that says why",
    ),
    (SAFE, STUBS, "no stubs"),
    (&["engine", "prefetch"], STUBS, "no stubs"),
];

const STUBS: &[&str] = &["todo!", "unimplemented!", "TODO", "FIXME"];

#[test]
fn banned_constructs_do_not_occur() {
    for (file, text) in sources() {
        let code = code(&text);
        for (_, words, instead) in
            BANS.iter().filter(|(modules, _, _)| modules.contains(&top_module(&file)))
        {
            for word in *words {
                assert!(!code.contains(word), "{file} has `{word}`: {instead}");
            }
        }
    }
}

#[test]
fn every_unsafe_block_and_every_ordering_has_its_reason() {
    for (file, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let before = &lines[number.saturating_sub(6)..=number];
            let said = |mark: &str| before.iter().any(|line| line.contains(mark));
            let code = line.split("//").next().unwrap();
            if code.contains("unsafe {") {
                assert!(
                    said("SAFETY:"),
                    "{file}:{}: an unsafe block without `// SAFETY:`",
                    number + 1
                );
            }
            for ordering in ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"] {
                if code.contains(&format!("Ordering::{ordering}")) {
                    assert!(
                        said(&format!("{ordering}:")),
                        "{file}:{}: `{ordering}` without its reason",
                        number + 1
                    );
                }
            }
        }
    }
}
