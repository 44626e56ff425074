//! What a body may be: media types, content codings, the lines of a feed.

use super::case::{BATCH, BATCH_OK, Case, OK, Wanted, problem, status};
use crate::server::client::{batch, feed, get, post, request};
use crate::server::{Server, credit, entries};

const FEED_TYPES: &str = "application/x-ndjson, application/ndjson, application/jsonl";
const FEED_TYPE: &[(&str, Option<&str>)] =
    &[("accept", Some(FEED_TYPES)), ("accept-encoding", None)];
const BATCH_TYPE: &[(&str, Option<&str>)] =
    &[("accept", Some("application/json")), ("accept-encoding", None)];
const CODING: &[(&str, Option<&str>)] = &[("accept-encoding", Some("identity")), ("accept", None)];
const NO_FEED_TYPE: Wanted = unsupported("content-type", FEED_TYPE);
const NO_BATCH_TYPE: Wanted = unsupported("content-type", BATCH_TYPE);
const NO_CODING: Wanted = unsupported("content-encoding", CODING);

const fn unsupported(
    field: &'static str,
    headers: &'static [(&'static str, Option<&'static str>)],
) -> Wanted {
    problem(415, "unsupported_media_type").field(field).with(headers).closes_or_not()
}

/// Header lines of a batch.
const LINES: &[(&str, &str, Wanted)] = &[
    ("JSON", "content-type: application/json\r\n", BATCH_OK),
    ("JSON in upper case", "content-type: APPLICATION/JSON\r\n", BATCH_OK),
    ("JSON with a parameter", "content-type: application/json;charset=utf-8\r\n", BATCH_OK),
    ("JSON with a parameter and spaces", "content-type: application/json ; a=b\r\n", BATCH_OK),
    ("no type", "", NO_BATCH_TYPE),
    ("an empty type", "content-type:\r\n", NO_BATCH_TYPE),
    ("another type", "content-type: text/plain\r\n", NO_BATCH_TYPE),
    ("a longer type", "content-type: application/jsonl\r\n", NO_BATCH_TYPE),
    ("any type", "content-type: */*\r\n", NO_BATCH_TYPE),
    ("a list of types", "content-type: text/plain, application/json\r\n", NO_BATCH_TYPE),
    ("no coding", "content-type: application/json\r\ncontent-encoding: identity\r\n", BATCH_OK),
    ("an empty coding", "content-type: application/json\r\ncontent-encoding:\r\n", BATCH_OK),
    ("gzip", "content-type: application/json\r\ncontent-encoding: gzip\r\n", NO_CODING),
    (
        "identity and gzip",
        "content-type: application/json\r\ncontent-encoding: identity, gzip\r\n",
        NO_CODING,
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let batch = |&(name, lines, wanted): &(&str, &str, Wanted)| {
        let length = format!("{lines}content-length: {}\r\n", BATCH.len());
        let bytes = request("POST", "/v1/batch", &length) + BATCH;
        Case::new(&format!("batch: {name}"), bytes, &[wanted])
    };
    let mut cases: Vec<_> = LINES.iter().map(batch).collect();
    cases.extend([
        Case::new("feed: JSON", post("/v1/entries", "application/json", ""), &[NO_FEED_TYPE]),
        Case::new(
            "feed: NDJSON with a parameter",
            post("/v1/entries", "Application/X-NDJSON; a=b", ""),
            &[status(200)],
        ),
        Case::new(
            "feed: the other types",
            [
                post("/v1/entries", "application/ndjson", ""),
                post("/v1/entries", "APPLICATION/JSONL ;a=b", ""),
            ]
            .concat(),
            &[status(200), status(200)],
        ),
        Case::new("feed: a list of types", post("/v1/entries", FEED_TYPES, ""), &[NO_FEED_TYPE]),
        Case::new(
            "feed: a rejected line",
            [post("/v1/entries", "application/jsonl", "{"), get("/healthz").into()].concat(),
            &[status(422), OK],
        ),
        Case::new(
            "feed: gzip",
            request(
                "POST",
                "/v1/entries",
                "content-type: application/x-ndjson\r\ncontent-encoding: gzip\r\n\
                 content-length: 0\r\n",
            ),
            &[NO_CODING],
        ),
    ]);
    cases
}

const T: u64 = 1_700_000_100_000;

/// Feeds a body with blank lines in it.
fn fed(server: &Server, body: impl AsRef<[u8]>) -> String {
    let response = server.ask(feed(body));
    let is_rejected = !response.body.contains(r#""rejected":0,"#);
    assert_eq!(response.status(), if is_rejected { 422 } else { 200 }, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.body
}

/// Lines of only space, tab and CR are skipped: they have no index.
#[test]
fn blank_lines_are_not_counted() {
    let server = Server::start(&[]);
    let (one, two) = (credit(1, 7, 1, T), credit(2, 7, 1, T));
    let none = r#"{"accepted":0,"duplicates":0,"rejected":0,"results":[]}"#;
    for blank in ["", "\n", "\n\n\n", "\r\n", " \t\r\n", " ", "\t\n \r\n\n"] {
        assert_eq!(fed(&server, blank), none, "{blank:?}");
    }
    let body = format!("\n \t\n{one}\r\n\r\n\n{two}\n\t{one}\n \n");
    let wanted = "{\"accepted\":2,\"duplicates\":1,\"rejected\":0,\"results\":[\
                  {\"index\":2,\"entry_id\":\"1\",\"status\":\"duplicate\"}]}";
    assert_eq!(fed(&server, body), wanted);
    let body = format!("\n\n{one}\n\r\n{{\n\n{two}");
    let answer = fed(&server, body);
    assert!(answer.starts_with(r#"{"accepted":0,"duplicates":2,"rejected":1,"#), "{answer}");
    let is_there = |part: &str| assert!(answer.contains(part), "{part}: {answer}");
    is_there(r#"{"index":0,"entry_id":"1","status":"duplicate"}"#);
    is_there(r#"{"index":1,"entry_id":"","status":"rejected","code":"invalid_json""#);
    is_there(r#"{"index":2,"entry_id":"2","status":"duplicate"}"#);
    // Other white space, as JSON does not know it, makes a line that is no entry.
    for other in ["\x0b", "\x0c", "\u{a0}", "\0"] {
        assert!(fed(&server, other).contains("invalid_json"), "{other:?}");
    }
}

/// Blank lines do not count for the limit of lines either.
#[test]
fn blank_lines_do_not_count_for_the_limit() {
    let server = Server::start(&[]);
    let lines: Vec<_> = (0..10_000).flat_map(|n| [credit(n, 7, 1, T), " \r".to_owned()]).collect();
    let answer = fed(&server, entries(&lines));
    assert!(answer.starts_with(r#"{"accepted":10000,"#), "{}", &answer[..100.min(answer.len())]);
    let all = [entries(&lines), entries(&[credit(10_000, 7, 1, T)])].concat();
    let response = server.ask(feed(all));
    assert_eq!(response.status(), 413, "{response:?}");
}

/// A byte order mark is named, wherever a text begins with it.
#[test]
fn a_byte_order_mark_is_named() {
    let server = Server::start(&[]);
    let detail = |body: &str| {
        let (_, rest) = body.split_once("\"detail\":\"").unwrap_or_else(|| panic!("{body}"));
        rest.split('"').next().expect("split gives one").to_owned()
    };
    let names_it = |detail: &str| {
        let lower = detail.to_lowercase();
        lower.contains("byte order mark") || lower.contains("bom")
    };
    let marked = server.ask(batch(format!("\u{feff}{BATCH}")));
    assert_eq!(marked.status(), 400, "{marked:?}");
    assert!(marked.body.contains(r#""code":"invalid_json""#), "{marked:?}");
    assert!(names_it(&detail(&marked.body)), "{marked:?}");
    let one = credit(1, 7, 1, T);
    for (body, index) in
        [(format!("\u{feff}{one}\n"), 0), (format!("{one}\n\u{feff}{one}\n{one}"), 1)]
    {
        let answer = fed(&server, body);
        let start = format!("{{\"index\":{index},\"entry_id\":\"\",\"status\":\"rejected\"");
        assert!(answer.contains(&start) && answer.contains("invalid_json"), "{answer}");
        assert!(names_it(&detail(&answer)), "{answer}");
    }
    // Another fault has another text.
    let other = server.ask(batch("{"));
    assert!(!names_it(&detail(&other.body)), "{other:?}");
}
