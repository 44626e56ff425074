//! A case: the bytes that a client sends, the answers that must come back, and whether the
//! connection stays open.
//!
//! A case is sent whole and in pieces. Every answer is checked for what holds for all of them: the
//! order of the header lines, `connection: close` exactly when the server closes, a problem's
//! members. A connection that stays open then answers one more request; one that closes sends
//! nothing more.

use crate::server::client::{get, request};
use crate::server::{Client, Response, Server, credit};
use purser::api::problem::Code;
use purser::http::NotHttp as Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A batch that reads the balance of user 42.
pub const BATCH: &str = r#"{"requests":[{"user_id":"42","read":"balance"}]}"#;
/// The answer to [`BATCH`].
pub const BATCH_ANSWER: &str = concat!(
    r#"{"responses":[{"user_id":"42","version":2,"as_of_ms":1700000100000,"balances":["#,
    r#"{"currency":"COIN","posted":507,"pending_debits":0,"pending_credits":0,"available":507}]}]}"#
);
/// Longest bytes that are sent one by one.
const BYTEWISE: usize = 600;
/// Pieces of longer ones.
const PIECES: usize = 7;
/// Header lines of answers, in the order in which they come.
const HEADER_ORDER: [&str; 10] = [
    "content-type",
    "date",
    "cache-control",
    "etag",
    "allow",
    "accept",
    "accept-encoding",
    "retry-after",
    "connection",
    "content-length",
];

/// What becomes of the connection after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stays,
    Closes,
    /// As the answer says: the contract leaves it open.
    AsSaid,
}

/// An answer that must come.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    status: u16,
    /// The code of a problem.
    code: Option<&'static str>,
    field: &'static str,
    fault: Option<Fault>,
    has_content: bool,
    body: Option<&'static str>,
    /// Header lines, and those that must be absent.
    headers: &'static [(&'static str, Option<&'static str>)],
    end: End,
}

/// The answer `ok` of `/healthz`.
pub const OK: Wanted = status(200).body("ok");
/// The answer to [`BATCH`].
pub const BATCH_OK: Wanted = status(200).body(BATCH_ANSWER);
/// 413 with a closed connection.
pub const TOO_LARGE: Wanted = problem(413, "content_too_large").closes();
/// 404 of a path.
pub const NOT_FOUND: Wanted = problem(404, "not_found");
/// 501 of a method.
pub const NO_METHOD: Wanted = problem(501, "method_not_implemented").closes_or_not();
/// 501 of a transfer coding.
pub const NO_CODING: Wanted = problem(501, "unsupported_transfer_coding").closes();
/// 505.
pub const NO_VERSION: Wanted = problem(505, "http_version_not_supported").closes();
/// 400 of a user id.
pub const BAD_USER: Wanted = problem(400, "invalid_parameter").field("user_id");

/// An answer with content that is not checked.
pub const fn status(status: u16) -> Wanted {
    Wanted {
        status,
        code: None,
        field: "",
        fault: None,
        has_content: true,
        body: None,
        headers: &[],
        end: End::Stays,
    }
}

/// A problem.
pub const fn problem(code: u16, name: &'static str) -> Wanted {
    Wanted { code: Some(name), ..status(code) }
}

/// `malformed_request` with the detail of a fault, and a closed connection.
pub const fn malformed(fault: Fault) -> Wanted {
    Wanted { fault: Some(fault), ..problem(400, "malformed_request").closes() }
}

impl Wanted {
    /// The connection is closed.
    pub const fn closes(self) -> Self {
        Self { end: End::Closes, ..self }
    }

    /// The connection may be closed, if the answer says so.
    pub const fn closes_or_not(self) -> Self {
        Self { end: End::AsSaid, ..self }
    }

    /// This body.
    pub const fn body(self, text: &'static str) -> Self {
        Self { body: Some(text), ..self }
    }

    /// Any body.
    pub const fn any_body(self) -> Self {
        Self { body: None, ..self }
    }

    /// Whether it is a 200.
    pub const fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// No content: `HEAD`, 204, 304.
    pub const fn empty(self) -> Self {
        Self { has_content: false, body: None, ..self }
    }

    /// A problem's field.
    pub const fn field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    /// These header lines.
    pub const fn with(self, headers: &'static [(&'static str, Option<&'static str>)]) -> Self {
        Self { headers, ..self }
    }
}

/// An exchange on a connection of its own.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is special about it.
    pub name: String,
    /// What the client sends.
    pub bytes: Vec<u8>,
    wanted: Vec<Wanted>,
}

impl Case {
    /// A case with its answers in order.
    pub fn new(name: &str, bytes: impl AsRef<[u8]>, wanted: &[Wanted]) -> Self {
        let (name, bytes) = (name.to_owned(), bytes.as_ref().to_vec());
        Self { name, bytes, wanted: wanted.to_vec() }
    }

    /// The faults that its answers name.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        self.wanted.iter().filter(|wanted| wanted.has_content).filter_map(|wanted| wanted.fault)
    }

    /// Whether interim answers may come.
    fn expects_continue(&self) -> bool {
        String::from_utf8_lossy(&self.bytes).to_lowercase().contains("100-continue")
    }

    /// Sends the bytes in `pieces` and checks all that comes back.
    fn run(&self, server: &Server, piece: usize) {
        let mut client = server.connect();
        self.bytes.chunks(piece).for_each(|piece| client.send(piece));
        let mut closes = false;
        for (number, wanted) in self.wanted.iter().enumerate() {
            let response = self.answer(&mut client, wanted);
            wanted.check(&response);
            check_headers(&response);
            closes = response.header("connection") == Some("close");
            let is_last = number + 1 == self.wanted.len();
            let must_close = match wanted.end {
                End::Closes => Some(true),
                End::AsSaid if is_last => None,
                End::Stays | End::AsSaid => Some(false),
            };
            let is_right = must_close.is_none_or(|must| must == closes);
            assert!(is_right, "connection: close comes if the server closes: {response:?}");
        }
        if closes {
            client.is_closed();
            return;
        }
        client.send(get("/readyz"));
        let probe = client.response();
        assert_eq!((probe.status(), &*probe.body), (200, "ready"), "the connection is in step");
    }

    /// The next answer, after interim ones where they may come.
    fn answer(&self, client: &mut Client, wanted: &Wanted) -> Response {
        loop {
            let response = if wanted.has_content { client.response() } else { client.head() };
            if response.status() != 100 {
                return response;
            }
            assert!(self.expects_continue(), "nobody asked for {response:?}");
        }
    }
}

impl Wanted {
    fn check(&self, response: &Response) {
        assert_eq!(response.status(), self.status, "the status of {response:?}");
        for (name, value) in self.headers {
            assert_eq!(response.header(name), *value, "{name} of {response:?}");
        }
        if let Some(body) = self.body {
            assert_eq!(response.body, body);
        }
        if let (Some(code), true) = (self.code, self.has_content) {
            check_problem(response, code, self.field);
            if let Some(fault) = self.fault {
                let detail = Code::MalformedRequest(fault).detail();
                assert_eq!(member(response, "detail").as_deref(), Some(detail), "{fault:?}");
            }
        }
    }
}

/// Checks a problem's members and its content type.
fn check_problem(response: &Response, code: &str, field: &str) {
    let detail = member(response, "detail").unwrap_or_default();
    let (status, title) = response.status_line[9..].split_once(' ').expect("a reason follows");
    let body = format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\
         \"detail\":\"{detail}\",\"field\":\"{field}\"}}"
    );
    assert_eq!(response.body, body);
    assert!(detail.len() > 10 && detail.ends_with('.'), "a sentence: {detail}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
}

/// Checks what holds for the header lines of every answer.
fn check_headers(response: &Response) {
    let places = response.headers.iter().map(|(name, _)| {
        HEADER_ORDER
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| panic!("an unknown header: {response:?}"))
    });
    assert!(places.is_sorted_by(|a, b| a < b), "the order of the headers: {response:?}");
    let has_length = response.header("content-length").is_some();
    let is_bare = matches!(response.status(), 204 | 304);
    assert_eq!(has_length, !is_bare, "content-length: {response:?}");
    if response.status() != 503 {
        assert_eq!(response.header("retry-after"), None, "{response:?}");
    }
}

/// A text member of a JSON body without escapes.
fn member(response: &Response, name: &str) -> Option<String> {
    let (_, rest) = response.body.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split('"').next()?.to_owned())
}

/// A server that knows user 42, at version 2.
pub fn server() -> Server {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 500, 1_700_000_100_000), credit(2, 42, 7, 1_700_000_000_000)]);
    server
}

/// Checks every case, sent whole and in pieces, and reports all that fail.
pub fn check(cases: Vec<Case>) {
    let server = server();
    let mut failures = Vec::new();
    for case in &cases {
        let length = case.bytes.len();
        let piece = if length <= BYTEWISE { 1 } else { length / PIECES };
        for (how, piece) in [("whole", length), ("in pieces", piece)] {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case.run(&server, piece))) {
                let text = panic.downcast_ref::<String>().map_or("", String::as_str);
                failures.push(format!("- {} ({how}): {text}", case.name));
            }
        }
    }
    server.check_all_cores_answer();
    assert!(failures.is_empty(), "{} checks fail:\n{}", failures.len(), failures.join("\n"));
}

/// Cases from a table of name, header lines and answer: a `GET` of `/healthz` with these lines.
pub fn with_lines(table: &[(&str, &str, Wanted)]) -> Vec<Case> {
    let case = |&(name, lines, wanted): &(&str, &str, Wanted)| {
        Case::new(name, request("GET", "/healthz", lines), &[wanted])
    };
    table.iter().map(case).collect()
}

/// The head of a batch, with these header lines.
pub fn batch_head(lines: &str) -> String {
    request("POST", "/v1/batch", &format!("content-type: application/json\r\n{lines}"))
}

/// The head of a feed, with these header lines.
pub fn feed_head(lines: &str) -> String {
    request("POST", "/v1/entries", &format!("content-type: application/x-ndjson\r\n{lines}"))
}
