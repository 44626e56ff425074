//! Meaning of a request's header lines, and the contradictions between them.
//!
//! [`Fields`] takes the lines in order, then checks all of them together. Precedence of refusals: a
//! line that is malformed in itself is refused when it is taken; then contradictions between lines;
//! only a well-formed request is refused for what it asks (method, then transfer coding, then
//! expectation). Headers not listed in [`Name`] are ignored.
//!
//! Must never accept a request whose body could be framed in two ways.

use super::grammar::{elements, is_authority};
use super::request::{Framing, Head, Method, Version};
use super::target::Target;
use super::{NotHttp, Refusal};

/// The headers that this server interprets.
enum Name {
    Host,
    Expect,
    IfMatch,
    Connection,
    ContentType,
    IfNoneMatch,
    ContentLength,
    ContentEncoding,
    TransferEncoding,
}

/// Looks up a header name, in any case. All known names differ in length, so one comparison is
/// enough.
fn name_of(name: &str) -> Option<Name> {
    let (text, known) = match name.len() {
        4 => ("host", Name::Host),
        6 => ("expect", Name::Expect),
        8 => ("if-match", Name::IfMatch),
        10 => ("connection", Name::Connection),
        12 => ("content-type", Name::ContentType),
        13 => ("if-none-match", Name::IfNoneMatch),
        14 => ("content-length", Name::ContentLength),
        16 => ("content-encoding", Name::ContentEncoding),
        17 => ("transfer-encoding", Name::TransferEncoding),
        _ => return None,
    };
    name.eq_ignore_ascii_case(text).then_some(known)
}

/// The codings named by the `Transfer-Encoding` lines so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Absent,
    /// `chunked`, once and alone.
    Chunked,
    /// Other codings, and `chunked` last.
    ThenChunked,
    /// Another coding last, with or without `chunked` before it.
    Other {
        chunked: bool,
    },
}

/// The header lines taken so far.
pub(super) struct Fields<'b> {
    version: Version,
    host: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
    expect_other: bool,
    coding: Coding,
    /// The body's length; saturates at `u64::MAX`.
    length: Option<u64>,
    /// The name of the first condition, and the value of the last.
    conditions: Option<(&'b [u8], &'b [u8])>,
    content_type: Option<&'b [u8]>,
    content_encoding: Option<&'b [u8]>,
}

impl<'b> Fields<'b> {
    /// Starts without header lines.
    pub(super) fn new(version: Version) -> Self {
        Fields {
            version,
            host: false,
            close: false,
            keep_alive: false,
            expect_continue: false,
            expect_other: false,
            coding: Coding::Absent,
            length: None,
            conditions: None,
            content_type: None,
            content_encoding: None,
        }
    }

    /// Takes the next header line. `name` is a token; `value` is trimmed and free of control bytes.
    #[inline]
    pub(super) fn read_line(&mut self, name: &'b str, value: &'b [u8]) -> Result<(), Refusal> {
        match name_of(name) {
            None => Ok(()),
            Some(Name::Host) => self.take_host(value),
            Some(Name::Expect) => self.take_expect(value),
            Some(Name::Connection) => self.take_connection(value),
            Some(Name::ContentType) => self.take_content_type(value),
            Some(Name::IfMatch | Name::IfNoneMatch) => {
                let first = self.conditions.map_or(name.as_bytes(), |(first, _)| first);
                self.conditions = Some((first, value));
                Ok(())
            }
            Some(Name::ContentLength) => self.take_length(value),
            Some(Name::ContentEncoding) => self.take_content_encoding(value),
            Some(Name::TransferEncoding) => self.take_coding(value),
        }
    }

    /// Checks the lines together and builds the head that they are from.
    #[inline]
    pub(super) fn finish(
        self,
        head: &'b [u8],
        method: Method,
        target: Target<'b>,
    ) -> Result<Head<'b>, Refusal> {
        if !self.host && self.version == Version::Http11 {
            return Err(Refusal::Malformed(NotHttp::NoHost));
        }
        let framing = self.framing()?;
        let is_known = method != Method::Unknown;
        if self.coding == Coding::ThenChunked {
            return Err(if is_known { Refusal::TransferCoding } else { Refusal::Method });
        }
        if self.expect_other && is_known {
            return Err(Refusal::ExpectationFailed);
        }
        Ok(Head {
            method,
            target,
            version: self.version,
            framing,
            keep_alive: !self.close && (self.keep_alive || self.version == Version::Http11),
            expect_continue: self.expect_continue
                && !matches!(framing, Framing::None | Framing::Length(0)),
            conditions: self.conditions.map(|(first, last)| span(head, first, last)),
            content_type: self.content_type,
            content_encoding: self.content_encoding,
        })
    }

    /// Framing of the body (RFC 9112, 6.3); an error if it is ambiguous.
    fn framing(&self) -> Result<Framing, Refusal> {
        match (self.coding, self.length) {
            (Coding::Absent, None) => Ok(Framing::None),
            (Coding::Absent, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(Refusal::Malformed(NotHttp::LengthAndCoding)),
            (_, None) if self.version == Version::Http10 => {
                Err(Refusal::Malformed(NotHttp::CodingInHttp10))
            }
            (Coding::Chunked | Coding::ThenChunked, None) => Ok(Framing::Chunked),
            (Coding::Other { .. }, None) => Err(Refusal::Malformed(NotHttp::ChunkedNotLast)),
        }
    }

    fn take_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.host {
            return Err(Refusal::Malformed(NotHttp::HostRepeated));
        }
        if !is_authority(value) {
            return Err(Refusal::Malformed(NotHttp::HostValue));
        }
        self.host = true;
        Ok(())
    }

    /// HTTP/1.0 has no expectations: a proxy may have forwarded a header that it did not understand
    /// (RFC 9110, 10.1.1).
    fn take_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.version == Version::Http11 {
            for expectation in elements(value).filter(|element| !element.is_empty()) {
                let known = expectation.eq_ignore_ascii_case(b"100-continue");
                self.expect_continue |= known;
                self.expect_other |= !known;
            }
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }

    fn take_content_type(&mut self, value: &'b [u8]) -> Result<(), Refusal> {
        match self.content_type.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::Malformed(NotHttp::ContentTypeRepeated)),
        }
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for text in elements(value) {
            let length = decimal(text).ok_or(Refusal::Malformed(NotHttp::LengthValue))?;
            if self.length.is_some_and(|earlier| earlier != length) {
                return Err(Refusal::Malformed(NotHttp::LengthsDiffer));
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn take_content_encoding(&mut self, value: &'b [u8]) -> Result<(), Refusal> {
        if !elements(value)
            .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
        {
            self.content_encoding = Some(value);
        }
        Ok(())
    }

    fn take_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in elements(value) {
            if coding.is_empty() {
                return Err(Refusal::Malformed(NotHttp::CodingEmpty));
            }
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.coding = match (self.coding, chunked) {
                (Coding::Absent, true) => Coding::Chunked,
                (Coding::Other { chunked: false }, true) => Coding::ThenChunked,
                (_, true) => return Err(Refusal::Malformed(NotHttp::ChunkedTwice)),
                (Coding::Absent, false) => Coding::Other { chunked: false },
                (Coding::Chunked | Coding::ThenChunked, false) => Coding::Other { chunked: true },
                (other @ Coding::Other { .. }, false) => other,
            };
        }
        Ok(())
    }
}

/// The bytes of `head` from the start of `first` through the end of `last`.
fn span<'b>(head: &'b [u8], first: &'b [u8], last: &'b [u8]) -> &'b [u8] {
    let offset = |piece: &[u8]| piece.as_ptr() as usize - head.as_ptr() as usize;
    &head[offset(first)..offset(last) + last.len()]
}

/// Parses a number that is digits only; saturates at `u64::MAX`.
fn decimal(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        byte.is_ascii_digit()
            .then(|| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

#[cfg(test)]
mod tests {
    use super::super::head::tests::parse_in_all_ways;
    use super::*;

    /// Passes the outcome of a request with these header lines, each ended by `|`, to `look`.
    fn judge<R>(
        version: &str,
        lines: &str,
        look: impl FnOnce(Result<Head<'_>, Refusal>) -> R,
    ) -> R {
        let request = format!("POST / HTTP/{version}\r\n{}\r\n", lines.replace('|', "\r\n"));
        look(parse_in_all_ways(request.as_bytes()).map(|head| head.expect("a finished head").0))
    }

    /// Passes the head of an HTTP/1.1 request with a host and these header lines to `look`.
    fn of<R>(lines: &str, look: impl FnOnce(Head<'_>) -> R) -> R {
        judge("1.1", &format!("Host: a|{lines}"), |head| {
            look(head.unwrap_or_else(|refusal| panic!("{lines}: {refusal:?}")))
        })
    }

    fn refuse(lines: &str, expected: Refusal) {
        judge("1.1", &format!("Host: a|{lines}"), |head| {
            assert_eq!(head, Err(expected), "{lines}");
        });
    }

    #[test]
    fn host() {
        let check = |version: &str, lines: &str, reason: Option<NotHttp>| {
            judge(version, lines, |head| {
                assert_eq!(head.err(), reason.map(Refusal::Malformed), "{version} {lines}");
            });
        };
        for value in [
            "",
            "a",
            "a:80",
            "a:",
            "A-b_c.~9",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[v1.x]",
            "%41b",
            "a!$&'()*+,;=",
            ":80",
        ] {
            check("1.1", &format!("Host: {value}|"), None);
            check("1.0", &format!("hOST:{value}|"), None);
        }
        for value in [
            "a b", "a/b", "a@b", "a:b", "a:80:80", "a:8 0", "[::1", "[]", "::1", "[::1]a",
            "[::1]:x", "[a/]", "a%4", "a%zz", "é", "a?b", "\"a\"", "a]",
        ] {
            check("1.1", &format!("Host: {value}|"), Some(NotHttp::HostValue));
            check("1.0", &format!("Host: {value}|"), Some(NotHttp::HostValue));
        }
        check("1.1", "X: a|", Some(NotHttp::NoHost));
        check("1.0", "X: a|", None);
        check("1.1", "Host: a|host: a|", Some(NotHttp::HostRepeated));
        check("1.0", "Host: a|X: b|Host: b|", Some(NotHttp::HostRepeated));
        check("1.1", "Host: |Host: |", Some(NotHttp::HostRepeated));
    }

    #[test]
    fn content_length() {
        let check = |lines: &str, length| {
            of(lines, |head| assert_eq!(head.framing, Framing::Length(length), "{lines}"));
        };
        check("Content-Length: 0|", 0);
        check("content-length:5|", 5);
        check("Content-Length: 007|", 7);
        check("Content-Length: 18446744073709551614|", u64::MAX - 1);
        check("Content-Length: 5, 5|", 5);
        check("Content-Length: 5|Content-Length: 5|", 5);
        check("Content-Length: 5,5|X: y|CONTENT-LENGTH: 5|", 5);
        let not_a_number = Refusal::Malformed(NotHttp::LengthValue);
        for value in [
            "", "+5", "-5", "-0", "5 5", "0x5", "5.0", "5,", ",5", "5,,5", "five", "5;5", "٥",
            "1_0", "\"5\"",
        ] {
            refuse(&format!("Content-Length: {value}|"), not_a_number);
            refuse(&format!("Content-Length: 5|Content-Length: {value}|"), not_a_number);
        }
        refuse("Content-Length: 5|Content-Length: 6|", Refusal::Malformed(NotHttp::LengthsDiffer));
        refuse("Content-Length: 5, 6|", Refusal::Malformed(NotHttp::LengthsDiffer));
        check("Content-Length: 18446744073709551615|", u64::MAX);
        check(&format!("Content-Length: {}|", "9".repeat(100)), u64::MAX);
    }

    #[test]
    fn transfer_encoding() {
        let check =
            |lines: &str| of(lines, |head| assert_eq!(head.framing, Framing::Chunked, "{lines}"));
        check("Transfer-Encoding: chunked|");
        check("transfer-encoding:\tCHUNKED |");
        for value in [
            "gzip",
            "identity",
            "chunked, gzip",
            "gzip, chunked, br",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
            "chunked chunked",
        ] {
            let not_last = Refusal::Malformed(NotHttp::ChunkedNotLast);
            refuse(&format!("Transfer-Encoding: {value}|"), not_last);
        }
        for value in ["gzip, chunked", "identity,CHUNKED", "a, b, chunked"] {
            refuse(&format!("Transfer-Encoding: {value}|"), Refusal::TransferCoding);
        }
        refuse("Transfer-Encoding: gzip|Transfer-Encoding: chunked|", Refusal::TransferCoding);
        let twice = Refusal::Malformed(NotHttp::ChunkedTwice);
        for value in ["chunked, chunked", "chunked, gzip, chunked", "gzip, chunked, chunked"] {
            refuse(&format!("Transfer-Encoding: {value}|"), twice);
        }
        refuse("Transfer-Encoding: chunked|Transfer-Encoding: chunked|", twice);
        for value in ["", "chunked,", ",chunked", "gzip,,chunked"] {
            refuse(
                &format!("Transfer-Encoding: {value}|"),
                Refusal::Malformed(NotHttp::CodingEmpty),
            );
        }
        let both = Refusal::Malformed(NotHttp::LengthAndCoding);
        refuse("Content-Length: 5|Transfer-Encoding: chunked|", both);
        refuse("Transfer-Encoding: chunked|Content-Length: 0|", both);
        refuse("Transfer-Encoding: identity|Content-Length: 5|", both);
        let under_1_0 = Err(Refusal::Malformed(NotHttp::CodingInHttp10));
        judge("1.0", "Transfer-Encoding: chunked|", |head| assert_eq!(head, under_1_0));
        judge("1.0", "Transfer-Encoding: gzip|", |head| assert_eq!(head, under_1_0));
    }

    #[test]
    fn connection() {
        for (version, lines, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: close|", false),
            ("1.1", "Connection: keep-alive|", true),
            ("1.1", "Connection: Upgrade, CLOSE|", false),
            ("1.1", "Connection: keep-alive, close|", false),
            ("1.1", "Connection: close|Connection: keep-alive|", false),
            ("1.1", "Connection: closed|", true),
            ("1.1", "Connection:|", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive|", true),
            ("1.0", "Connection: foo,keep-alive|", true),
            ("1.0", "Connection: keep-alive, close|", false),
            ("1.0", "Connection: foo|", false),
        ] {
            let lines = format!("Host: a|{lines}");
            judge(version, &lines, |head| {
                assert_eq!(head.map(|head| head.keep_alive), Ok(keep_alive), "{version} {lines}");
            });
        }
    }

    #[test]
    fn expect() {
        for (lines, expected) in [
            ("Content-Length: 5|Expect: 100-continue|", true),
            ("Expect: 100-Continue|Transfer-Encoding: chunked|", true),
            ("Content-Length: 5|", false),
            ("Content-Length: 5|Expect: ,100-continue,, |", true),
            ("Content-Length: 5|Expect: ,|", false),
            ("Content-Length: 5|Expect:|", false),
            ("Content-Length: 0|Expect: 100-continue|", false),
            ("Expect: 100-continue|", false),
        ] {
            of(lines, |head| assert_eq!(head.expect_continue, expected, "{lines}"));
        }
        for value in ["200-ok", ", ok", "100-continue, more", "100-continue;q=1"] {
            refuse(&format!("Content-Length: 5|Expect: {value}|"), Refusal::ExpectationFailed);
            judge("1.0", &format!("Content-Length: 5|Expect: {value}|"), |head| {
                assert_eq!(head.map(|head| head.expect_continue), Ok(false), "{value}");
            });
        }
        judge("1.0", "Content-Length: 5|Expect: 100-continue|", |head| {
            assert_eq!(head.map(|head| head.expect_continue), Ok(false));
        });
    }

    #[test]
    fn conditions_and_content() {
        of("If-None-Match: \"v1\" |", |head| {
            assert_eq!(head.conditions, Some(&b"If-None-Match: \"v1\""[..]));
        });
        of("if-match: \"v1\"|Accept: */*|if-none-match: \"v2\"|", |head| {
            assert_eq!(
                head.conditions,
                Some(&b"if-match: \"v1\"\r\nAccept: */*\r\nif-none-match: \"v2\""[..])
            );
        });
        of("If-Range: \"v1\"|", |head| assert_eq!(head.conditions, None));
        of("CONTENT-TYPE: application/json; charset=utf-8|", |head| {
            assert_eq!(head.content_type, Some(&b"application/json; charset=utf-8"[..]));
        });
        refuse(
            "Content-Type: a/b|Content-Type: a/b|",
            Refusal::Malformed(NotHttp::ContentTypeRepeated),
        );
        for (lines, expected) in [
            ("Content-Encoding: gzip|", Some(&b"gzip"[..])),
            ("Content-Encoding: identity, br|", Some(b"identity, br")),
            ("Content-Encoding: gzip|Content-Encoding: identity|", Some(b"gzip")),
            ("Content-Encoding: Identity|", None),
            ("Content-Encoding:|", None),
        ] {
            of(lines, |head| assert_eq!(head.content_encoding, expected, "{lines}"));
        }
    }

    #[test]
    fn malformed_lines_are_refused_first() {
        refuse(
            "Expect: x|Transfer-Encoding: gzip|Content-Length: z|",
            Refusal::Malformed(NotHttp::LengthValue),
        );
        refuse("Expect: x|Transfer-Encoding: gzip, chunked|", Refusal::TransferCoding);
        let no_host = Err(Refusal::Malformed(NotHttp::NoHost));
        judge("1.1", "Expect: x|Transfer-Encoding: gzip|", |head| assert_eq!(head, no_host));
    }
}
