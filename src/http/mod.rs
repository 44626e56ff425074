//! HTTP/1.1 as bytes: requests in, responses out, strictly by RFC 9112.
//!
//! - [`head`] finds and judges a request's head; `fields` holds the rules for its header lines;
//!   [`request`] is what they find out
//! - [`target`] splits the request target and decodes query parameters
//! - [`chunked`] decodes a chunked body as it arrives
//! - [`etag`] answers `If-None-Match`; [`date`] renders the `date` line
//! - [`response`] writes answers into a connection's out-buffer
//! - `grammar` has the characters and lists that the others share
//!
//! The room is pure: a function of the bytes it is handed. It never reads a socket, a file or a
//! clock, never allocates on the way in (on the way out it only appends to the caller's buffer),
//! and knows nothing of money, routes or JSON.
//!
//! Two rules hold everywhere. What is ambiguous is refused, not guessed at: two readers of one byte
//! stream must never see two different requests in it (request smuggling). And no outcome depends
//! on how the bytes were split on their way here.
//!
//! Units: all limits and lengths are bytes, times are seconds since the Unix epoch. The one error
//! type is [`Refusal`]; after one the stream's position is unknown, so the connection is answered
//! and closed.

pub mod chunked;
pub mod date;
pub mod etag;
mod fields;
mod grammar;
pub mod head;
pub mod request;
pub mod response;
pub mod target;

/// Bytes of a request's head, from its first byte (empty lines before it included) through its
/// empty line. A head must fit beside others in a core's receive buffers; browsers with cookies
/// stay below 4 KiB.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Bytes of a request target. The longest that any route takes is below 200; this leaves room for a
/// gateway's own parameters to be refused by name.
pub const TARGET_BYTES: usize = 2 * 1024;

/// Bytes of a request line with its CRLF: a target, and room for method and version. A first line
/// that has not ended by then is refused without waiting for its end.
pub const REQUEST_LINE_BYTES: usize = TARGET_BYTES + 32;

/// Header lines of a request. Bounds the table that is filled on the stack for each request (32
/// bytes a line).
pub const HEADERS: usize = 64;

/// Bytes of a chunk's size line with its extensions, without the CRLF. Extensions have no use here:
/// without a bound a peer could send them for ever and never a body.
pub const CHUNK_LINE_BYTES: usize = 256;

/// Bytes of all trailer lines of a chunked body with their CRLFs and the closing empty line. They
/// are read past, never kept.
pub const TRAILER_BYTES: usize = 4 * 1024;

const _: () =
    assert!(TARGET_BYTES < REQUEST_LINE_BYTES, "a request line holds more than its target");
const _: () = assert!(REQUEST_LINE_BYTES < HEAD_BYTES, "a head holds more than its request line");
const _: () = assert!(16 < CHUNK_LINE_BYTES, "a chunk's size line holds the 16 digits of a size");

/// Why a request is refused. Always the peer's fault, and always the connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.1 as RFC 9112 has it. The text says what is wrong, for logs and tests; the peer
    /// does not see it.
    Malformed(&'static str),
    /// The request target is longer than [`TARGET_BYTES`], or the request line than
    /// [`REQUEST_LINE_BYTES`].
    UriTooLong,
    /// The head is longer than [`HEAD_BYTES`] or has more than [`HEADERS`] lines, or the trailers
    /// exceed [`TRAILER_BYTES`].
    HeaderTooLarge,
    /// The announced length of the body is beyond counting (2^64 − 1 bytes or more).
    BodyTooLarge,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// `Transfer-Encoding` is something other than `chunked` alone.
    TransferCoding,
    /// A well-formed HTTP version that is neither 1.0 nor 1.1.
    Version,
}
