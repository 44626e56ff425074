//! The life of a balance read and of a posted entry, traced: which functions of this crate the
//! production machine calls, in the order of first call.
//!
//! A core with a log on a ram disk ([`Wire`]) is set up and warm; then one more request is run a
//! single instruction at a time, in a forked child ([`steps`]). The program counters become
//! functions through the debug information ([`symbols`]), and these a call tree without repeats
//! ([`tree`]). Nothing in the product knows of it.
//!
//! - **No call goes up.** Where a function calls one of another room, the caller's room may import
//!   the callee's: the table is that of `house::arrows`. Functions that the compiler has inlined
//!   count. A closure counts as the function that wrote it: a visitor of the ledger that runs a
//!   closure of `api` is that closure's loop, not a call up.
//! - **The trees stand in docs/architecture.md** as they were traced. The listed functions are
//!   those that the test profile (`opt-level = 1`) calls, and of the inlined ones those that call
//!   another; inlined functions that call nothing are left out. Another compiler inlines otherwise,
//!   so the text is compared where it was written: the line above a tree says by which compiler,
//!   for which machine. `PURSER_BLESS=1 cargo test --test purser life_of` writes the trees anew.
//! - **A read stays short**: see [`READ_FUNCTIONS`]. That is checked with the text.
//!
//! Where single steps or `addr2line` are not to be had, the tests say so and are left out.

mod steps;
mod symbols;
mod tree;

use crate::drive::{Wire, get, post};
use crate::house::arrows::may;
use crate::house::sources::{room, root};
use std::collections::BTreeSet;
use std::process::Command;
use std::{env, fs};
use tree::Tree;

const NOW_MS: u64 = 1_763_900_000_000;
/// Functions that a balance read calls, at most, from its bytes to the end of its send. Inlined
/// ones do not count.
const READ_FUNCTIONS: usize = 29;
/// Bytes of a line in the document.
const LINE_BYTES: usize = 100;

fn post_entry(id: u64) -> Vec<u8> {
    let line = format!(
        r#"{{"entry_id":"{id}","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":500,"at_ms":{NOW_MS}}}"#
    );
    post("/v1/entries", "application/x-ndjson", line.as_bytes())
}

/// A core with a user, and whatever a request needs for the first time.
fn warm() -> Wire {
    let mut wire = Wire::keeping(NOW_MS);
    for id in [1, 2] {
        wire.send(&post_entry(id));
        wire.work();
    }
    wire.send(&get("/v1/users/42/balance"));
    assert!(is_answered(&mut wire));
    wire
}

fn is_answered(wire: &mut Wire) -> bool {
    wire.take().ends_with(b"}")
}

/// The tree of some work; `None`, loudly, where it cannot be had.
fn trace(work: impl FnOnce()) -> Option<Tree> {
    let mut all = Vec::new();
    let traced = steps::trace(work, |at| all.push(at)).and_then(|()| {
        let counters: BTreeSet<_> = all.iter().map(|at| at.pc).collect();
        Ok(Tree::of(&all, &symbols::chains(&counters)?))
    });
    traced
        .inspect_err(|why| eprintln!("SKIPPED: the life of a request cannot be traced here: {why}"))
        .ok()
}

/// Calls to a room that the caller's may not import.
fn calls_up(tree: &Tree) -> Vec<String> {
    let is_up = |caller: &str, callee: &str| may(room(caller), room(callee)) != Some(true);
    let up = tree.calls.iter().filter(|(caller, callee)| is_up(&caller.file, &callee.file));
    up.map(|(caller, callee)| {
        format!("{} ({}) calls {} ({})", caller.name, caller.file, callee.name, callee.file)
    })
    .collect()
}

/// What compiled this program, and for which machine.
fn compiler() -> String {
    let told =
        Command::new(env::var("RUSTC").as_deref().unwrap_or("rustc")).arg("--version").output();
    let version =
        told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned()).unwrap_or_default();
    let version = version.split(' ').nth(1).unwrap_or("an unknown compiler").to_owned();
    let units = if env::var("CARGO_INCREMENTAL").is_ok_and(|set| set == "0") {
        ", not incremental"
    } else {
        ""
    };
    format!("rustc {version}, {}{units}", env::consts::ARCH)
}

/// The tree as it stands in the document.
fn text(tree: &Tree) -> String {
    let lines = tree.lines.iter().map(|(depth, node)| {
        let (indent, file) = (2 * depth, node.file.trim_start_matches("src/"));
        let width = LINE_BYTES - file.len() - indent - 1;
        format!("{:indent$}{:width$} {file}\n", "", node.name)
    });
    let head = format!(
        "{} functions are called; {} more are inlined. Traced: {}.\n\n```text\n",
        tree.called,
        tree.all - tree.called,
        compiler()
    );
    head + &lines.collect::<String>() + "```\n"
}

/// Compares a tree with what stands between its marks in the document, or puts it there. Returns
/// whether that could be done: not where the document was written with another compiler.
fn check_document(mark: &str, tree: &Tree) -> bool {
    let path = root().join("docs/architecture.md");
    let document = fs::read_to_string(&path).expect("the document is there");
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = document.split_once(&begin).expect("the document has the mark");
    let (written, after) = rest.split_once(&end).expect("the mark has an end");
    let traced = text(tree);
    if env::var("PURSER_BLESS").is_ok() {
        fs::write(&path, [before, &begin, &traced, &end, after].concat())
            .expect("the document is ours");
    } else if written.contains(&format!("Traced: {}.\n", compiler())) {
        let advice = "PURSER_BLESS=1 cargo test --test purser life_of";
        assert!(
            written == traced,
            "docs/architecture.md tells another {mark} ({advice} writes it anew):\n{traced}"
        );
    } else {
        eprintln!(
            "SKIPPED: docs/architecture.md was written with another compiler than {}",
            compiler()
        );
        return false;
    }
    true
}

#[test]
fn requests_are_what_the_document_tells_and_no_call_goes_up() {
    let (mut wire, read) = (warm(), get("/v1/users/42/balance"));
    let read = trace(|| {
        wire.send(&read);
        assert!(is_answered(&mut wire));
    });
    let (mut wire, entry) = (warm(), post_entry(3));
    let entry = trace(|| {
        wire.send(&entry);
        assert!(wire.sent().is_empty(), "the answer waits for the log");
        wire.work();
        assert!(is_answered(&mut wire));
    });
    let (Some(read), Some(entry)) = (read, entry) else { return };
    for tree in [&read, &entry] {
        assert!(tree.all > 60, "a trace sees the machine at work");
        assert_eq!(calls_up(tree), [""; 0]);
    }
    if check_document("life of a balance read", &read) && check_document("life of an entry", &entry)
    {
        assert!(read.called <= READ_FUNCTIONS, "a balance read calls {} functions", read.called);
    }
}

#[test]
fn a_call_up_is_noticed() {
    let node = |name: &str, file: &str| tree::Node { name: name.to_owned(), file: file.to_owned() };
    let (up, down) = (
        node("Connection::settle", "src/server/connection.rs"),
        node("Slice::read", "src/slice/mod.rs"),
    );
    let calls = BTreeSet::from([(up.clone(), down.clone()), (down, up)]);
    let told = calls_up(&Tree { calls, ..Tree::default() });
    assert_eq!(
        told,
        ["Slice::read (src/slice/mod.rs) calls Connection::settle (src/server/connection.rs)"]
    );
}
