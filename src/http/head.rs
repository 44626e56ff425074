//! Parser of a request's head: finds its end, enforces the limits, checks every byte.
//!
//! [`parse`] works in three steps. A scan over the line feeds finds the end of the head and
//! enforces the limits; it remembers how far it got, so a head that trickles in byte by byte costs
//! linear time. Then httparse splits the finished head into tokens. What httparse accepts but
//! should not is refused here, in `fields` and in `target`.
//!
//! Accepted by httparse 1.10, refused by this module:
//! - a line that ends in a bare LF, anywhere (the scan; so the scan and httparse cannot disagree on
//!   where a line ends)
//! - any number of empty lines before the request line (the scan skips two and passes on the rest
//!   without them)
//! - `#`, bytes above 0x7e and unknown forms of the request target (`target`)
//! - a missing or repeated `Host`, and whatever the header lines mean (`fields`)
//!
//! httparse reports versions other than 1.0 and 1.1 with one error, well-formed or not; this module
//! tells the two apart. The tests below also pin what httparse itself refuses: bare CR, obs-fold,
//! white space before a colon, empty names, control bytes.
//!
//! Order of refusals: the scan's, in byte order; then the first invalid byte that httparse finds;
//! then the target's; then those of the header lines' meaning.

use std::mem::MaybeUninit;

use memchr::{memchr, memchr_iter};

use super::fields::Fields;
use super::request::{Head, Method, Version};
use super::target;
use super::{HEAD_BYTES, HEADERS, REQUEST_LINE_BYTES, Refusal, TARGET_BYTES};

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
        return Err(Refusal::UriTooLong);
    }
    let from = start.max(seen);
    for found in memchr_iter(b'\n', &window[from..]) {
        let lf = from + found;
        match &window[..lf] {
            [.., b'\n', b'\r'] if lf == start + 1 => {
                return Err(Refusal::Malformed(
                    "more than two empty lines before the request line",
                ));
            }
            [.., b'\n', b'\r'] => return Ok(Some(lf + 1)),
            [.., b'\r'] => {}
            _ => return Err(Refusal::Malformed("a line ends without CR")),
        }
    }
    if window.len() == HEAD_BYTES { Err(Refusal::HeaderTooLarge) } else { Ok(None) }
}

/// Parses a finished head: request line, header lines and empty line, each ended by CRLF.
fn parse_whole(head: &[u8]) -> Result<Head<'_>, Refusal> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request
        .parse_with_uninit_headers(head, &mut slots)
        .map_err(|error| refusal(error, head))?;
    // The scan and httparse look for the same CRLF CRLF. Should they ever disagree, the request is
    // refused.
    let (httparse::Status::Complete(end), Some(method), Some(target), Some(minor)) =
        (parsed, request.method, request.path, request.version)
    else {
        return Err(Refusal::Malformed("an unfinished head"));
    };
    if end != head.len() {
        return Err(Refusal::Malformed("a head that ends before its empty line"));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    if target.len() > TARGET_BYTES {
        return Err(Refusal::UriTooLong);
    }
    let target = target::parse(target, method == "OPTIONS")?;
    let mut fields = Fields::new(version);
    for header in request.headers.iter() {
        fields.read_line(header.name, header.value)?;
    }
    fields.finish(head, method_of(method), target)
}

/// Maps a token to a method.
fn method_of(token: &str) -> Method {
    match token {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    }
}

/// Maps an error of httparse to a refusal.
#[cold]
fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Refusal::HeaderTooLarge,
        Error::Version if has_other_version(head) => Refusal::Version,
        Error::Version => Refusal::Malformed("not an HTTP version"),
        Error::Token => Refusal::Malformed("a bad byte in the method or the target"),
        Error::NewLine => Refusal::Malformed("a line ends without LF, or late"),
        Error::HeaderName => Refusal::Malformed("a header name is not a token followed by a colon"),
        Error::HeaderValue => Refusal::Malformed("a control byte in a header value"),
        Error::Status => Refusal::Malformed("not a request"),
    }
}

/// Whether the request line is three words, the last of them a well-formed version: `HTTP/d.d`.
fn has_other_version(head: &[u8]) -> bool {
    let line_end = memchr(b'\r', head).unwrap_or(head.len());
    let mut words = head[..line_end].split(|&byte| byte == b' ').skip(2);
    matches!(
        (words.next(), words.next()),
        (Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']), None)
    )
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
            if_none_match: Some(b"\"v17\""),
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
            ("get", Method::Other),
            ("DELETE", Method::Other),
            ("OPTIONS", Method::Other),
            ("!#$%&'*+-.^_`|~09", Method::Other),
        ] {
            assert_eq!(accept(&format!("{token} / HTTP/1.1\r\nHost: a\r\n\r\n")).method, method);
            assert_eq!(accept(&format!("{token} / HTTP/1.0\r\n\r\n")).version, Version::Http10);
        }
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
        let bare_lf = Refusal::Malformed("a line ends without CR");
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
        let bare_cr_in_value = Refusal::Malformed("a control byte in a header value");
        refuse("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", bare_cr_in_value);
        refuse("GET / HTTP/1.1\r\nHost: a\r\nX:\rb\r\n\r\n", bare_cr_in_value);
        refuse("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n", bare_cr_in_value);
        refuse(
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            Refusal::Malformed("a line ends without LF, or late"),
        );
        refuse(
            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Refusal::Malformed("a line ends without LF, or late"),
        );
        refuse(
            "GET / HTTP/1.1\r\n\rHost: a\r\n\r\n",
            Refusal::Malformed("a line ends without LF, or late"),
        );
        refuse(
            "\r\n\r\n\r\n",
            Refusal::Malformed("more than two empty lines before the request line"),
        );
    }

    #[test]
    fn request_lines() {
        let token = Refusal::Malformed("a bad byte in the method or the target");
        let version = Refusal::Malformed("not an HTTP version");
        let late = Refusal::Malformed("a line ends without LF, or late");
        for (line, expected) in [
            (" GET / HTTP/1.1", token),
            ("GET  / HTTP/1.1", token),
            ("GET\t/ HTTP/1.1", token),
            ("GET /", token),
            ("GET", token),
            ("GE(T / HTTP/1.1", token),
            ("GET /\u{7f} HTTP/1.1", token),
            ("GET /\0 HTTP/1.1", token),
            ("GET /a\tb HTTP/1.1", token),
            ("GET / ", version),
            ("GET /  HTTP/1.1", version),
            ("GET /a b HTTP/1.1", version),
            ("GET / http/1.1", version),
            ("GET / HTTP/1", version),
            ("GET / HTTP/1.", version),
            ("GET / HTTP/11", version),
            ("GET / HTTP/2", version),
            ("GET / HTTP/+1.1", version),
            ("GET / HTTP/01.1", version),
            ("GET / HTTP/2.00", version),
            ("GET / HTTPS/1.1", version),
            ("GET / ICY/1.1", version),
            ("GET / HTTP/1.1 ", late),
            ("GET / HTTP/1.10", late),
            ("GET / HTTP/0.9", Refusal::Version),
            ("GET / HTTP/1.2", Refusal::Version),
            ("GET / HTTP/2.0", Refusal::Version),
            ("PRI * HTTP/2.0", Refusal::Version),
            ("GET / HTTP/9.9", Refusal::Version),
        ] {
            refuse(format!("{line}\r\nHost: a\r\n\r\n"), expected);
        }
        refuse(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", token);
    }

    #[test]
    fn header_lines() {
        let name = Refusal::Malformed("a header name is not a token followed by a colon");
        let value = Refusal::Malformed("a control byte in a header value");
        for (line, expected) in [
            ("X : b", name),
            ("X\t: b", name),
            (" X: b", name),
            (": b", name),
            ("X", name),
            ("X\0: b", name),
            ("X(Y): b", name),
            ("X: b\r\n c", name),
            ("X: b\r\n\tc", name),
            ("X:\r\n c", name),
            ("X: b\0", value),
            ("X: \u{1}b", value),
            ("X: b\u{7f}c", value),
            ("X: \u{b}", value),
        ] {
            refuse(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"), expected);
            refuse(format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n"), expected);
        }
        for line in ["X:", "X: ", "X:b", "X: \t b \t", "X: b\tc", "X: h\u{e9}", "x-Y_z: :"] {
            accept(&format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n"));
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
        refuse([b'\0'; HEAD_BYTES], Refusal::UriTooLong);

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
