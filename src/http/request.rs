//! What a request's head says, once it has been read: no rules, only their outcome.

use super::target::Target;

/// What the head of a request says. Borrows from the buffer it was parsed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'b> {
    /// What is to be done.
    pub method: Method,
    /// To what it is to be done.
    pub target: Target<'b>,
    /// The version that the peer speaks.
    pub version: Version,
    /// How the end of the body is found.
    pub framing: Framing,
    /// The peer would send another request on this connection.
    pub keep_alive: bool,
    /// A body is to come, and the peer waits for `100 Continue` before it sends it.
    pub expect_continue: bool,
    /// The value of `If-None-Match`; if there are several lines of it, all that lies between the
    /// start of the first value and the end of the last (see [`etag`](super::etag)).
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

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and none was announced.
    None,
    /// So many bytes, as `Content-Length` says; may be 0.
    Length(u64),
    /// In chunks: see [`chunked`](super::chunked).
    Chunked,
}
