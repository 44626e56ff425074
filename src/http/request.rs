//! Head of a request, parsed: the result types of [`head`](super::head), without any rules.

use super::target::Target;

/// The head of a request. Borrows from the buffer it was parsed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'b> {
    /// The request method.
    pub method: Method,
    /// The request target.
    pub target: Target<'b>,
    /// The HTTP version of the peer.
    pub version: Version,
    /// Framing of the body.
    pub framing: Framing,
    /// Whether the peer wants the connection to stay open for another request.
    pub keep_alive: bool,
    /// Whether a body follows and the peer waits for `100 Continue` before it sends it.
    pub expect_continue: bool,
    /// The value of `If-None-Match`. If there are several such lines, everything from the start of
    /// the first value through the end of the last (see [`etag`](super::etag)).
    pub if_none_match: Option<&'b [u8]>,
    /// The value of `Content-Type`.
    pub content_type: Option<&'b [u8]>,
    /// The value of `Content-Encoding`, if it names a coding other than `identity`.
    pub content_encoding: Option<&'b [u8]>,
}

/// The request method. Names are case-sensitive: `get` is [`Method::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// Any other token.
    Other,
}

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a request's body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, and none was announced.
    None,
    /// A body of this many bytes, from `Content-Length`; may be 0.
    Length(u64),
    /// A chunked body: see [`chunked`](super::chunked).
    Chunked,
}
