//! The life of a request.
mod steps;
mod symbols;
mod tree;

use crate::drive::{Wire, get, post};
use std::collections::BTreeSet;
use tree::Tree;

const NOW_MS: u64 = 1_763_900_000_000;

fn entry(id: u64) -> Vec<u8> {
    let line = format!(
        r#"{{"entry_id":"{id}","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":500,"at_ms":{NOW_MS}}}"#
    );
    post("/v1/entries", "application/x-ndjson", line.as_bytes())
}

fn trace(work: impl FnOnce()) -> Result<Tree, String> {
    let mut all = Vec::new();
    steps::trace(work, |at| all.push(at))?;
    let counters: BTreeSet<_> = all.iter().map(|at| at.pc).collect();
    println!("{} steps, {} counters", all.len(), counters.len());
    let chains = symbols::chains(&counters)?;
    Ok(Tree::of(&all, &chains))
}

#[test]
fn a_balance_read() {
    let mut wire = Wire::keeping(NOW_MS);
    for id in [1, 2] {
        wire.send(&entry(id));
        wire.work();
    }
    let request = get("/v1/users/42/balance");
    wire.send(&request);
    wire.clear();
    let read = trace(|| { wire.send(&request); assert!(wire.take().starts_with(b"HTTP/1.1 200")); });
    show(read);
    let body = entry(3);
    let read = trace(|| { wire.send(&body); wire.work(); assert!(wire.take().starts_with(b"HTTP/1.1 200")); });
    show(read);
}

fn show(tree: Result<Tree, String>) {
    let tree = tree.unwrap();
    for (depth, tree::Node { name, file }) in &tree.lines {
        println!("{:width$}{name}   {file}", "", width = 2 * depth);
    }
    println!("{} {} {}", tree.lines.len(), tree.called, tree.all);
    let room = crate::house::sources::room;
    for (tree::Node{name: a, file: fa}, tree::Node{name: b, file: fb}) in &tree.calls {
        if room(fa) != room(fb) { println!("{} {a} -> {} {b}", room(fa), room(fb)); }
    }
}
