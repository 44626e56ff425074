//! Request target: path, query and query parameters.
//!
//! `parse` reduces every form of a target to a path and a query, both undecoded. [`pairs`] iterates
//! over a query and decodes each name and value into a buffer of its own, at most [`PARAM_BYTES`],
//! without allocation. [`unreserved`] decodes what a peer need not have encoded in a path.
//! Parameter names have no meaning here: the routes decide whether one is unknown, repeated or
//! empty. `+` is a plus, not a space (RFC 3986, not HTML forms).

use std::ops::Deref;

use memchr::{memchr, memchr2};

use super::grammar::{hex_digit, is_authority};
use super::{NotHttp, Refusal};

/// Limit of a decoded parameter name or value in bytes; longer than any valid one (a kind has at
/// most 32).
pub const PARAM_BYTES: usize = 64;

/// A request target in origin form. Visible ASCII, percent-escapes as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// Begins with `/`, or is `*`, for `OPTIONS` only, or a host and port, for `CONNECT` only.
    pub path: &'b str,
    /// The text after the first `?`, possibly empty; `None` without a `?`.
    pub query: Option<&'b str>,
}

/// Parses a target. `text` has no white space and no control bytes.
///
/// Accepts the origin form, and the absolute form of `http` and `https`, whose scheme and authority
/// are dropped (RFC 9112, 3.2).
#[inline]
pub(super) fn parse<'b>(text: &'b str, method: &str) -> Result<Target<'b>, Refusal> {
    if !text.is_ascii() {
        return Err(Refusal::Malformed(NotHttp::TargetByte));
    }
    if memchr(b'#', text.as_bytes()).is_some() {
        return Err(Refusal::Malformed(NotHttp::TargetFragment));
    }
    if text.starts_with('/') {
        return Ok(split(text));
    }
    let is_special = match method {
        "OPTIONS" => text == "*",
        "CONNECT" => is_authority(text.as_bytes()),
        _ => false,
    };
    if is_special {
        return Ok(Target { path: text, query: None });
    }
    absolute(text).ok_or(Refusal::Malformed(NotHttp::TargetForm))
}

/// Splits an origin form into path and query.
fn split(text: &str) -> Target<'_> {
    match memchr(b'?', text.as_bytes()) {
        Some(mark) => Target { path: &text[..mark], query: Some(&text[mark + 1..]) },
        None => Target { path: text, query: None },
    }
}

/// Drops scheme and authority of an absolute form; an empty path becomes `/`.
fn absolute(text: &str) -> Option<Target<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, rest) =
        rest.split_at(memchr2(b'/', b'?', rest.as_bytes()).unwrap_or(rest.len()));
    let names_a_host =
        !authority.is_empty() && !authority.starts_with(':') && is_authority(authority.as_bytes());
    let target = split(rest);
    let path = if target.path.is_empty() { "/" } else { target.path };
    names_a_host.then_some(Target { path, ..target })
}

/// A decoded name, value or path segment. May be any bytes, not only ASCII.
#[derive(Clone, Copy)]
pub struct Param {
    bytes: [u8; PARAM_BYTES],
    len: u8,
}

const _: () = assert!(PARAM_BYTES <= u8::MAX as usize, "a parameter's length fits its field");

impl Param {
    /// Percent-decodes a name, value or segment; `None` if an escape is broken or the result too
    /// long.
    #[inline]
    pub fn decode(raw: &str) -> Option<Param> {
        let raw = raw.as_bytes();
        let mut param = Param { bytes: [0; PARAM_BYTES], len: 0 };
        if raw.len() <= PARAM_BYTES && !raw.contains(&b'%') {
            param.bytes[..raw.len()].copy_from_slice(raw);
            param.len = raw.len() as u8;
            return Some(param);
        }
        param.unescape(raw)
    }

    /// Appends the percent-decoded `raw`.
    fn unescape(mut self, raw: &[u8]) -> Option<Param> {
        let mut rest = raw;
        while let [byte, after @ ..] = rest {
            let (byte, after) = match (byte, after) {
                (b'%', [high, low, after @ ..]) => {
                    (hex_digit(*high)? << 4 | hex_digit(*low)?, after)
                }
                (b'%', _) => return None,
                _ => (*byte, after),
            };
            *self.bytes.get_mut(usize::from(self.len))? = byte;
            self.len += 1;
            rest = after;
        }
        Some(self)
    }
}

impl Deref for Param {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

/// A path in which escapes of unreserved characters are decoded, as they mean the same (RFC 3986,
/// 6.2.2.2). All other escapes, valid or not, stay: an escaped slash does not divide segments.
pub fn unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = memchr(b'%', rest.as_bytes()) {
        decoded.push_str(&rest[..at]);
        let plain = match rest.as_bytes()[at..] {
            [_, high, low, ..] => hex_digit(high)
                .zip(hex_digit(low))
                .map(|(high, low)| high << 4 | low)
                .filter(|&byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
            _ => None,
        };
        decoded.push(plain.map_or('%', char::from));
        rest = &rest[at + if plain.is_some() { 3 } else { 1 }..];
    }
    decoded + rest
}

/// A parameter whose name or value cannot be decoded, or is longer than [`PARAM_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPair<'b> {
    /// The name, undecoded. [`Param::decode`] of it is `None` if the fault is in the name, not in
    /// the value.
    pub raw_name: &'b str,
}

/// Parameters of a query, in order: each piece between `&`s is split at its first `=`. A piece
/// without `=` has an empty value; an empty piece is an empty name with an empty value. An empty
/// query has no parameters.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<(Param, Param), BadPair<'_>>> {
    let pieces = query.split('&').take(if query.is_empty() { 0 } else { usize::MAX });
    pieces.map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        match (Param::decode(name), Param::decode(value)) {
            (Some(name), Some(value)) => Ok((name, value)),
            _ => Err(BadPair { raw_name: name }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |text, path, query| {
            assert_eq!(parse(text, "GET"), Ok(Target { path, query }), "{text}");
        };
        check("/", "/", None);
        check("/a/b%20c", "/a/b%20c", None);
        check("/a?", "/a", Some(""));
        check("/a?b=c&d", "/a", Some("b=c&d"));
        check("/a?b?c", "/a", Some("b?c"));
        check("//a/b", "//a/b", None);
        check("/http://a/b", "/http://a/b", None);
        check("http://a/b", "/b", None);
        check("HTTPS://a.example:80/b?c", "/b", Some("c"));
        check("http://[::1]:80/b", "/b", None);
        check("http://a", "/", None);
        check("http://a?b", "/", Some("b"));
        check("http://a?b/c", "/", Some("b/c"));
        for (text, method) in [("*", "OPTIONS"), ("a:80", "CONNECT"), ("[::1]:80", "CONNECT")] {
            assert_eq!(parse(text, method), Ok(Target { path: text, query: None }));
        }
    }

    #[test]
    fn refused_forms() {
        let check = |text, reason| {
            assert_eq!(parse(text, "GET"), Err(Refusal::Malformed(reason)), "{text}");
        };
        for text in ["/a#b", "#", "/?a#"] {
            check(text, NotHttp::TargetFragment);
        }
        for text in ["/é", "http://a/é", "/\u{80}", "/é#"] {
            check(text, NotHttp::TargetByte);
        }
        for text in [
            "*",
            "a",
            "a:80",
            "?a",
            "http:/a",
            "http://",
            "http:///a",
            "http://:80/a",
            "http://u@a/",
            "ftp://a/b",
            "://a/b",
            "http://a:b/",
        ] {
            check(text, NotHttp::TargetForm);
        }
        for (text, method) in [("*", "GET"), ("a:80", "OPTIONS"), ("a@b:80", "CONNECT")] {
            let refused = Err(Refusal::Malformed(NotHttp::TargetForm));
            assert_eq!(parse(text, method), refused, "{method} {text}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded() {
        for (path, expected) in [
            ("/v1/users", "/v1/users"),
            ("/%76%31/users%2Fa", "/v1/users%2Fa"),
            ("/%2D%2e%5f%7E%41%61%39", "/-._~Aa9"),
            ("/%25%37%36", "/%2576"),
            ("/%3a%40%00%ff", "/%3a%40%00%ff"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%4g%41", "/%4gA"),
            ("/%%41", "/%A"),
        ] {
            assert_eq!(unreserved(path), expected, "{path}");
        }
    }

    /// A name and a value, or the name of a bad pair.
    type Found<'a> = Result<(&'a [u8], &'a [u8]), &'a str>;

    #[test]
    fn parameters() {
        let check = |query: &str, expected: &[Found<'_>]| {
            let found: Vec<_> = pairs(query).collect();
            let found: Vec<_> = found
                .iter()
                .map(|pair| {
                    pair.as_ref()
                        .map(|(name, value)| (&name[..], &value[..]))
                        .map_err(|bad| bad.raw_name)
                })
                .collect();
            assert_eq!(found, expected, "{query}");
        };
        check("", &[]);
        check("a=1", &[Ok((b"a", b"1"))]);
        check("a=1&b=2", &[Ok((b"a", b"1")), Ok((b"b", b"2"))]);
        check("a=1&&b=2", &[Ok((b"a", b"1")), Ok((b"", b"")), Ok((b"b", b"2"))]);
        check("a&", &[Ok((b"a", b"")), Ok((b"", b""))]);
        check("&", &[Ok((b"", b"")), Ok((b"", b""))]);
        check("=1", &[Ok((b"", b"1"))]);
        check("a=b=c", &[Ok((b"a", b"b=c"))]);
        check("a=1+2", &[Ok((b"a", b"1+2"))]);
        check("%61=%3d%26%00%fF", &[Ok((b"a", b"=&\0\xff"))]);
        check("a=%", &[Err("a")]);
        check("a=%4&b=1", &[Err("a"), Ok((b"b", b"1"))]);
        check("a=%4g", &[Err("a")]);
        check("%zz=1", &[Err("%zz")]);
        check("a=%%41", &[Err("a")]);
    }

    #[test]
    fn long_parameters() {
        let long = "x".repeat(PARAM_BYTES);
        let escaped = "%78".repeat(PARAM_BYTES);
        for raw in [&long, &escaped] {
            assert_eq!(Param::decode(raw).as_deref(), Some(long.as_bytes()));
            assert!(Param::decode(&format!("{raw}x")).is_none());
            assert!(Param::decode(&format!("{raw}%78")).is_none());
        }
    }
}
