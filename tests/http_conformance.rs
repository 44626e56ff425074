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

use case::{Case, check};
use purser::api::problem::Code;
use purser::http::NotHttp;
use std::collections::BTreeSet;

type Table = fn() -> Vec<Case>;

/// Every table, by name.
const TABLES: &[(&str, Table)] = &[
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

/// A refusal of malformed bytes says what is malformed: the tables check the text of every fault
/// but one, which no bytes provoke as far as we know. All texts differ.
#[test]
fn every_fault_is_provoked_and_has_its_own_text() {
    let cases = TABLES.iter().flat_map(|(_, cases)| cases());
    let provoked: Vec<_> = cases.flat_map(|case| case.faults().collect::<Vec<_>>()).collect();
    let mut texts = BTreeSet::new();
    for &code in Code::ALL {
        let Code::MalformedRequest(fault) = code else { continue };
        assert!(texts.insert(code.detail()), "the text of {fault:?} is that of another fault");
        let is_provoked = provoked.contains(&fault);
        assert_eq!(is_provoked, fault != NotHttp::Ambiguous, "{fault:?}: {}", code.detail());
    }
}
