//! A client that knows just enough HTTP, and believes nothing.
//!
//! Requests are bytes, written as the test wants them. Answers are read strictly: a status line,
//! header lines in the order in which they were sent, CRLF everywhere, a well-formed date, a body
//! of exactly `content-length`. Anything else panics with what came.

use super::PATIENCE;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 << 10;

/// An answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status line, without its end.
    pub status_line: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: String,
}

impl Response {
    /// The three digits.
    pub fn status(&self) -> u16 {
        self.status_line[9..12].parse().expect("checked by the reader")
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The whole answer as it was sent, but for the date, which is `D`.
    pub fn shown(&self) -> String {
        let mut text = format!("{}\r\n", self.status_line);
        for (name, value) in &self.headers {
            let value = if name == "date" { "D" } else { value };
            write!(text, "{name}: {value}\r\n").expect("a string takes all");
        }
        text + "\r\n" + &self.body
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes asked of the socket at a time, and how long to wait before each.
    pace: (usize, Duration),
}

impl Client {
    /// A client on a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, buffer: Vec::new(), at: 0, pace: (READ_BYTES, Duration::ZERO) }
    }

    /// From now on it reads so many bytes at a time, and waits before each.
    pub fn read_slowly(&mut self, bytes: usize, pause: Duration) {
        self.pace = (bytes, pause);
    }

    /// The socket, to write from another thread, or to set options on.
    pub fn socket(&self) -> TcpStream {
        self.stream.try_clone().expect("a second descriptor")
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Writes bytes, one at a time.
    pub fn trickle(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.send([byte]));
    }

    /// Says that nothing more is sent.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("our side can be shut down");
    }

    /// Sends one request and reads its answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        if request.as_ref().starts_with(b"HEAD ") { self.head() } else { self.response() }
    }

    /// Reads the answer to anything but a `HEAD`.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if !matches!(response.status(), 100 | 304) {
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

    /// Asserts that the server closes the connection in order, and sends nothing before it does.
    pub fn is_closed(&mut self) {
        assert!(!self.fill(), "more than the last answer: {:?}", self.rest());
    }

    /// Whether the server takes this new connection; else it has turned it away. The request may
    /// find it gone already.
    pub fn is_welcome(&mut self) -> bool {
        let _ = self.stream.write_all(get("/healthz").as_bytes());
        self.response().status() == 200
    }

    /// Reads, and forgets, all that comes until the server ends the connection, in order or not.
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

    /// Reads more. Says whether anything came; keeps only what is not yet used.
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

/// Reads what is there. A socket with a timeout says that it was interrupted whenever the kernel
/// pauses its thread; that is no answer.
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

/// `Sun, 06 Nov 1994 08:49:37 GMT`
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

/// A request without a body, with further header lines, each with its CRLF.
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
