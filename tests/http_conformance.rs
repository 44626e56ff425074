//! Conformance to HTTP/1.1 (RFC 9110, RFC 9112) and to the contract's rules on top of it: tables of
//! bytes and of the answers to them.
//!
//! The kinds of cases are those of public suites: conformance checkers for servers, parsers' own
//! test tables, and lists of known differences between parsers (request smuggling). Each case is
//! sent whole and in pieces to a real server: see [`case`]. A table says what is right, with the
//! answers and what becomes of the connection; new cases are lines in a table.

pub mod case;
mod chunked;
mod connection;
mod content;
mod fields;
mod framing;
mod head_only;
mod interim;
mod methods;
mod order;
mod preconditions;
mod request_line;
mod target;

use case::{Case, MALFORMED_BEFORE, check};
use std::collections::{BTreeMap, BTreeSet};

/// Every table, by name.
const TABLES: &[(&str, fn() -> Vec<Case>)] = &[
    ("request line", request_line::cases),
    ("target", target::cases),
    ("methods", methods::cases),
    ("header lines", fields::cases),
    ("framing", framing::cases),
    ("chunked", chunked::cases),
    ("connection", connection::cases),
    ("content", content::cases),
    ("preconditions", preconditions::cases),
    ("order", order::cases),
    ("HEAD", head_only::cases),
];

on_slices!([one = 1, two = 2] [
    request_lines,
    targets,
    methods_and_options,
    header_lines,
    body_framing,
    chunked_bodies,
    connections,
    media_types_and_lines,
    preconditions_and_caching,
    order_of_refusals,
    head_has_no_content,
]);

fn request_lines() {
    check(request_line::cases());
}

fn targets() {
    check(target::cases());
}

fn methods_and_options() {
    check(methods::cases());
}

fn header_lines() {
    check(fields::cases());
}

fn body_framing() {
    check(framing::cases());
}

fn chunked_bodies() {
    check(chunked::cases());
}

fn connections() {
    check(connection::cases());
}

fn media_types_and_lines() {
    check(content::cases());
}

fn preconditions_and_caching() {
    check(preconditions::cases());
}

fn order_of_refusals() {
    check(order::cases());
}

fn head_has_no_content() {
    check(head_only::cases());
}

/// Bytes of every case, for other tests.
pub fn all_bytes() -> Vec<Vec<u8>> {
    TABLES.iter().flat_map(|(_, cases)| cases()).map(|case| case.bytes).collect()
}

#[test]
fn every_case_has_its_own_name() {
    for (table, cases) in TABLES {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(names.insert(case.name.clone()), "{table}: {} is there twice", case.name);
        }
    }
}

/// A refusal of malformed bytes says what is malformed: equal faults have one text, different
/// faults have different ones.
#[test]
fn each_kind_of_fault_has_its_own_text() {
    let server = case::server();
    let (mut texts, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    for case in TABLES.iter().flat_map(|(_, cases)| cases()) {
        let Some(kind) = case.fault() else { continue };
        let detail = case.detail(&server);
        if detail == MALFORMED_BEFORE {
            wrong.push(format!("{}: says only: {detail}", case.name));
        }
        let text: &String = texts.entry(kind).or_insert_with(|| detail.clone());
        if *text != detail {
            wrong.push(format!("{}: {kind}: {text} and {detail}", case.name));
        }
        let first = kinds.entry(detail.clone()).or_insert(kind);
        if *first != kind {
            wrong.push(format!("{}: {first} and {kind} are both: {detail}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} texts are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(texts.len() > 20, "the tables have all kinds of faults");
}
