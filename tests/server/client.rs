//! Minimal and strict HTTP client on a blocking socket.
//!
//! Requests are bytes, exactly as the test gives them. Answers are parsed strictly: a status line,
//! header lines in the order sent, CRLF everywhere, a well-formed date, a body of exactly
//! `content-length`. Anything else panics and prints what was received.

use super::TIMEOUT;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes per read from the socket.
const READ_BYTES: usize = 64 << 10;

/// A parsed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status line, without its CRLF.
    pub status_line: String,
    /// Header names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body; empty if the answer has none.
    pub body: String,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status_line[9..12].parse().expect("checked by the reader")
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// [`Self::shown`], without `connection: close`, which an answer of a draining server may have.
    pub fn shown_unless_closed(&self) -> String {
        self.shown().replacen(super::expected::CLOSE, "", 1)
    }

    /// The whole answer as sent, with its date replaced by `D`.
    pub fn shown(&self) -> String {
        let mut text = format!("{}\r\n", self.status_line);
        for (name, value) in &self.headers {
            let value = if name == "date" { "D" } else { value };
            write!(text, "{name}: {value}\r\n").expect("a string takes all");
        }
        text + "\r\n" + &self.body
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes per read, and the pause before each.
    pace: (usize, Duration),
}

impl Client {
    /// A client on a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a timeout");
        Self { stream, buffer: Vec::new(), at: 0, pace: (READ_BYTES, Duration::ZERO) }
    }

    /// Limits reads to `bytes` at a time, with a pause before each.
    pub fn read_slowly(&mut self, bytes: usize, pause: Duration) {
        self.pace = (bytes, pause);
    }

    /// The socket, for writes from another thread or for options.
    pub fn socket(&self) -> TcpStream {
        self.stream.try_clone().expect("a second descriptor")
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Writes bytes one at a time.
    pub fn trickle(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.send([byte]));
    }

    /// Closes the sending side.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the sending side can be shut down");
    }

    /// Sends one request and reads its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        if request.as_ref().starts_with(b"HEAD ") { self.head() } else { self.response() }
    }

    /// Reads the answer to any request except a `HEAD`.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if !matches!(response.status(), 100 | 204 | 304) {
            let length = response.header("content-length").and_then(|text| text.parse().ok());
            let length = length.unwrap_or_else(|| panic!("no length: {response:?}"));
            while self.buffer.len() - self.at < length {
                assert!(self.fill(), "the connection ends inside the body of {response:?}");
            }
            let body = self.buffer[self.at..self.at + length].to_vec();
            response.body = String::from_utf8(body).expect("all bodies are text");
            self.at += length;
        }
        response
    }

    /// Reads an answer that has no body.
    pub fn head(&mut self) -> Response {
        let mut searched = self.at;
        let end = loop {
            if let Some(found) =
                self.buffer[searched..].windows(4).position(|four| four == b"\r\n\r\n")
            {
                break searched + found;
            }
            searched = self.buffer.len().saturating_sub(3).max(self.at);
            let shift = self.at;
            assert!(self.fill(), "the connection ends instead of an answer: {:?}", self.rest());
            searched -= shift;
        };
        let head =
            std::str::from_utf8(&self.buffer[self.at..end]).expect("a head is text").to_owned();
        self.at = end + 4;
        parse_head(&head)
    }

    /// Asserts that the server closes the connection without a reset and without sending more.
    pub fn is_closed(&mut self) {
        let is_over = self.at == self.buffer.len() && !self.fill();
        assert!(is_over, "more than the last answer: {:?}", self.rest());
    }

    /// Whether the server accepts this new connection rather than refusing it. The request may fail
    /// because a refused connection can be closed already.
    pub fn is_ready(&mut self) -> bool {
        let _ = self.stream.write_all(get("/healthz").as_bytes());
        self.response().status() == 200
    }

    /// Reads and discards everything until the server closes or resets the connection.
    pub fn drained(&mut self, context: &str) {
        loop {
            match read(&mut self.stream, &mut [0; 4_096]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection does not end ({error}): {context}"),
            }
        }
    }

    /// Reads more and drops used bytes. Returns `false` at the end of the connection.
    fn fill(&mut self) -> bool {
        self.buffer.drain(..self.at);
        self.at = 0;
        let (bytes, pause) = self.pace;
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let before = self.buffer.len();
        self.buffer.resize(before + bytes, 0);
        let count = match read(&mut self.stream, &mut self.buffer[before..]) {
            Ok(count) => count,
            Err(error) => panic!(
                "no answer ({error}) after {:?}",
                self.buffer[..before].escape_ascii().to_string()
            ),
        };
        self.buffer.truncate(before + count);
        count > 0
    }

    fn rest(&self) -> String {
        self.buffer[self.at..].escape_ascii().to_string()
    }
}

/// Reads available bytes. A socket with a timeout returns `EINTR` whenever the kernel stops its
/// thread; the read is then repeated.
fn read(stream: &mut TcpStream, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn parse_head(head: &str) -> Response {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("split gives one").to_owned();
    let bytes = status_line.as_bytes();
    let is_good = bytes.len() > 13 && bytes.starts_with(b"HTTP/1.1 ") && bytes[12] == b' ';
    assert!(is_good && bytes[9..12].iter().all(u8::is_ascii_digit), "not a status line: {head:?}");
    let field = |line: &str| {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("not a header line: {line:?} in {head:?}"));
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !name.is_empty();
        let is_value = value.bytes().all(|b| matches!(b, b' '..=b'~')) && value.trim() == value;
        assert!(is_name && is_value, "not a header line: {line:?} in {head:?}");
        (name.to_owned(), value.to_owned())
    };
    let response =
        Response { status_line, headers: lines.map(field).collect(), body: String::new() };
    match response.header("date") {
        Some(date) => assert!(is_date(date), "not a date: {date}"),
        None => assert_eq!(response.status(), 100, "no date: {head:?}"),
    }
    response
}

/// Whether a date has the form of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_date(text: &str) -> bool {
    const FORM: &[u8; 29] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(fits)
}

/// A `GET`.
pub fn get(target: &str) -> String {
    request("GET", target, "")
}

/// A request without a body. `lines` are further header lines, each with its CRLF.
pub fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: test\r\n{lines}\r\n")
}

/// A `POST`.
pub fn post(target: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let lines = format!("content-type: {content_type}\r\ncontent-length: {}\r\n", body.len());
    [request("POST", target, &lines).as_bytes(), body].concat()
}

/// A `POST` of entries.
pub fn feed(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("/v1/entries", "application/x-ndjson", body)
}

/// A `POST` of a batch.
pub fn batch(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("/v1/batch", "application/json", body)
}
