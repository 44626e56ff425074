//! Framing of the requests in a byte stream, by three readers: ours, a naive one written from RFC
//! 9112 line by line, and httparse with as little around it as possible.
//!
//! Two readers that disagree on where a request ends take different bytes for the next request
//! (request smuggling). [`compare`] panics if ours disagrees with another.

use purser::http::chunked::Decoder;
use purser::http::head;
use purser::http::request::Framing;

/// What a reader makes of the start of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A request: where it ends, and its body.
    Request { end: usize, body: Vec<u8> },
    /// The start of a request.
    Unfinished,
    /// Nothing that the reader accepts.
    Refused,
}

/// Compares the readers, request by request, until ours accepts no more. Returns how many requests
/// it accepted.
///
/// - Where ours and another accept, the request has the same end and the same body.
/// - What ours accepts, the naive reader accepts: ours allows nothing that the RFC does not.
/// - Where ours waits for more, the others have not seen the end.
pub fn compare(stream: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    loop {
        let rest = &stream[at..];
        let (mine, naive, httparse) = (ours(rest), naive(rest), by_httparse(rest));
        let context = || format!("request {count} of {}", stream.escape_ascii());
        if mine != Found::Refused {
            for other in [&naive, &httparse] {
                if let Found::Request { .. } = other {
                    assert_eq!(mine, *other, "the same end and body: {}", context());
                }
            }
        }
        let Found::Request { end, .. } = mine else { return count };
        assert_eq!(naive, mine, "nothing that the RFC does not allow: {}", context());
        at += end;
        count += 1;
    }
}

/// Our reader.
pub fn ours(stream: &[u8]) -> Found {
    let (head, start) = match head::parse(stream, &mut 0) {
        Ok(Some(found)) => found,
        Ok(None) => return Found::Unfinished,
        Err(_) => return Found::Refused,
    };
    match head.framing {
        Framing::None => of_length(stream, start, 0),
        Framing::Length(length) => of_length(stream, start, u128::from(length)),
        Framing::Chunked => {
            let mut body = Vec::new();
            match Decoder::new().decode(&stream[start..], |data| body.extend_from_slice(data)) {
                Ok(decoded) if decoded.done => {
                    Found::Request { end: start + decoded.consumed, body }
                }
                Ok(_) => Found::Unfinished,
                Err(_) => Found::Refused,
            }
        }
    }
}

/// The request whose head ends at `start`, with a body of a known length.
fn of_length(stream: &[u8], start: usize, length: u128) -> Found {
    let rest = &stream[start..];
    match usize::try_from(length) {
        Ok(length) if length <= rest.len() => {
            Found::Request { end: start + length, body: rest[..length].to_vec() }
        }
        _ => Found::Unfinished,
    }
}

/// The naive reader: finds the empty line first, then splits what is before it.
pub fn naive(stream: &[u8]) -> Found {
    let mut start = 0;
    while stream[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let Some(length) = find(&stream[start..], b"\r\n\r\n") else { return Found::Unfinished };
    let Ok(head) = Head::read(&stream[start..start + length]) else { return Found::Refused };
    let body = start + length + 4;
    match head.framing() {
        End::Length(length) => of_length(stream, body, length),
        End::Chunked => naive_chunks(stream, body),
        End::Unclear => Found::Refused,
    }
}

/// What the naive reader keeps of a head.
struct Head<'s> {
    minor: u8,
    hosts: usize,
    lengths: Vec<&'s [u8]>,
    codings: Option<Vec<&'s [u8]>>,
}

/// How a body ends, for the naive reader.
enum End {
    Length(u128),
    Chunked,
    Unclear,
}

/// A head that is not well-formed.
struct NotAHead;

impl<'s> Head<'s> {
    /// Reads the lines of a head.
    fn read(text: &'s [u8]) -> Result<Self, NotAHead> {
        let mut lines = split(text, b"\r\n").into_iter();
        let words: Vec<_> = lines.next().ok_or(NotAHead)?.split(|&byte| byte == b' ').collect();
        let [method, target, version] = words[..] else { return Err(NotAHead) };
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] = *version else {
            return Err(NotAHead);
        };
        let is_target = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
        if !is_token(method) || !is_target {
            return Err(NotAHead);
        }
        let mut head = Self { minor: minor - b'0', hosts: 0, lengths: Vec::new(), codings: None };
        for line in lines {
            let (name, value) = field(line).ok_or(NotAHead)?;
            match &*name {
                b"host" => head.hosts += 1,
                b"content-length" => head.lengths.extend(value.split(|&byte| byte == b',')),
                b"transfer-encoding" => {
                    let codings = value.split(|&byte| byte == b',').map(trimmed);
                    head.codings.get_or_insert_default().extend(codings);
                }
                _ => {}
            }
        }
        let wants_host = head.minor > 0;
        if head.hosts > 1 || wants_host && head.hosts == 0 { Err(NotAHead) } else { Ok(head) }
    }

    fn framing(&self) -> End {
        if let Some(codings) = &self.codings {
            let is_chunked = matches!(codings[..], [only] if only.eq_ignore_ascii_case(b"chunked"));
            let is_clear = is_chunked && self.lengths.is_empty() && self.minor > 0;
            return if is_clear { End::Chunked } else { End::Unclear };
        }
        let mut numbers = self.lengths.iter().map(|text| number(trimmed(text), 10));
        match numbers.next() {
            None => End::Length(0),
            Some(Some(first)) if numbers.all(|other| other == Some(first)) => End::Length(first),
            Some(_) => End::Unclear,
        }
    }
}

/// A chunked body from `at` on: line, data, line end, and so on.
fn naive_chunks(stream: &[u8], mut at: usize) -> Found {
    let mut body = Vec::new();
    loop {
        let Some(length) = find(&stream[at..], b"\r\n") else { return Found::Unfinished };
        let line = &stream[at..at + length];
        at += length + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let Some(size) = number(&line[..digits], 16) else { return Found::Refused };
        if !are_extensions(&line[digits..]) {
            return Found::Refused;
        }
        if size == 0 {
            break;
        }
        let rest = &stream[at..];
        let Some(size) = usize::try_from(size).ok().filter(|&size| size <= rest.len()) else {
            return Found::Unfinished;
        };
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Found::Unfinished,
            _ => return Found::Refused,
        }
    }
    loop {
        let Some(length) = find(&stream[at..], b"\r\n") else { return Found::Unfinished };
        let line = &stream[at..at + length];
        at += length + 2;
        if line.is_empty() {
            return Found::Request { end: at, body };
        }
        if field(line).is_none() {
            return Found::Refused;
        }
    }
}

/// Whether a text is `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn are_extensions(text: &[u8]) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let [b';', after @ ..] = spaced(rest) else { return false };
        let Some(after) = after_token(spaced(after)) else { return false };
        rest = after;
        if let [b'=', after @ ..] = spaced(after) {
            let value = spaced(after);
            let Some(after) = after_token(value).or_else(|| after_quoted(value)) else {
                return false;
            };
            rest = after;
        }
    }
    true
}

/// The rest of a text after white space.
fn spaced(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| b" \t".contains(byte)).count()..]
}

/// The rest of a text after a token.
fn after_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_token(&[**byte])).count();
    (length > 0).then(|| &text[length..])
}

/// The rest of a text after a quoted string.
fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte, after @ ..] if is_text(&[*byte]) => after,
            [byte, after @ ..] if *byte != b'\\' && is_text(&[*byte]) => after,
            _ => return None,
        };
    }
}

/// Lower-case name and value of a field line.
fn field(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = find(line, b":")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    (is_token(name) && is_text(value)).then(|| (name.to_ascii_lowercase(), trimmed(value)))
}

fn is_token(text: &[u8]) -> bool {
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_legal)
}

/// Whether a text has no control character but tabs.
fn is_text(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
}

fn trimmed(text: &[u8]) -> &[u8] {
    let text = spaced(text);
    let spaces = text.iter().rev().take_while(|byte| b" \t".contains(byte)).count();
    &text[..text.len() - spaces]
}

/// A number of digits only; a very large one saturates.
fn number(text: &[u8], radix: u32) -> Option<u128> {
    let digit = |number: u128, byte: &u8| {
        let digit = char::from(*byte).to_digit(radix)?;
        Some(number.saturating_mul(radix.into()).saturating_add(digit.into()))
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn split<'t>(text: &'t [u8], separator: &[u8]) -> Vec<&'t [u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = find(rest, separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// httparse for the lines, and the plainest reading of what they mean.
pub fn by_httparse(stream: &[u8]) -> Found {
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut slots);
    let start = match request.parse(stream) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return Found::Unfinished,
        Err(_) => return Found::Refused,
    };
    let values = |name: &str| {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect::<Vec<_>>()
    };
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => of_length(stream, start, 0),
        ([length, others @ ..], []) if others.iter().all(|other| other == length) => {
            number(length, 10).map_or(Found::Refused, |length| of_length(stream, start, length))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => httparse_chunks(stream, start),
        _ => Found::Refused,
    }
}

/// A chunked body from `at` on, its size lines and trailers by httparse.
fn httparse_chunks(stream: &[u8], mut at: usize) -> Found {
    let mut body = Vec::new();
    loop {
        let (line, size) = match httparse::parse_chunk_size(&stream[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Found::Unfinished,
            Err(_) => return Found::Refused,
        };
        at += line;
        if size == 0 {
            break;
        }
        let rest = &stream[at..];
        let Some(size) =
            usize::try_from(size).ok().filter(|&size| size <= rest.len().saturating_sub(2))
        else {
            return Found::Unfinished;
        };
        body.extend_from_slice(&rest[..size]);
        if !rest[size..].starts_with(b"\r\n") {
            return Found::Refused;
        }
        at += size + 2;
    }
    match httparse::parse_headers(&stream[at..], &mut [httparse::EMPTY_HEADER; 128]) {
        Ok(httparse::Status::Complete((length, _))) => Found::Request { end: at + length, body },
        Ok(httparse::Status::Partial) => Found::Unfinished,
        Err(_) => Found::Refused,
    }
}
