//! Parser of a request's head: finds its end, enforces the limits, checks every byte.
//!
//! [`parse`] works in three steps. A scan over the line feeds finds the end of the head and
//! enforces the limits; it remembers how far it got, so a head that trickles in byte by byte costs
//! linear time. Then httparse splits the finished head into tokens. What httparse accepts but
//! should not is refused here, in `fields` and in `target`. What it refuses is read once more in
//! `reread`, which names the fault, and accepts HTTP/1.2 to 1.9.
//!
//! Accepted by httparse 1.10, refused by this module:
//! - a line that ends in a bare LF, anywhere (the scan; so the scan and httparse cannot disagree on
//!   where a line ends)
//! - any number of empty lines before the request line (the scan skips two and passes on the rest
//!   without them)
//! - `#`, bytes above 0x7e and unknown forms of the request target (`target`)
//! - a missing or repeated `Host`, and whatever the header lines mean (`fields`)
//!
//! The tests below also pin what httparse itself refuses: bare CR, obs-fold, white space before a
//! colon, empty names, control bytes.
//!
//! Order of refusals: the scan's, in byte order; then what is malformed in the request line, in the
//! header lines and in their meaning; then version, method, transfer coding, and the limits. What
//! lies beyond a limit is not looked at.

use std::mem::MaybeUninit;

use memchr::{memchr, memchr_iter};

use super::fields::Fields;
use super::request::{Head, Method, Version};
use super::reread;
use super::target;
use super::{HEAD_BYTES, HEADERS, NotHttp, REQUEST_LINE_BYTES, Refusal, TARGET_BYTES};

/// Parses the head at the start of `buf`. Returns the head and its length in bytes, or `None` while
/// it is unfinished.
///
/// `buf` starts at the request's first byte in every call. `seen` is the number of its bytes
/// already searched for the head's end: 0 for a new request; the caller passes it back unchanged
/// with the longer `buf`. It is 0 again when a head is returned.
///
/// ```
/// use purser::http::head;
///
/// let (mut received, mut seen) = (b"GET /v1/users/42/balance HTTP/1.1\r\nho".to_vec(), 0);
/// assert_eq!(head::parse(&received, &mut seen), Ok(None));
///
/// received.extend_from_slice(b"st: purser\r\n\r\nGET ");
/// let (head, bytes) = head::parse(&received, &mut seen).expect("valid").expect("finished");
/// assert_eq!(head.target.path, "/v1/users/42/balance");
/// assert!(head.keep_alive);
/// // What follows the head belongs to the next request.
/// assert_eq!(received[bytes..], *b"GET ");
/// ```
#[inline]
pub fn parse<'b>(buf: &'b [u8], seen: &mut usize) -> Result<Option<(Head<'b>, usize)>, Refusal> {
    assert!(*seen <= buf.len(), "an unfinished request only grows");
    let start = skip_empty_lines(buf);
    match find_end(buf, start, *seen)? {
        Some(end) => {
            *seen = 0;
            Ok(Some((parse_whole(&buf[start..end])?, end)))
        }
        None => {
            *seen = buf.len();
            Ok(None)
        }
    }
}

/// Whether `buf`, which starts at a request's first byte, begins with a `HEAD` request: its answer
/// has no content, even if the request is refused.
pub fn is_head_request(buf: &[u8]) -> bool {
    buf[skip_empty_lines(buf)..].starts_with(b"HEAD ")
}

/// Offset of the request line: after at most two empty lines, which a peer may send after the
/// previous body (RFC 9112, 2.2).
fn skip_empty_lines(buf: &[u8]) -> usize {
    match buf {
        [b'\r', b'\n', b'\r', b'\n', ..] => 4,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// Offset after the empty line that ends the head, if it is in `buf`. Searches after `seen` only;
/// the request line is searched once more when the bytes exceed its limit.
fn find_end(buf: &[u8], start: usize, seen: usize) -> Result<Option<usize>, Refusal> {
    let window = &buf[..buf.len().min(HEAD_BYTES)];
    let line_end = start + REQUEST_LINE_BYTES;
    if seen < line_end
        && line_end <= window.len()
        && memchr(b'\n', &window[start..line_end]).is_none()
    {
        return Err(reread::long_line(&window[start..line_end]));
    }
    let from = start.max(seen);
    for found in memchr_iter(b'\n', &window[from..]) {
        let lf = from + found;
        match &window[..lf] {
            [.., b'\n', b'\r'] if lf == start + 1 => {
                return Err(Refusal::Malformed(NotHttp::EmptyLines));
            }
            [.., b'\n', b'\r'] => return Ok(Some(lf + 1)),
            [.., b'\r'] => {}
            _ => return Err(Refusal::Malformed(NotHttp::BareLf)),
        }
    }
    if window.len() == HEAD_BYTES { Err(reread::long_head(&window[start..])) } else { Ok(None) }
}

/// Parses a finished head: request line, header lines and empty line, each ended by CRLF.
fn parse_whole(head: &[u8]) -> Result<Head<'_>, Refusal> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let Ok(parsed) = request.parse_with_uninit_headers(head, &mut slots) else {
        return reread::whole(head);
    };
    // The scan and httparse look for the same CRLF CRLF. Should they ever disagree, the request is
    // refused.
    let (httparse::Status::Complete(end), Some(method), Some(text), Some(minor)) =
        (parsed, request.method, request.path, request.version)
    else {
        return Err(Refusal::Malformed(NotHttp::Ambiguous));
    };
    if end != head.len() {
        return Err(Refusal::Malformed(NotHttp::Ambiguous));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let target = target::parse(text, method)?;
    let mut fields = Fields::new(version);
    for header in request.headers.iter() {
        fields.read_line(header.name, header.value)?;
    }
    let parsed = fields.finish(head, Method::parse(method), target)?;
    match parsed.method {
        _ if text.len() <= TARGET_BYTES => Ok(parsed),
        Method::Unknown => Err(Refusal::Method),
        _ => Err(Refusal::UriTooLong),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::request::Framing;
    use crate::http::target::Target;

    type Outcome<'b> = Result<Option<(Head<'b>, usize)>, Refusal>;

    /// Parses a request whole, cut in two at every byte, and byte by byte: all must agree.
    pub(in crate::http) fn parse_in_all_ways(request: &[u8]) -> Outcome<'_> {
        let whole = parse(request, &mut 0);
        for cut in 0..request.len() {
            assert_eq!(
                parse_pieces(request, [cut]),
                whole,
                "cut at {cut}: {}",
                request.escape_ascii()
            );
        }
        let trickled = parse_pieces(request, 0..request.len());
        assert_eq!(trickled, whole, "byte by byte: {}", request.escape_ascii());
        whole
    }

    /// Parses a request that arrives up to each of `cuts`, then whole.
    fn parse_pieces(request: &[u8], cuts: impl IntoIterator<Item = usize>) -> Outcome<'_> {
        let mut seen = 0;
        for cut in cuts {
            let outcome = parse(&request[..cut], &mut seen);
            if outcome != Ok(None) {
                return outcome;
            }
            assert_eq!(seen, cut, "an unfinished head was searched to its end");
        }
        parse(request, &mut seen)
    }

    /// Parses a request that consists of a head only.
    fn accept(request: &str) -> Head<'_> {
        match parse_in_all_ways(request.as_bytes()) {
            Ok(Some((head, end))) => {
                assert_eq!(end, request.len(), "{request:?}");
                head
            }
            other => panic!("{request:?} gives {other:?}"),
        }
    }

    fn refuse(request: impl AsRef<[u8]>, expected: Refusal) {
        let request = request.as_ref();
        assert_eq!(parse_in_all_ways(request), Err(expected), "{}", request.escape_ascii());
    }

    #[test]
    fn a_typical_get() {
        let head = accept(
            "GET /v1/users/42/balance?currency=COIN HTTP/1.1\r\nHost: a:80\r\n\
             If-None-Match: \"v17\"\r\n\r\n",
        );
        let expected = Head {
            method: Method::Get,
            target: Target { path: "/v1/users/42/balance", query: Some("currency=COIN") },
            version: Version::Http11,
            framing: Framing::None,
            keep_alive: true,
            expect_continue: false,
            conditions: Some(b"If-None-Match: \"v17\""),
            content_type: None,
            content_encoding: None,
        };
        assert_eq!(head, expected);
    }

    #[test]
    fn methods_and_versions() {
        for (token, method) in [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("PUT", Method::Put),
            ("DELETE", Method::Delete),
            ("OPTIONS", Method::Options),
            ("PATCH", Method::Patch),
            ("TRACE", Method::Trace),
        ] {
            for (number, version) in [
                ("1.0", Version::Http10),
                ("1.1", Version::Http11),
                ("1.2", Version::Http11),
                ("1.9", Version::Http11),
            ] {
                let request = format!("{token} / HTTP/{number}\r\nHost: a\r\nX: b \r\n\r\n");
                let head = accept(&request);
                assert_eq!((head.method, head.version), (method, version), "{request}");
            }
        }
        for token in ["get", "Get", "CONNECT", "PRI", "LINK", "!#$%&'*+-.^_`|~09"] {
            let request = format!("{token} / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n");
            assert_eq!(accept(&request).method, Method::Unknown, "{token}");
        }
        assert_eq!(accept("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n").method, Method::Unknown);
        let conditions = "GET / HTTP/1.7\r\nHost: a\r\nif-match: *\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(accept(conditions).framing, Framing::Length(3));
        assert_eq!(accept(conditions).conditions, Some(&b"if-match: *"[..]));
    }

    #[test]
    fn the_head_ends_at_its_empty_line() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (before, behind) in [
            ("", ""),
            ("\r\n", ""),
            ("\r\n\r\n", ""),
            ("", "{\"body\":1}\n\n"),
            ("\r\n", "GET /next HTTP/1.1\r\n"),
            ("", "\0\n\r\n\r\n"),
        ] {
            let request = [before.as_bytes(), get, behind.as_bytes()].concat();
            let Ok(Some((head, end))) = parse_in_all_ways(&request) else {
                panic!("{before:?} {behind:?}")
            };
            assert_eq!(
                (head.target.path, end),
                ("/", before.len() + get.len()),
                "{before:?} {behind:?}"
            );
        }
        for end in 0..get.len() {
            assert_eq!(parse_in_all_ways(&get[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn bare_line_ends() {
        let bare_lf = Refusal::Malformed(NotHttp::BareLf);
        refuse("\n", bare_lf);
        refuse("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", bare_lf);
        refuse("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", bare_lf);
        refuse("GET / HTTP/1.1\n", bare_lf);
        refuse("GET / HTTP/1.1\nHost: a\r\n\r\n", bare_lf);
        refuse("GET / HTTP/1.1\r\nHost: a\n", bare_lf);
        refuse("GET / HTTP/1.1\r\nHost: a\n\r\n", bare_lf);
        refuse("GET / HTTP/1.1\r\nHost: a\r\n\n", bare_lf);
        refuse("GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n", bare_lf);
        refuse("GET / HTTP/1.1\r\nHost: a\r\nX: b\n\nGET /smuggled HTTP/1.1\r\n\r\n", bare_lf);
        for request in [
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX:\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\rHost: a\r\n\r\n",
        ] {
            refuse(request, Refusal::Malformed(NotHttp::BareCr));
        }
        refuse("\r\n\r\n\r\n", Refusal::Malformed(NotHttp::EmptyLines));
    }

    #[test]
    fn request_lines() {
        for (line, expected) in [
            (" GET / HTTP/1.1", NotHttp::RequestLine),
            ("GET  / HTTP/1.1", NotHttp::RequestLine),
            ("GET /", NotHttp::RequestLine),
            ("GET", NotHttp::RequestLine),
            ("GET /  HTTP/1.1", NotHttp::RequestLine),
            ("GET /a b HTTP/1.1", NotHttp::RequestLine),
            ("GET / HTTP/1.1 ", NotHttp::RequestLine),
            ("GET\t/ HTTP/1.1", NotHttp::Method),
            ("GE(T / HTTP/1.1", NotHttp::Method),
            ("G\u{e9}T / HTTP/1.1", NotHttp::Method),
            ("GET /\u{7f} HTTP/1.1", NotHttp::TargetByte),
            ("GET /\0 HTTP/1.1", NotHttp::TargetByte),
            ("GET /a\tb HTTP/1.1", NotHttp::TargetByte),
            ("GET /\u{e9} HTTP/1.1", NotHttp::TargetByte),
            ("GET /a#b HTTP/1.1", NotHttp::TargetFragment),
            ("GET a:80 HTTP/1.1", NotHttp::TargetForm),
            ("CONNECT a@b HTTP/1.1", NotHttp::TargetForm),
            ("GET * HTTP/1.3", NotHttp::TargetForm),
            ("GET / ", NotHttp::NoVersion),
            ("GET / http/1.1", NotHttp::NoVersion),
            ("GET / HTTP/1", NotHttp::NoVersion),
            ("GET / HTTP/1.", NotHttp::NoVersion),
            ("GET / HTTP/11", NotHttp::NoVersion),
            ("GET / HTTP/2", NotHttp::NoVersion),
            ("GET / HTTP/+1.1", NotHttp::NoVersion),
            ("GET / HTTP/01.1", NotHttp::NoVersion),
            ("GET / HTTP/2.00", NotHttp::NoVersion),
            ("GET / HTTP/1.10", NotHttp::NoVersion),
            ("GET / HTTPS/1.1", NotHttp::NoVersion),
            ("GET / ICY/1.1", NotHttp::NoVersion),
        ] {
            refuse(format!("{line}\r\nHost: a\r\n\r\n"), Refusal::Malformed(expected));
        }
        for line in ["GET / HTTP/0.9", "GET / HTTP/2.0", "PRI * HTTP/2.0", "GET / HTTP/9.9"] {
            refuse(format!("{line}\r\nHost: a\r\n\r\n"), Refusal::Version);
        }
    }

    #[test]
    fn header_lines() {
        for (line, expected) in [
            ("X : b", NotHttp::SpaceBeforeColon),
            ("X\t: b", NotHttp::SpaceBeforeColon),
            (" X: b", NotHttp::FoldedLine),
            ("X: b\r\n c", NotHttp::FoldedLine),
            ("X: b\r\n\tc", NotHttp::FoldedLine),
            ("X:\r\n c", NotHttp::FoldedLine),
            (": b", NotHttp::HeaderName),
            ("X\0: b", NotHttp::HeaderName),
            ("X(Y): b", NotHttp::HeaderName),
            ("X\u{e9}: b", NotHttp::HeaderName),
            ("X", NotHttp::NoColon),
            ("X: b\0", NotHttp::HeaderValue),
            ("X: \u{1}b", NotHttp::HeaderValue),
            ("X: b\u{7f}c", NotHttp::HeaderValue),
            ("X: \u{b}", NotHttp::HeaderValue),
            ("X: b\u{c}", NotHttp::HeaderValue),
        ] {
            let expected = Refusal::Malformed(expected);
            for version in ["1.1", "1.5", "3.0"] {
                let start = format!("GET / HTTP/{version}\r\n");
                refuse(format!("{start}Host: a\r\n{line}\r\n\r\n"), expected);
                refuse(format!("{start}{line}\r\nHost: a\r\n\r\n"), expected);
            }
        }
        for line in ["X:", "X: ", "X:b", "X: \t b \t", "X: b\tc", "X: h\u{e9}", "x-Y_z: :"] {
            accept(&format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n"));
            accept(&format!("GET / HTTP/1.2\r\n{line}\r\nHost: a\r\n\r\n"));
        }
    }

    #[test]
    fn what_is_malformed_goes_before_versions_methods_and_limits() {
        let long = "a".repeat(TARGET_BYTES);
        let many = "X: b\r\n".repeat(HEADERS);
        let wide = format!("X: {}\r\n", "b".repeat(HEAD_BYTES));
        let malformed = Refusal::Malformed(NotHttp::NoColon);
        for (line, after, expected) in [
            ("GET / HTTP/2.0", "Host: a\r\nX\r\n", malformed),
            ("FOO / HTTP/1.1", "Host: a\r\nX\r\n", malformed),
            ("FOO / HTTP/1.1", "", Refusal::Malformed(NotHttp::NoHost)),
            ("FOO / HTTP/1.1", "Host: a\r\nTransfer-Encoding: a, chunked\r\n", Refusal::Method),
            ("FOO / HTTP/2.0", "Host: a\r\n", Refusal::Version),
            (&format!("GET /{long} HTTP/1.1"), "X\r\n", malformed),
            (&format!("GET /{long} HTTP/2.0"), "Host: a\r\n", Refusal::Version),
            (&format!("FOO /{long} HTTP/1.1"), "Host: a\r\n", Refusal::Method),
            (&format!("FOO /{long}{long} HTTP/1.1"), "Host: a\r\n", Refusal::Method),
            (&format!("F\u{1}O /{long}{long} HTTP/1.1"), "", Refusal::Malformed(NotHttp::Method)),
            (&format!("GET /{long} HTTP/1.1"), &format!("Host: a\r\n{many}"), Refusal::UriTooLong),
            ("GET / HTTP/1.1", &format!("{many}Host: a\r\nX\r\n"), malformed),
            ("GET / HTTP/2.0", &format!("{many}Host: a\r\n"), Refusal::Version),
            ("FOO / HTTP/1.1", &format!("{many}Host: a\r\n"), Refusal::Method),
            ("GET / HTTP/1.2", &format!("{many}Host: a\r\n"), Refusal::HeaderTooLarge),
            ("GET / HTTP/1.1", &format!("X\r\n{wide}"), malformed),
            ("GET / HTTP/1.1", &format!("{wide}X\r\n"), Refusal::HeaderTooLarge),
            ("GET / HTTP/3.0", &wide, Refusal::Version),
            ("FOO / HTTP/1.1", &wide, Refusal::Method),
        ] {
            refuse(format!("{line}\r\n{after}\r\n"), expected);
        }
        refuse("A".repeat(REQUEST_LINE_BYTES), Refusal::Method);
        refuse("\0".repeat(REQUEST_LINE_BYTES), Refusal::Malformed(NotHttp::Method));
        refuse(" ".repeat(REQUEST_LINE_BYTES), Refusal::Malformed(NotHttp::RequestLine));
    }

    #[test]
    fn refusals_of_head_requests_are_told_apart() {
        for request in ["HEAD / HTTP/1.1\r\n", "\r\nHEAD  ", "\r\n\r\nHEAD "] {
            assert!(is_head_request(request.as_bytes()), "{request:?}");
        }
        for request in ["", "HEAD", "HEADS / HTTP/1.1", "head /", "\r\n\r\n\r\nHEAD ", "GET /"] {
            assert!(!is_head_request(request.as_bytes()), "{request:?}");
        }
    }

    /// httparse checks several bytes at a time: it must find an invalid byte at every offset of its
    /// stride.
    #[test]
    fn every_byte_at_every_offset() {
        use super::super::grammar::{is_field_text, is_token};
        let taken = |before: &str, middle: &[u8], behind: &str| {
            let request = [before.as_bytes(), middle, behind.as_bytes()].concat();
            matches!(parse(&request, &mut 0), Ok(Some((_, end))) if end == request.len())
        };
        for at in 0..40 {
            for byte in 0..=255u8 {
                let mut text = [b'a'; 40];
                text[at] = byte;
                let row = format!("{byte:#x} at {at}");

                let in_value = taken("GET / HTTP/1.0\r\nX: ", &text, "\r\n\r\n");
                assert_eq!(in_value, is_field_text(byte), "value, {row}");

                let in_name = taken("GET / HTTP/1.0\r\n", &text, ": x\r\n\r\n");
                let ends_name = byte == b':' && at > 0;
                assert_eq!(in_name, is_token(byte) || ends_name, "name, {row}");

                let in_target = taken("GET /", &text, " HTTP/1.0\r\n\r\n");
                let legal = byte.is_ascii_graphic() && byte != b'#';
                assert_eq!(in_target, legal, "target, {row}");
            }
        }
    }

    #[test]
    fn limits() {
        let get =
            |target: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(target - 1));
        assert_eq!(accept(&get(TARGET_BYTES)).target.path.len(), TARGET_BYTES);
        refuse(get(TARGET_BYTES + 1), Refusal::UriTooLong);
        refuse(get(REQUEST_LINE_BYTES), Refusal::UriTooLong);
        refuse(&get(HEAD_BYTES)[..REQUEST_LINE_BYTES], Refusal::UriTooLong);
        assert_eq!(
            parse_in_all_ways(&get(HEAD_BYTES).as_bytes()[..REQUEST_LINE_BYTES - 1]),
            Ok(None)
        );
        refuse([b"GET /", &[b'\0'; HEAD_BYTES][..]].concat(), Refusal::UriTooLong);

        let lines = |count: usize| {
            format!("GET / HTTP/1.1\r\n{}Host: a\r\n\r\n", "X: b\r\n".repeat(count - 1))
        };
        accept(&lines(HEADERS));
        refuse(lines(HEADERS + 1), Refusal::HeaderTooLarge);

        let sized = |size: usize| {
            let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "b".repeat(size - frame))
        };
        accept(&sized(HEAD_BYTES));
        refuse(sized(HEAD_BYTES + 1), Refusal::HeaderTooLarge);
        refuse(&sized(2 * HEAD_BYTES)[..HEAD_BYTES], Refusal::HeaderTooLarge);
        assert_eq!(
            parse_in_all_ways(&sized(2 * HEAD_BYTES).as_bytes()[..HEAD_BYTES - 1]),
            Ok(None)
        );
    }

    const VALID: [&str; 4] = [
        "GET /v1/users/42/balance?currency=COIN HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
        "\r\nPOST /v1/entries HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n",
        "POST http://a/v1/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n",
        "HEAD /healthz HTTP/1.0\r\nConnection: keep-alive\r\nIf-None-Match: *\r\nX: \t\r\n\r\n",
    ];

    fn one_of(bytes: &[u8]) -> impl Strategy<Value = u8> {
        prop::sample::select(bytes.to_vec())
    }

    /// Any byte, biased towards those with a meaning in the grammar.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), one_of(b"\r\n \t:,;#?/")]
    }

    proptest! {
        #[test]
        fn any_bytes(request in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_in_all_ways(&request);
        }

        #[test]
        fn grammar_bytes(request in prop::collection::vec(one_of(b"\r\n :aG/1.\tH"), 0..60)) {
            let _ = parse_in_all_ways(&request);
        }

        /// A valid request with bytes replaced, inserted and removed. However it is cut, the
        /// outcome is the same; an accepted head ends in an empty line and has no bare CR or LF.
        #[test]
        fn mutated_requests(
            which in 0..VALID.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3, byte()), 0..4),
        ) {
            let mut request = VALID[which].as_bytes().to_vec();
            for (index, edit, byte) in edits {
                let at = index.index(request.len());
                match edit {
                    0 => request[at] = byte,
                    1 => request.insert(at, byte),
                    _ => drop(request.remove(at)),
                }
            }
            // httparse reads HTTP/1.1, `reread` HTTP/1.3: both must accept and refuse the same.
            if let Some(at) = memchr::memmem::find(&request, b" HTTP/1.1\r\n") {
                let again = [&request[..at], b" HTTP/1.3\r\n", &request[at + 11..]].concat();
                prop_assert_eq!(parse(&again, &mut 0), parse(&request, &mut 0));
            }
            if let Ok(Some((_, end))) = parse_in_all_ways(&request) {
                let head = &request[..end];
                prop_assert!(head.ends_with(b"\r\n\r\n"));
                let ends = head.windows(2).filter(|pair| pair == b"\r\n").count();
                prop_assert_eq!(head.iter().filter(|&&byte| byte == b'\r').count(), ends);
                prop_assert_eq!(head.iter().filter(|&&byte| byte == b'\n').count(), ends);
            }
        }
    }
}
