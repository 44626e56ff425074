//! Call trees of a balance read and of a posted entry, traced on the production machine: functions
//! of this crate in the order of their first call.
//!
//! A core with a log on a RAM disk ([`Wire`]) is set up and warmed. One more request then runs in a
//! forked child, a single instruction at a time ([`steps`]). Debug information maps the program
//! counters to functions ([`symbols`]), and these form a call tree without repeats ([`tree`]). The
//! product has no code for this.
//!
//! - **Calls follow the import rules.** A function may call one of another module only if its own
//!   module may import that module (`house::imports`). Inlined functions count. A closure counts as
//!   the function that contains it: when the ledger calls a visitor closure of `api`, that is no
//!   call from the ledger to `api`.
//! - **The trees are in docs/architecture.md**, as traced. They list the functions that the test
//!   profile (`opt-level = 1`) does not inline, and the inlined ones that are the first caller of
//!   another function. Other compilers inline differently, so the text is compared only with the
//!   compiler and machine named above each tree. `PURSER_BLESS=1 cargo test --test purser life_of`
//!   rewrites the trees.
//! - **A read stays short**: see [`READ_FUNCTIONS`]. That is checked together with the text.
//!
//! Without single steps or `addr2line` the tests print that they are skipped.

#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_imports, reason = "only x86-64 is traced")
)]
mod steps;
mod symbols;
mod tree;

use crate::drive::{Wire, get, post};
use crate::house::imports::may_import;
use crate::house::sources::{root, top_module};
use std::collections::BTreeSet;
use std::process::Command;
use std::{env, fs};
use tree::Tree;

const NOW_MS: u64 = 1_763_900_000_000;
/// Most functions that a balance read may call, from its bytes to the end of its send. Inlined
/// functions do not count.
const READ_FUNCTIONS: usize = 29;
/// Bytes per line in the document.
const LINE_BYTES: usize = 100;

fn post_entry(id: u64) -> Vec<u8> {
    let line = format!(
        "{{\"entry_id\":\"{id}\",\"user_id\":\"42\",\"currency\":\"COIN\",\"kind\":\"topup\",\
         \"direction\":\"credit\",\"amount\":500,\"at_ms\":{NOW_MS}}}"
    );
    post("/v1/entries", "application/x-ndjson", line.as_bytes())
}

/// A core with a user, on which first-time work (such as allocations) has been done.
fn warm() -> Wire {
    let mut wire = Wire::with_disk(NOW_MS);
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

/// The call tree of `work`; `None`, with a printed reason, where tracing is impossible.
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

/// Calls to a module that the caller's module may not import.
fn calls_up(tree: &Tree) -> Vec<String> {
    let is_up = |caller: &str, callee: &str| {
        may_import(top_module(caller), top_module(callee)) != Some(true)
    };
    let up = tree.calls.iter().filter(|(caller, callee)| is_up(&caller.file, &callee.file));
    up.map(|(caller, callee)| {
        format!("{} ({}) calls {} ({})", caller.name, caller.file, callee.name, callee.file)
    })
    .collect()
}

/// The compiler and the machine of this program.
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

/// The tree as text of the document.
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

/// Compares a tree with the text between its marks in the document, or writes it there. Returns
/// `false`, without a comparison, if the document was written with another compiler.
fn check_document(mark: &str, tree: &Tree) -> bool {
    let path = root().join("docs/architecture.md");
    let document = fs::read_to_string(&path).expect("the document exists");
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = document.split_once(&begin).expect("the document has the mark");
    let (written, after) = rest.split_once(&end).expect("the mark has an end");
    let traced = text(tree);
    if env::var("PURSER_BLESS").is_ok() {
        fs::write(&path, [before, &begin, &traced, &end, after].concat())
            .expect("the document can be written");
    } else if written.contains(&format!("Traced: {}.\n", compiler())) {
        let advice = "PURSER_BLESS=1 cargo test --test purser life_of";
        assert!(
            written == traced,
            "docs/architecture.md has another {mark} ({advice} rewrites it):\n{traced}"
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
fn traces_equal_the_document_and_follow_the_import_rules() {
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
        assert!(tree.all > 60, "the trace covers the machine");
        assert_eq!(calls_up(tree), [""; 0]);
    }
    if check_document("life of a balance read", &read) && check_document("life of an entry", &entry)
    {
        assert!(read.called <= READ_FUNCTIONS, "a balance read calls {} functions", read.called);
    }
}

#[test]
fn a_forbidden_call_is_found() {
    let node = |name: &str, file: &str| tree::Node { name: name.to_owned(), file: file.to_owned() };
    let (up, down) = (
        node("Connection::update", "src/server/connection.rs"),
        node("Slice::read", "src/slice/mod.rs"),
    );
    let calls = BTreeSet::from([(up.clone(), down.clone()), (down, up)]);
    let told = calls_up(&Tree { calls, ..Tree::default() });
    assert_eq!(
        told,
        ["Slice::read (src/slice/mod.rs) calls Connection::update (src/server/connection.rs)"]
    );
}
