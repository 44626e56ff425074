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
    /// The lines `If-Match` and `If-None-Match`: everything from the start of the first through the
    /// end of the last (see [`etag`](super::etag)).
    pub conditions: Option<&'b [u8]>,
    /// The value of `Content-Type`.
    pub content_type: Option<&'b [u8]>,
    /// The value of `Content-Encoding`, if it names a coding other than `identity`.
    pub content_encoding: Option<&'b [u8]>,
}

/// The request method. Names are case-sensitive: `get` is [`Method::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `TRACE`
    Trace,
    /// Any other token; `CONNECT` too, which only proxies take.
    Unknown,
}

impl Method {
    /// The method that a token names.
    pub(super) fn parse(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "TRACE" => Self::Trace,
            _ => Self::Unknown,
        }
    }

    /// Whether the content of a request with this method has a meaning (RFC 9110, 9.3).
    pub const fn takes_content(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch | Self::Unknown)
    }
}

/// The HTTP version whose rules a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, and HTTP/1.2 to HTTP/1.9, which are served alike (RFC 9110, 2.5)
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
