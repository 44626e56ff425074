//! Maps program counters to functions, inlined ones included, with `addr2line`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

/// A function that a program counter is in, from the debug information.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// Path such as `purser::server::owner::Owner::apply`; a closure has that of its function.
    pub path: String,
    /// Whether the code is a closure's.
    pub is_closure: bool,
    /// Source file of the code: the function's, or that of one inlined into it.
    place: String,
}

/// Functions that a program counter is in, outermost first: the called function, then each one
/// inlined into the one before it.
pub type Chain = Vec<Code>;

/// Address range of this program's own code.
fn image() -> Result<Range<u64>, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let ours = maps.lines().filter(|line| line.ends_with(&*program.to_string_lossy()));
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("an address");
    let parts = ours.filter_map(|line| line.split(' ').next()?.split_once('-'));
    let parts: Vec<_> = parts.map(|(start, end)| hex(start)..hex(end)).collect();
    let (first, last) =
        parts.first().zip(parts.last()).ok_or("this program is not in its own memory map")?;
    Ok(first.start..last.end)
}

/// The chains of those program counters that are in this program. `Err` says what is missing.
pub fn chains(counters: &BTreeSet<u64>) -> Result<BTreeMap<u64, Chain>, String> {
    let image = image()?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new("addr2line")
        .args(["--inlines", "--functions", "--demangle", "--addresses", "--exe"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("addr2line: {error}"))?;
    let mut asked = child.stdin.take().expect("it is piped");
    let ours: Vec<u64> =
        counters.range(image.clone()).map(|counter| counter - image.start).collect();
    let writer =
        thread::spawn(move || ours.iter().try_for_each(|address| writeln!(asked, "{address:#x}")));
    let told = child.wait_with_output().map_err(|error| format!("addr2line: {error}"))?;
    writer.join().expect("it only writes").map_err(|error| format!("addr2line: {error}"))?;
    Ok(read(&String::from_utf8_lossy(&told.stdout), image.start))
}

/// Parses the output of `addr2line`: an address, then for each function, innermost first, a line
/// with its name and one with its source position.
fn read(told: &str, start: u64) -> BTreeMap<u64, Chain> {
    let mut chains = BTreeMap::new();
    let mut lines = told.lines().peekable();
    while let Some(address) = lines.next() {
        let address =
            address.strip_prefix("0x").and_then(|text| u64::from_str_radix(text, 16).ok());
        let mut chain = Chain::new();
        while let Some(name) = lines.next_if(|line| !line.starts_with("0x")) {
            chain.push(code(name, lines.next().expect("a name has a place")));
        }
        chain.reverse();
        chains.insert(address.expect("it repeats the address") + start, chain);
    }
    chains
}

fn code(name: &str, place: &str) -> Code {
    let place = place
        .strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .map_or(place, |rest| rest.trim_start_matches('/'));
    let end = name.find("::{{closure}}");
    Code {
        path: name[..end.unwrap_or(name.len())].to_owned(),
        is_closure: end.is_some(),
        place: place.split(':').next().unwrap_or_default().to_owned(),
    }
}

/// The file of each function of this crate, by path: the one with most of its program counters.
/// Functions of the tests are not included.
pub fn files(chains: &BTreeMap<u64, Chain>) -> BTreeMap<String, String> {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    for code in chains.values().flatten() {
        *counts.entry((&code.path, &code.place)).or_default() += 1;
    }
    let mut files = BTreeMap::<&str, (usize, &str)>::new();
    for ((path, file), count) in counts {
        let most = files.entry(path).or_default();
        *most = (*most).max((count, file));
    }
    let is_ours = |path: &str| {
        path.trim_start_matches(['<', '&']).trim_start_matches("mut ").starts_with("purser::")
    };
    let ours =
        files.into_iter().filter(|(path, (_, file))| is_ours(path) && file.starts_with("src/"));
    ours.map(|(path, (_, file))| (path.to_owned(), file.to_owned())).collect()
}

/// The last two names of a path: `<purser::server::core::Server as …::Machine>::end_turn` →
/// `Server::end_turn`.
pub fn short(path: &str) -> String {
    let mut names: Vec<_> =
        parts(path).into_iter().map(of).filter(|name| !name.is_empty()).collect();
    let last = names.split_off(names.len().saturating_sub(2));
    last.join("::")
}

/// The type name of `<A as B>`, `<impl A>` or `<impl B for A>`; any other name without its generic
/// arguments.
fn of(part: &str) -> String {
    let Some(inner) = part.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) else {
        return part.split('<').next().unwrap_or_default().to_owned();
    };
    let inner = inner
        .strip_prefix("impl ")
        .map_or(inner, |rest| rest.rsplit(" for ").next().unwrap_or(rest));
    let of_type = inner
        .split(" as ")
        .next()
        .unwrap_or(inner)
        .trim_start_matches("&mut ")
        .trim_start_matches('&');
    parts(of_type).last().map_or_else(String::new, |last| of(last))
}

/// Splits a path at each `::` that is not inside brackets.
fn parts(path: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, mark) in path.char_indices() {
        match mark {
            '<' | '(' | '[' => depth += 1,
            '>' if !path[..at].ends_with('-') => depth -= 1,
            ')' | ']' => depth -= 1,
            ':' if depth == 0 && path[..at].ends_with(':') => {
                parts.push(&path[start..at - 1]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&path[start..]);
    parts
}

#[test]
fn paths_are_shortened_to_type_and_function() {
    assert_eq!(
        short("<purser::server::core::Server as purser::server::machine::Machine>::end_turn"),
        "Server::end_turn"
    );
    assert_eq!(
        short("purser::server::scatter::<impl purser::server::shared::Shared>::end"),
        "Shared::end"
    );
    assert_eq!(short("<purser::slice::Log<A> as core::convert::From<x::Y>>::from"), "Log::from");
    assert_eq!(short("purser::http::head::parse"), "head::parse");
    let closure =
        code("purser::ledger::memory::ahead::{{closure}}::{{closure}}", "src/ledger/memory.rs:9");
    assert_eq!((&*short(&closure.path), closure.is_closure), ("memory::ahead", true));
    assert_eq!(
        code("f", concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs:7 (discriminator 3)")).place,
        "src/lib.rs"
    );
}
