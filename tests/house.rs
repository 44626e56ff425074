//! The rules of the house, as tests: layering, the code map, and what is banned where and what to use instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `src`, as `src/…`, with its text.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    found.sort();
    let named = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (named(path), fs::read_to_string(path).unwrap())).collect()
}

/// The room of a file: `src/api/json.rs` → `api`, `src/metrics.rs` → `metrics`.
fn room(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap();
    rest.split_once('/').map_or_else(|| rest.strip_suffix(".rs").unwrap(), |(room, _)| room)
}

/// The code of a file: without its tests, comments and strings.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Which rooms a room may import; `cli` and the two roots may import everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("calendar", &[]),
    ("decimal", &[]),
    ("limits", &[]),
    ("prefetch", &[]),
    ("metrics", &[]),
    ("ledger", &["prefetch"]),
    ("http", &["calendar", "decimal"]),
    ("config", &["api", "engine", "limits"]),
    ("api", &["decimal", "http", "ledger"]),
    ("journal", &["ledger"]),
    ("slice", &["ledger", "journal"]),
    ("engine", &["api", "slice", "journal", "limits", "metrics", "prefetch"]),
    ("cli", &["calendar", "config", "api", "engine", "journal", "ledger", "limits", "metrics", "slice"]),
    ("lib", &[]),
    ("main", &["cli"]),
    ("build", &[]),
];

/// Rooms named by `crate::…` or `purser::…` in code; a group `crate::{a, b}` names each.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for marker in ["crate::", "purser::"] {
        for (at, _) in code.match_indices(marker) {
            let rest = &code[at + marker.len()..];
            let names = rest.strip_prefix('{').map_or_else(
                || vec![rest],
                |group| group.split_once('}').map_or(group, |(names, _)| names).split(',').map(str::trim).collect(),
            );
            for name in names {
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
                rooms.insert(name[..end].to_owned());
            }
        }
    }
    rooms
}

#[test]
fn arrows_point_one_way() {
    for (file, text) in sources() {
        let room = room(&file);
        let (_, allowed) =
            ARROWS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{file}: no such room"));
        for import in imports(&code(&text)) {
            assert!(import == room || allowed.contains(&&*import), "{file} imports {import}: {room} may not");
        }
    }
}

#[test]
fn the_wall_has_no_hole() {
    let caught = |text: &str| imports(&code(text)).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(caught("use crate::engine::core::Core;"), "engine");
    assert_eq!(caught("use crate::{api, ledger::user::User};"), "api ledger");
    assert_eq!(caught("fn f() -> crate::http::Refusal {"), "http");
    assert_eq!(caught("// use crate::http\n#[cfg(test)]\nmod tests { use crate::cli; }"), "");
}

#[test]
fn the_code_map_names_every_file() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map = lib.lines().filter_map(|line| line.strip_prefix("//! src/")).filter_map(|line| line.split(' ').next());
    let map: BTreeSet<_> = map.map(|path| format!("src/{path}")).collect();
    let files: BTreeSet<_> = sources().into_iter().map(|(file, _)| file).collect();
    assert_eq!(map, files, "the code map in src/lib.rs and the files of src differ");
}

#[test]
fn every_file_is_a_module_of_something_and_says_what_it_is() {
    let sources = sources();
    for (file, text) in &sources {
        assert!(text.starts_with("//! "), "{file} does not open with a `//!` line");
        let path = Path::new(file);
        if ["src/lib.rs", "src/main.rs", "src/build.rs"].contains(&&**file) {
            continue;
        }
        let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
        let name =
            if is_mod { path.parent().unwrap().file_stem() } else { path.file_stem() }.unwrap().to_str().unwrap();
        let dir = if is_mod { path.parent().unwrap().parent().unwrap() } else { path.parent().unwrap() };
        let parent = if dir == Path::new("src") { "src/lib.rs".into() } else { dir.join("mod.rs") };
        let (_, parent_text) = sources.iter().find(|(f, _)| Path::new(f) == parent).unwrap();
        assert!(
            parent_text.lines().any(|line| line.trim_start_matches("pub ") == format!("mod {name};")),
            "{file} is not a module of {}",
            parent.display()
        );
    }
}

/// What is banned, in which rooms, and what to use instead.
const BANS: &[(&[&str], &[&str], &str)] = &[
    (
        &["ledger", "http", "api", "journal", "slice", "calendar", "decimal", "limits", "metrics", "config", "cli"],
        &["unsafe ", "unsafe{"],
        "unsafe code belongs in engine/ or prefetch.rs",
    ),
    (
        &["ledger", "http", "api", "journal", "slice", "calendar", "decimal", "limits", "metrics", "config"],
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
        ],
        "clocks, files and sockets belong in engine/: time comes in as a value",
    ),
    (
        &["ledger", "http", "api", "journal", "slice", "calendar", "decimal", "limits", "metrics", "config"],
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
        "no threads, locks or random state in a pure room: state is owned, maps are BTreeMap or hashbrown with a fixed hasher",
    ),
    (&["ledger"], &["f32", "f64"], "money is integer minor units, and so is everything near it"),
    (
        &["ledger", "http", "api", "journal", "slice"],
        &[".unwrap()", "println!", "eprintln!", "dbg!"],
        "what comes from outside is refused by name; what cannot happen is an expect that says why",
    ),
    (
        &[
            "ledger", "http", "api", "journal", "slice", "calendar", "decimal", "limits", "metrics", "config", "cli",
            "engine",
        ],
        &["todo!", "unimplemented!", "TODO", "FIXME"],
        "no stubs",
    ),
];

#[test]
fn what_is_banned_is_not_there() {
    for (file, text) in sources() {
        let code = code(&text);
        for (_, words, instead) in BANS.iter().filter(|(rooms, _, _)| rooms.contains(&room(&file))) {
            for word in *words {
                assert!(!code.contains(word), "{file} has `{word}`: {instead}");
            }
        }
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound_and_every_ordering_why_it_is_enough() {
    for (file, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let before = &lines[number.saturating_sub(6)..=number];
            let said = |mark: &str| before.iter().any(|line| line.contains(mark));
            let code = line.split("//").next().unwrap();
            if code.contains("unsafe {") {
                assert!(said("SAFETY:"), "{file}:{}: an unsafe block without `// SAFETY:`", number + 1);
            }
            for ordering in ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"] {
                if code.contains(&format!("Ordering::{ordering}")) {
                    assert!(said(&format!("{ordering}:")), "{file}:{}: `{ordering}` without its reason", number + 1);
                }
            }
        }
    }
}

#[test]
fn the_readme_has_every_code_beside_its_status() {
    use purser::api::problem::Code;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut listed = std::collections::BTreeMap::new();
    for line in readme.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", status, codes, ""] = cells[..] else { continue };
        let Some(status) = status.get(..3).and_then(|digits| digits.parse::<u16>().ok()) else { continue };
        for code in codes.split('`').skip(1).step_by(2) {
            assert_eq!(listed.insert(code, status), None, "{code} is listed twice");
        }
    }
    for code in Code::ALL {
        let status = listed.remove(code.name()).unwrap_or_else(|| panic!("the README lacks {}", code.name()));
        // A line of the feed is rejected inside a 200.
        assert!(status == code.status().code() || status == 200, "{}: {status} in the README", code.name());
    }
    assert!(listed.is_empty(), "the README has codes that are none: {listed:?}");
}
