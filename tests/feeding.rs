//! Examples of docs/feeding.md: every request of the page is sent to a real server here, and its
//! answer must be the page's, status line and body, byte for byte.
//!
//! The page has a section for each of [`CASES`], `## 1. …` to `## 10. …`. All of its blocks are
//! ` ```http ` and lie in these sections, in pairs: a request, then its answer. A request has a
//! first line, headers if any, and after an empty line a body, if there is one; the test adds
//! `host` and `content-length`. An answer has a status line, an empty line and the body.
//!
//! - An indented line continues the one before it. If that one ends inside a string, the end of
//!   the line is a space of the string.
//! - Each section has a new server. A line `<!-- fresh server: FLAGS -->` starts another one, with
//!   these flags.

use crate::docs::{Block, blocks};
use crate::house::sources::root;
use crate::server::Server;
use std::fs;

on_slices!([one = 1, two = 2][every_example_of_the_page]);

/// The sections that the page must have, in order.
const CASES: [&str; 10] = [
    "1. An authorisation with two captures",
    "2. A refund",
    "3. A chargeback",
    "4. A correction of last month",
    "5. An opening balance",
    "6. A migrated history",
    "7. A house account",
    "8. An exchange within one user",
    "9. Two feeders, one of them down for a day",
    "10. A dead letter",
];
/// Start of the line that starts another server.
const FRESH: &str = "<!-- fresh server:";

/// Blocks that one server answers.
struct Part<'p> {
    title: &'p str,
    flags: Vec<&'p str>,
    blocks: Vec<Block>,
}

/// The page in parts: a section is one, unless it has further servers.
fn parts(page: &str) -> Vec<Part<'_>> {
    let (mut parts, mut title) = (Vec::<Part<'_>>::new(), "");
    let mut found = blocks(page).into_iter().peekable();
    for (line, number) in page.lines().zip(1..) {
        if let Some(heading) = line.strip_prefix("## ") {
            title = heading;
            parts.push(Part { title, flags: Vec::new(), blocks: Vec::new() });
        } else if let Some(flags) = line.strip_prefix(FRESH) {
            let flags = flags.trim_end_matches("-->").split_whitespace().collect();
            parts.push(Part { title, flags, blocks: Vec::new() });
        } else if let Some(block) = found.next_if(|block| block.line == number) {
            parts.last_mut().expect("blocks are in sections").blocks.push(block);
        }
    }
    assert!(found.next().is_none(), "every block has its place");
    parts
}

/// A request or an answer as the page gives it.
struct Message {
    first: String,
    headers: Vec<String>,
    /// Lines of the body, each in one piece.
    body: Vec<String>,
}

impl Message {
    fn new(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut head = head.lines().map(str::to_owned);
        let first = head.next().expect("a block has a first line");
        Self { first, headers: head.collect(), body: unwrapped(body) }
    }

    fn is_answer(&self) -> bool {
        self.first.starts_with("HTTP/1.1 ")
    }

    /// The request as it is sent.
    fn sent(&self) -> String {
        let headers: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let body: String = self.body.iter().map(|line| format!("{line}\n")).collect();
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        format!("{}\r\nhost: test\r\n{headers}{length}\r\n{body}", self.first)
    }
}

/// Lines with those that continue them.
fn unwrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                if last.matches('"').count() % 2 == 1 {
                    last.push(' ');
                }
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Sends the requests of a part to a server of its own. Returns where the answers differ.
fn differences(part: &Part<'_>) -> Vec<String> {
    let server = Server::start(&part.flags);
    let mut client = server.connect();
    let mut differences = Vec::new();
    for pair in part.blocks.chunks(2) {
        let at = format!("docs/feeding.md:{}", pair[0].line);
        assert!(pair.iter().all(|block| block.language == "http"), "{at}: a block that is not run");
        let [request, answer] = pair else { panic!("{at}: a request without an answer") };
        let (request, wanted) = (Message::new(&request.text), Message::new(&answer.text));
        assert!(!request.is_answer(), "{at}: an answer without a request");
        assert!(wanted.is_answer(), "{at}: a request without an answer");
        assert!(wanted.headers.is_empty(), "{at}: headers of an answer are not compared");
        let arrived = client.ask(request.sent());
        if (&wanted.first, wanted.body.concat()) != (&arrived.status_line, arrived.body.clone()) {
            differences.push(format!("{at}: {}\n{}", arrived.status_line, arrived.body));
        }
    }
    differences
}

/// Whether a part feeds entries, and reads a user after that.
fn feeds_and_reads(part: &Part<'_>) -> bool {
    let mut texts = part.blocks.iter().map(|block| &*block.text);
    texts.any(|text| text.starts_with("POST /v1/entries"))
        && texts.any(|text| text.starts_with("GET /v1/users/"))
}

fn every_example_of_the_page() {
    let page = fs::read_to_string(root().join("docs/feeding.md")).expect("the page is there");
    let parts = parts(&page);
    let (cases, others): (Vec<_>, Vec<_>) =
        parts.iter().partition(|part| part.title.starts_with(|first: char| first.is_ascii_digit()));
    let mut titles: Vec<_> = cases.iter().map(|part| part.title).collect();
    titles.dedup();
    assert_eq!(titles, CASES, "the sections of the page");
    for part in others {
        assert!(part.blocks.is_empty(), "{}: a block that is not run", part.title);
    }
    for part in &cases {
        assert!(feeds_and_reads(part), "{}: no feed with a read after it", part.title);
    }
    let found: Vec<_> = cases.iter().flat_map(|part| differences(part)).collect();
    assert!(found.is_empty(), "answers differ from the page:\n{}", found.join("\n"));
}

#[test]
fn a_page_is_cut_into_parts() {
    let page = "## 1. A\n```http\na\n```\n<!-- fresh server: --b 0 -->\n```http\nc\n```\n## D\n";
    let parts = parts(page);
    let found: Vec<_> =
        parts.iter().map(|part| (part.title, &*part.flags, part.blocks.len())).collect();
    assert_eq!(found, [("1. A", &[][..], 1), ("1. A", &["--b", "0"][..], 1), ("D", &[][..], 0)]);
}

#[test]
fn wrapped_lines_are_joined() {
    let message = Message::new("POST / HTTP/1.1\na: b\n\n{\"a\":\n  1,\"b\":\"c\n  d\"}\n{}\n");
    assert_eq!((&*message.first, &*message.headers), ("POST / HTTP/1.1", &["a: b".to_owned()][..]));
    assert_eq!(message.body, [r#"{"a":1,"b":"c d"}"#, "{}"]);
    let sent = "POST / HTTP/1.1\r\nhost: test\r\na: b\r\ncontent-length: 21\r\n\r\n";
    assert_eq!(message.sent(), format!("{sent}{{\"a\":1,\"b\":\"c d\"}}\n{{}}\n"));
    assert_eq!(Message::new("GET / HTTP/1.1\n").sent(), "GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(Message::new("HTTP/1.1 200 OK\n\n{}\n").is_answer());
}
