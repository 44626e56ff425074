//! Textual reader for the source files of `src`: their code and the paths that they name.
//!
//! Comments, strings and tests are left out, and `use` trees are expanded. A path counts, in a
//! `use` or in code, if it begins with `crate`, `purser`, `super`, `self` or a child module's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `src`, as `src/…`, with its text.
pub fn sources() -> Vec<(String, String)> {
    files("src")
}

/// Every Rust file below a directory of the repository, by its path from there, with its text.
/// Build output is left out.
pub fn files(directory: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(directory), &mut found);
    found.sort();
    let named = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (named(path), fs::read_to_string(path).unwrap())).collect()
}

/// The top-level module of a file: `src/api/json.rs` → `api`, `src/metrics.rs` → `metrics`.
pub fn top_module(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap();
    rest.split_once('/').map_or_else(|| rest.strip_suffix(".rs").unwrap(), |(module, _)| module)
}

/// The code of a file, without its tests and comments.
pub fn code(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]\n").find(|(at, mark)| {
        let next = text[at + mark.len()..].lines().next().unwrap_or_default();
        next.ends_with("mod tests {")
    });
    let text = tests.map_or(text, |(at, _)| &text[..at]);
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// A path from the crate root: `["ledger", "book", "Book"]`.
pub type Names = Vec<String>;

/// A source file with the paths that it names.
pub struct Module {
    pub file: String,
    /// The file's module path: `src/api/json.rs` → `["api", "json"]`.
    pub at: Names,
    /// Every path that the file names.
    pub paths: BTreeSet<Names>,
    /// Paths imported by `use` items, by their local name. A child module, or any module if the
    /// item is `pub`, can use that name.
    pub uses: BTreeMap<String, Names>,
}

impl Module {
    pub fn new(file: &str, text: &str) -> Self {
        let rest = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        let rest = rest.strip_suffix("mod").map_or(rest, |dir| dir.trim_end_matches('/'));
        let at: Names = match rest {
            "lib" => Vec::new(),
            rest => rest.split('/').map(str::to_owned).collect(),
        };
        let text = code(text);
        let tokens = tokens(&text);
        let children: BTreeSet<_> =
            tokens.windows(3).filter(|w| w[0] == "mod" && w[2] == ";").map(|w| w[1]).collect();
        let (mut paths, mut uses) = (BTreeSet::new(), BTreeMap::new());
        for (number, token) in tokens.iter().enumerate() {
            let before = number.checked_sub(1).map_or("", |before| tokens[before]);
            let starts = match *token {
                "crate" | "purser" | "super" | "self" => !["in", "::"].contains(&before),
                name => children.contains(name) && !["mod", "::"].contains(&before),
            };
            if !starts || tokens.get(number + 1) != Some(&"::") {
                continue;
            }
            let mut found = Vec::new();
            tree(&mut tokens[number..].iter().copied().peekable(), &mut Vec::new(), &mut found);
            for (path, renamed) in found {
                let Some(path) = absolute(&at, &path) else { continue };
                if let ("use", Some(last)) = (before, renamed.or(path.last().cloned())) {
                    uses.insert(last, path.clone());
                }
                paths.insert(path);
            }
        }
        Self { file: file.to_owned(), at, paths, uses }
    }
}

/// All files of `src`, sorted by path.
pub fn modules() -> Vec<Module> {
    sources().iter().map(|(file, text)| Module::new(file, text)).collect()
}

/// The file that a path leads to, and the next name of the path after that file's module.
pub fn lookup<'a>(modules: &'a [Module], path: &[String]) -> Option<(&'a Module, Option<String>)> {
    (0..=path.len()).rev().find_map(|end| {
        let module = modules.iter().find(|module| module.at == path[..end])?;
        Some((module, path.get(end).cloned()))
    })
}

/// Tokens: identifiers, strings, `::` and single characters. A quote that is not closed on its line
/// is a token of its own.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            '\'' if rest.starts_with("'\"'") => 3,
            '\'' if rest.starts_with("'\\\"'") => 4,
            '"' => string_end(rest).unwrap_or(1),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// End of the string that `rest` begins with, if it is on the same line.
fn string_end(rest: &str) -> Option<usize> {
    let mut escaped = false;
    let line = rest.lines().next()?;
    line.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

/// Expands a `use` tree, or a path in code: `a::{b, c as d}` → `a::b`, `a::c` as `d`.
fn tree<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    prefix: &mut Vec<&'a str>,
    found: &mut Vec<(Vec<&'a str>, Option<String>)>,
) {
    let depth = prefix.len();
    loop {
        match tokens.next() {
            Some("{") => {
                loop {
                    match tokens.peek() {
                        Some(&"}") | None => break,
                        Some(&",") => drop(tokens.next()),
                        Some(_) => tree(tokens, prefix, found),
                    }
                }
                tokens.next();
                break;
            }
            Some(name)
                if name == "*" || name.starts_with(|c: char| c.is_alphanumeric() || c == '_') =>
            {
                prefix.push(name);
                if tokens.next_if_eq(&"::").is_none() {
                    let renamed =
                        tokens.next_if_eq(&"as").and_then(|_| tokens.next().map(str::to_owned));
                    found.push((prefix.clone(), renamed));
                    break;
                }
            }
            _ => break,
        }
    }
    prefix.truncate(depth);
}

/// Resolves a path written in module `at` to one from the crate root. `self` and `*` at the end are
/// dropped: both name the module before them.
fn absolute(at: &[String], path: &[&str]) -> Option<Names> {
    let (mut from, rest) = match path[0] {
        "crate" | "purser" => (Vec::new(), &path[1..]),
        "self" => (at.to_vec(), &path[1..]),
        "super" => {
            let ups = path.iter().take_while(|name| **name == "super").count();
            (at[..at.len().checked_sub(ups)?].to_vec(), &path[ups..])
        }
        _ => (at.to_vec(), path),
    };
    from.extend(
        rest.iter().filter(|name| !["self", "*"].contains(*name)).map(|name| (*name).to_owned()),
    );
    Some(from)
}

#[test]
fn paths_are_found_wherever_they_are_written() {
    let found = |file: &str, text: &str| {
        let module = Module::new(file, text);
        module.paths.iter().map(|path| path.join("::")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        found("src/engine/cores.rs", "use crate::engine::executor::Executor;"),
        "engine::executor::Executor"
    );
    assert_eq!(found("src/a/b.rs", "use crate::{api, x::{self, y::Z as Q}};"), "api x x::y::Z");
    assert_eq!(found("src/a/b.rs", "use super::super::c::D; use self::e::*;"), "a::b::e c::D");
    assert_eq!(
        found("src/a/mod.rs", "mod c;\nfn f() -> crate::http::Refusal { c::g(d::h) }"),
        "a::c::g http::Refusal"
    );
    assert_eq!(found("src/a/b.rs", "pub(in crate::http) fn f(x: super::X<'_>) {}"), "a::X");
    assert_eq!(
        found("src/a/b.rs", "// use crate::http\n#[cfg(test)]\nmod tests {\nuse crate::cli;\n}"),
        ""
    );
    assert_eq!(found("src/a/b.rs", r#"f(b'"', "\"crate::x", '\"', crate::y)"#), "y");
    assert_eq!(found("src/main.rs", "purser::cli::main()"), "cli::main");
}
