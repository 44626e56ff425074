//! HTTP responses, appended to a connection's out-buffer.
//!
//! [`begin_body`] appends a head; the caller appends the body right after it and
//! [ends](OpenBody::end) it. Space for `content-length` is reserved before the body and filled in
//! once the body's size is known. Bytes that are already in the buffer are never changed; responses
//! leave in the order in which they were written. Header names are lower case, in a fixed order.
//! Sizes are bytes; nothing here fails.

use crate::decimal;

/// Upper bound of the size of a head written by [`begin_body`], in bytes, so that one `reserve` is
/// enough.
const HEAD_CAPACITY: usize = 384;
/// The header line that makes caches ask again, without its CRLF, which precedes it.
const NO_CACHE: &[u8] = b"\r\ncache-control: no-cache";
/// Digits of the longest `u64`.
const MAX_DIGITS: usize = 20;

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal,)+) => {
        /// The status of an answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Status {
            $(#[doc = concat!("`", $code, " ", $reason, "`")] $name,)+
        }

        impl Status {
            /// Every status, by code.
            pub const ALL: &[Status] = &[$(Status::$name,)+];

            /// The three-digit code.
            pub const fn code(self) -> u16 {
                match self { $(Status::$name => $code,)+ }
            }

            /// The reason phrase, also used as a problem's title.
            pub const fn reason(self) -> &'static str {
                match self { $(Status::$name => $reason,)+ }
            }

            /// The status line, and the name of the header that follows it.
            const fn status_line(self) -> &'static str {
                match self {
                    $(Status::$name => concat!(
                        "HTTP/1.1 ", $code, " ", $reason, "\r\ncontent-type: "
                    ),)+
                }
            }
        }
    };
}

statuses! {
    Ok = 200 "OK",
    NoContent = 204 "No Content",
    NotModified = 304 "Not Modified",
    BadRequest = 400 "Bad Request",
    NotFound = 404 "Not Found",
    MethodNotAllowed = 405 "Method Not Allowed",
    RequestTimeout = 408 "Request Timeout",
    LengthRequired = 411 "Length Required",
    PreconditionFailed = 412 "Precondition Failed",
    ContentTooLarge = 413 "Content Too Large",
    UriTooLong = 414 "URI Too Long",
    UnsupportedMediaType = 415 "Unsupported Media Type",
    ExpectationFailed = 417 "Expectation Failed",
    UnprocessableContent = 422 "Unprocessable Content",
    HeaderFieldsTooLarge = 431 "Request Header Fields Too Large",
    NotImplemented = 501 "Not Implemented",
    ServiceUnavailable = 503 "Service Unavailable",
    VersionNotSupported = 505 "HTTP Version Not Supported",
    InsufficientStorage = 507 "Insufficient Storage",
}

/// The `connection` header of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// No header: the connection stays open, the default of HTTP/1.1.
    Default,
    /// `connection: keep-alive`, for a peer of HTTP/1.0 that asked for it.
    KeepAlive,
    /// `connection: close`
    Close,
}

impl Persist {
    const fn line(self) -> &'static [u8] {
        match self {
            Persist::Default => b"",
            Persist::KeepAlive => b"\r\nconnection: keep-alive",
            Persist::Close => b"\r\nconnection: close",
        }
    }
}

/// The head of an answer, without its `content-length`.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Any status except [`Status::NotModified`] and [`Status::NoContent`], which have functions of
    /// their own.
    pub status: Status,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// Whether to send `cache-control: no-cache`: caches ask again before they use the answer.
    pub no_cache: bool,
    /// One more header, its name in lower case, and its value.
    pub header: Option<(&'static str, &'static str)>,
    /// Whether to send `retry-after: 1`, in seconds.
    pub retry_after: bool,
    /// Whether the connection stays open.
    pub persist: Persist,
    /// The value of `date`: see [`DateLine`](super::date::DateLine).
    pub date: &'a [u8; 29],
    /// Whether the request is a `HEAD`: the body is measured, not sent.
    pub head_only: bool,
}

/// A body being appended after its head; [`OpenBody::end`] fills in its length.
#[derive(Debug)]
#[must_use = "an answer is incomplete until its body is ended"]
pub struct OpenBody {
    length_at: usize,
    width: usize,
    body_at: usize,
    head_only: bool,
}

/// Appends the head of an answer. The caller appends the body, then calls [`OpenBody::end`].
///
/// `width_hint` is the expected number of digits of the body's length. A wrong hint costs moving
/// the body by the difference.
#[inline]
pub fn begin_body(out: &mut Vec<u8>, answer: &Answer<'_>, width_hint: usize) -> OpenBody {
    assert!(
        !matches!(answer.status, Status::NotModified | Status::NoContent),
        "a 304 and a 204 have no body"
    );
    write_head(out, answer);
    open_body(out, answer.head_only, width_hint)
}

/// Appends the head of a user's balance or statistics, as JSON with status 200. Caches ask again
/// before they use it. `etag` is the version shown in `etag`, if there is one. Otherwise like
/// [`begin_body`].
#[inline]
pub fn begin_read(
    out: &mut Vec<u8>,
    date: &[u8; 29],
    etag: Option<u64>,
    (persist, head_only): (Persist, bool),
    width_hint: usize,
) -> OpenBody {
    out.reserve(HEAD_CAPACITY);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: ");
    out.extend_from_slice(date);
    match etag {
        Some(version) => {
            out.extend_from_slice(b"\r\ncache-control: no-cache\r\netag: \"v");
            decimal::number(out, version);
            out.extend_from_slice(b"\"");
        }
        None => out.extend_from_slice(NO_CACHE),
    }
    if persist != Persist::Default {
        out.extend_from_slice(persist.line());
    }
    out.extend_from_slice(b"\r\ncontent-length: ");
    open_body(out, head_only, width_hint)
}

/// Appends a placeholder for the length, and ends the head.
#[inline]
fn open_body(out: &mut Vec<u8>, head_only: bool, width_hint: usize) -> OpenBody {
    let width = width_hint.clamp(1, MAX_DIGITS);
    let length_at = out.len();
    out.extend_from_slice(&[b'0'; MAX_DIGITS][..width]);
    out.extend_from_slice(b"\r\n\r\n");
    OpenBody { length_at, width, body_at: out.len(), head_only }
}

impl OpenBody {
    /// Fills in the length of the body appended since [`begin_body`]; removes the body again for a
    /// `HEAD`.
    #[inline]
    pub fn end(self, out: &mut Vec<u8>) {
        let Self { length_at, width, body_at, head_only } = self;
        assert!(out.len() >= body_at, "the head of an open body stays in its buffer");
        let length = out.len() - body_at;
        if head_only {
            out.truncate(body_at);
        }
        fill_in(out, length_at, width, length as u64);
    }
}

/// Appends the head of an answer whose body, of `length` bytes, is appended after it.
pub fn write_sized_head(out: &mut Vec<u8>, answer: &Answer<'_>, length: usize) {
    write_head(out, answer);
    decimal::number(out, length as u64);
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the `204` to an `OPTIONS` request: no body, so no `content-length`.
pub fn write_no_content(out: &mut Vec<u8>, date: &[u8; 29], allow: &str, persist: Persist) {
    out.extend_from_slice(b"HTTP/1.1 204 No Content\r\ndate: ");
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\nallow: ");
    out.extend_from_slice(allow.as_bytes());
    out.extend_from_slice(persist.line());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the `304` to a conditional read of a version that the client already has: no body, so no
/// `content-length`. Caches must ask again before they use it.
pub fn write_not_modified(out: &mut Vec<u8>, date: &[u8; 29], version: u64, persist: Persist) {
    out.reserve(HEAD_CAPACITY);
    out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\ndate: ");
    out.extend_from_slice(date);
    out.extend_from_slice(NO_CACHE);
    out.extend_from_slice(b"\r\netag: \"v");
    decimal::number(out, version);
    out.extend_from_slice(b"\"");
    out.extend_from_slice(persist.line());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the interim answer to `Expect: 100-continue`.
pub fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends a head through the name of `content-length`. Each header line begins with the CRLF of
/// the line before.
#[inline]
fn write_head(out: &mut Vec<u8>, answer: &Answer<'_>) {
    out.reserve(HEAD_CAPACITY);
    out.extend_from_slice(answer.status.status_line().as_bytes());
    out.extend_from_slice(answer.content_type.as_bytes());
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(answer.date);
    if answer.no_cache {
        out.extend_from_slice(NO_CACHE);
    }
    if let Some((name, value)) = answer.header {
        for piece in ["\r\n", name, ": ", value] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    if answer.retry_after {
        out.extend_from_slice(b"\r\nretry-after: 1");
    }
    if answer.persist != Persist::Default {
        out.extend_from_slice(answer.persist.line());
    }
    out.extend_from_slice(b"\r\ncontent-length: ");
}

/// Replaces the `width` digits at `at` by `number`. The bytes after them move if its length
/// differs.
#[inline]
fn fill_in(out: &mut Vec<u8>, at: usize, width: usize, number: u64) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    if digits.len() == width {
        out[at..at + width].copy_from_slice(digits);
    } else {
        out.splice(at..at + width, digits.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    const PLAIN: Answer<'_> = Answer {
        status: Status::Ok,
        content_type: "application/json",
        no_cache: false,
        header: None,
        retry_after: false,
        persist: Persist::Default,
        date: DATE,
        head_only: false,
    };

    /// Checks an answer for every width hint, appended to bytes that must not change. `|` stands
    /// for CRLF.
    fn check(answer: &Answer<'_>, body: &[u8], expected: &str) {
        check_begun(|out, width_hint| begin_body(out, answer, width_hint), body, expected);
    }

    fn check_begun(begin: impl Fn(&mut Vec<u8>, usize) -> OpenBody, body: &[u8], expected: &str) {
        let expected = expected.replace('|', "\r\n");
        for width_hint in 0..=25 {
            let mut out = b"before".to_vec();
            let open = begin(&mut out, width_hint);
            out.extend_from_slice(body);
            open.end(&mut out);
            assert_eq!(
                out.escape_ascii().to_string(),
                format!("before{}", expected.as_bytes().escape_ascii()),
                "{width_hint}"
            );
        }
    }

    #[test]
    fn the_head_of_a_read() {
        let head = "HTTP/1.1 200 OK|content-type: application/json|\
                    date: Sun, 06 Nov 1994 08:49:37 GMT|cache-control: no-cache|";
        for (etag, tag) in [(None, ""), (Some(17), "etag: \"v17\"|")] {
            for (persist, line) in [(Persist::Default, ""), (Persist::Close, "connection: close|")]
            {
                for (head_only, shown) in [(false, "{\"a\":1}"), (true, "")] {
                    check_begun(
                        |out, width| begin_read(out, DATE, etag, (persist, head_only), width),
                        b"{\"a\":1}",
                        &format!("{head}{tag}{line}content-length: 7||{shown}"),
                    );
                }
            }
        }
    }

    #[test]
    fn headers_have_a_fixed_order() {
        check(
            &Answer {
                status: Status::MethodNotAllowed,
                content_type: "text/plain",
                no_cache: true,
                header: Some(("allow", "GET, HEAD, OPTIONS")),
                retry_after: true,
                persist: Persist::Close,
                ..PLAIN
            },
            b"no",
            "HTTP/1.1 405 Method Not Allowed|content-type: text/plain|\
             date: Sun, 06 Nov 1994 08:49:37 GMT|cache-control: no-cache|\
             allow: GET, HEAD, OPTIONS|retry-after: 1|connection: close|content-length: 2||no",
        );
        check(
            &Answer { persist: Persist::KeepAlive, ..PLAIN },
            b"",
            "HTTP/1.1 200 OK|content-type: application/json|date: Sun, 06 Nov 1994 08:49:37 GMT|\
             connection: keep-alive|content-length: 0||",
        );
    }

    #[test]
    fn lengths_of_every_width() {
        let measured = Answer { head_only: true, ..PLAIN };
        for length in [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 123_456] {
            let body = "x".repeat(length);
            let head = format!(
                "HTTP/1.1 200 OK|content-type: application/json|\
                 date: Sun, 06 Nov 1994 08:49:37 GMT|content-length: {length}||"
            );
            check(&PLAIN, body.as_bytes(), &format!("{head}{body}"));
            check(&measured, body.as_bytes(), &head);
        }
    }

    /// Uses the longest value of every header that this program sends.
    #[test]
    fn the_longest_head_fits_its_capacity() {
        for &status in Status::ALL {
            let mut out = Vec::new();
            let answer = Answer {
                status,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                no_cache: true,
                header: Some((
                    "accept",
                    "application/x-ndjson, application/ndjson, application/jsonl",
                )),
                retry_after: true,
                persist: Persist::KeepAlive,
                ..PLAIN
            };
            write_head(&mut out, &answer);
            let longest = out.len() + MAX_DIGITS + "||".len() * 2;
            assert!(longest <= HEAD_CAPACITY, "{status:?} takes {longest}");
        }
        let mut out = Vec::new();
        let open = begin_read(&mut out, DATE, Some(u64::MAX), (Persist::KeepAlive, false), 20);
        assert!(open.body_at <= HEAD_CAPACITY, "a read takes {}", open.body_at);
    }

    #[test]
    fn answers_without_a_body() {
        let check = |persist, lines: &str| {
            let mut out = b"before".to_vec();
            write_not_modified(&mut out, DATE, 17, persist);
            let expected = format!(
                "beforeHTTP/1.1 304 Not Modified|date: Sun, 06 Nov 1994 08:49:37 GMT|\
                 cache-control: no-cache|etag: \"v17\"|{lines}|"
            );
            assert_eq!(String::from_utf8(out), Ok(expected.replace('|', "\r\n")));
            let mut out = b"before".to_vec();
            write_no_content(&mut out, DATE, "GET, HEAD", persist);
            let expected = format!(
                "beforeHTTP/1.1 204 No Content|date: Sun, 06 Nov 1994 08:49:37 GMT|\
                 allow: GET, HEAD|{lines}|"
            );
            assert_eq!(String::from_utf8(out), Ok(expected.replace('|', "\r\n")));
        };
        check(Persist::Default, "");
        check(Persist::KeepAlive, "connection: keep-alive|");
        check(Persist::Close, "connection: close|");
        let mut out = b"before".to_vec();
        write_continue(&mut out);
        assert_eq!(out, b"beforeHTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn statuses() {
        assert!(Status::ALL.is_sorted_by_key(|status| status.code()));
        for status in Status::ALL {
            let line = format!("HTTP/1.1 {} {}\r\ncontent-type: ", status.code(), status.reason());
            assert_eq!(status.status_line(), line);
        }
    }

    #[test]
    #[should_panic(expected = "a 304 and a 204 have no body")]
    fn a_304_is_not_written_with_a_body() {
        let _ = begin_body(&mut Vec::new(), &Answer { status: Status::NotModified, ..PLAIN }, 1);
    }
}
