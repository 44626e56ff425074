//! Second reading of a head that is refused: which rule of RFC 9112 it breaks.
//!
//! httparse tells only a few kinds of faults apart, and knows no version above 1.1. A head that it
//! refuses is read here line by line, so that its peer learns what is wrong. A head that exceeds a
//! limit is read up to the limit: what is malformed before it goes first.

use memchr::{memchr, memrchr};

use super::fields::Fields;
use super::grammar::{is_field_text, is_token};
use super::request::{Head, Method, Version};
use super::target;
use super::{HEADERS, NotHttp, Refusal, TARGET_BYTES};

/// The words of a request line.
struct RequestLine<'b> {
    method: &'b str,
    target: &'b str,
    /// `None` for a version that is not served.
    version: Option<Version>,
}

/// Reads a finished head that httparse refused. All its lines end with CRLF. Accepts HTTP/1.2 to
/// 1.9.
#[cold]
pub(super) fn whole(head: &[u8]) -> Result<Head<'_>, Refusal> {
    let lines = head.strip_suffix(b"\r\n\r\n").ok_or(Refusal::Malformed(NotHttp::Ambiguous))?;
    let (RequestLine { method, target: text, .. }, version) = grammar(lines)?;
    let target = target::parse(text, method)?;
    let mut fields = Fields::new(version);
    let mut count = 0;
    for line in split(lines).skip(1) {
        let (name, value) = header_line(line).map_err(Refusal::Malformed)?;
        fields.read_line(name, value)?;
        count += 1;
    }
    let parsed = fields.finish(head, Method::parse(method), target)?;
    if text.len() > TARGET_BYTES || count > HEADERS {
        return Err(match parsed.method {
            Method::Unknown => Refusal::Method,
            _ if text.len() > TARGET_BYTES => Refusal::UriTooLong,
            _ => Refusal::HeaderTooLarge,
        });
    }
    let line = split(lines).next().unwrap_or_default();
    if line.ends_with(b"HTTP/1.0") || line.ends_with(b"HTTP/1.1") {
        // httparse saw a fault here, and this module none: the request is refused.
        return Err(Refusal::Malformed(NotHttp::Ambiguous));
    }
    Ok(parsed)
}

/// The refusal of a head that exceeds its limit. `head` is what lies within the limit; it has a
/// whole request line.
#[cold]
pub(super) fn long_head(head: &[u8]) -> Refusal {
    let end = memrchr(b'\n', head).unwrap_or_default();
    let lines = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    match grammar(lines) {
        Err(refusal) => refusal,
        Ok((line, _)) if Method::parse(line.method) == Method::Unknown => Refusal::Method,
        Ok(_) => Refusal::HeaderTooLarge,
    }
}

/// The refusal of a request line that exceeds its limit. `line` is what lies within the limit.
#[cold]
pub(super) fn long_line(line: &[u8]) -> Refusal {
    let end = memchr(b' ', line).unwrap_or(line.len());
    match method(&line[..end]) {
        Err(fault) => Refusal::Malformed(fault),
        Ok(method) if Method::parse(method) == Method::Unknown => Refusal::Method,
        Ok(_) => Refusal::UriTooLong,
    }
}

/// Checks the grammar of a request line and header lines, then the version. `lines` does not end
/// with CRLF.
fn grammar(lines: &[u8]) -> Result<(RequestLine<'_>, Version), Refusal> {
    let is_bare = |at: usize| lines.get(at + 1) != Some(&b'\n');
    if memchr::memchr_iter(b'\r', lines).any(is_bare) {
        return Err(Refusal::Malformed(NotHttp::BareCr));
    }
    let mut each = split(lines);
    let first = each.next().unwrap_or_default();
    let line = request_line(first).map_err(Refusal::Malformed)?;
    for line in each {
        header_line(line).map_err(Refusal::Malformed)?;
    }
    let version = line.version.ok_or(Refusal::Version)?;
    Ok((line, version))
}

/// The lines of a text in which every LF follows a CR, without their CRLF.
fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, NotHttp> {
    let mut words = line.split(|&byte| byte == b' ');
    let method = method(words.next().unwrap_or_default())?;
    let (Some(target @ [_, ..]), Some(version), None) = (words.next(), words.next(), words.next())
    else {
        return Err(NotHttp::RequestLine);
    };
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(NotHttp::TargetByte);
    }
    let target = str::from_utf8(target).map_err(|_| NotHttp::TargetByte)?;
    let version = match version {
        b"HTTP/1.0" => Some(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Some(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => None,
        _ => return Err(NotHttp::NoVersion),
    };
    Ok(RequestLine { method, target, version })
}

fn method(word: &[u8]) -> Result<&str, NotHttp> {
    match word {
        [] => Err(NotHttp::RequestLine),
        _ => token(word).ok_or(NotHttp::Method),
    }
}

/// Name and value of a header line.
fn header_line(line: &[u8]) -> Result<(&str, &[u8]), NotHttp> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(NotHttp::FoldedLine);
    }
    let colon = memchr(b':', line).ok_or(NotHttp::NoColon)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if matches!(name, [.., b' ' | b'\t']) {
        return Err(NotHttp::SpaceBeforeColon);
    }
    let name = token(name).filter(|name| !name.is_empty()).ok_or(NotHttp::HeaderName)?;
    if !value.iter().all(|&byte| is_field_text(byte)) {
        return Err(NotHttp::HeaderValue);
    }
    Ok((name, value.trim_ascii()))
}

/// `word`, if all its bytes may be in a token.
fn token(word: &[u8]) -> Option<&str> {
    let is_legal = word.iter().all(|&byte| is_token(byte));
    is_legal.then(|| str::from_utf8(word).ok()).flatten()
}
