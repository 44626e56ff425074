//! HTTP/1.1 as bytes: requests in, responses out, strictly by RFC 9112.
//!
//! - [`head`] parses and checks a request's head; `fields` holds the rules for its header lines;
//!   `reread` names the fault of a refused one; [`request`] is the result
//! - [`target`] splits the request target and decodes query parameters and path segments
//! - [`chunked`] decodes a chunked body as it arrives
//! - [`etag`] evaluates `If-Match` and `If-None-Match`; [`date`] renders the `date` header
//! - [`response`] writes responses into a connection's out-buffer
//! - `grammar` holds the character classes and lists that the other files share
//!
//! The module is pure: a function of the bytes it is given. It never reads a socket, a file or a
//! clock. Parsing never allocates; writing only appends to the caller's buffer. It knows nothing of
//! money, routes or JSON.
//!
//! Two rules hold everywhere. An ambiguous request is refused, never guessed at: two readers of one
//! byte stream must never see two different requests in it (request smuggling). And no outcome
//! depends on how the bytes were split in transit.
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
mod reread;
pub mod response;
pub mod target;

/// Limit of a request's head in bytes, from its first byte (preceding empty lines included) through
/// its closing empty line. A head must fit beside others in a core's receive buffers; browsers with
/// cookies stay below 4 KiB.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Limit of a request target in bytes. The longest target of any route is below 200; the margin
/// lets parameters that a gateway adds be refused by name.
pub const TARGET_BYTES: usize = 2 * 1024;

/// Limit of a request line in bytes, CRLF included: a target, plus 32 bytes for method and version.
/// A first line that has not ended within this limit is refused without waiting for its end.
pub const REQUEST_LINE_BYTES: usize = TARGET_BYTES + 32;

/// Limit of header lines per request. Bounds the table that is filled on the stack for each request
/// (32 bytes per line).
pub const HEADERS: usize = 64;

/// Limit of a chunk's size line in bytes, extensions included, CRLF not. Extensions are checked and
/// ignored: without a limit a peer could send them for ever and never a body.
pub const CHUNK_LINE_BYTES: usize = 256;

/// Limit of all trailer lines of a chunked body in bytes, their CRLFs and the closing empty line
/// included. Trailers are skipped, never stored.
pub const TRAILER_BYTES: usize = 4 * 1024;

const _: () =
    assert!(TARGET_BYTES < REQUEST_LINE_BYTES, "a request line holds more than its target");
const _: () = assert!(REQUEST_LINE_BYTES < HEAD_BYTES, "a head holds more than its request line");

/// How a request is not HTTP/1.1 as RFC 9112 defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHttp {
    /// More than two empty lines before the request line.
    EmptyLines,
    /// A line that ends with LF alone.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// A request line that is not three words with single spaces between.
    RequestLine,
    /// A method that is not a token.
    Method,
    /// A byte of the target that is not visible ASCII.
    TargetByte,
    /// A `#` in the target.
    TargetFragment,
    /// A target in neither origin nor absolute form.
    TargetForm,
    /// A third word of the request line that is not a version.
    NoVersion,
    /// A head that httparse and this module understand differently.
    Ambiguous,
    /// A header line that begins with white space (obs-fold).
    FoldedLine,
    /// A header line without a colon.
    NoColon,
    /// White space between a header name and its colon.
    SpaceBeforeColon,
    /// A header name that is not a token.
    HeaderName,
    /// A control character in a header value.
    HeaderValue,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not a host and port.
    HostValue,
    /// More than one `Content-Type`.
    ContentTypeRepeated,
    /// A `Content-Length` that is not a number.
    LengthValue,
    /// Values of `Content-Length` that differ.
    LengthsDiffer,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// `Transfer-Encoding` under HTTP/1.0.
    CodingInHttp10,
    /// An empty element of `Transfer-Encoding`.
    CodingEmpty,
    /// `chunked` more than once.
    ChunkedTwice,
    /// A last transfer coding other than `chunked`.
    ChunkedNotLast,
    /// A chunk size that is not a hex number.
    ChunkSize,
    /// White space after a chunk size, and no extension after it.
    ChunkSpace,
    /// A chunk extension that does not follow its grammar.
    ChunkExtension,
    /// A size line longer than [`CHUNK_LINE_BYTES`].
    ChunkLineTooLong,
    /// Chunk data without CRLF after it.
    ChunkEnd,
    /// A trailer name that is not a token and a colon.
    TrailerName,
    /// A control character in a trailer value.
    TrailerValue,
}

/// Reason to refuse a request. Always the peer's fault; the connection is closed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.1 as RFC 9112 defines it.
    Malformed(NotHttp),
    /// An unknown method, and whether there is a body, or where it ends, cannot be told.
    Method,
    /// The request target is longer than [`TARGET_BYTES`], or the request line than
    /// [`REQUEST_LINE_BYTES`].
    UriTooLong,
    /// The head is longer than [`HEAD_BYTES`] or has more than [`HEADERS`] lines, or the trailers
    /// exceed [`TRAILER_BYTES`].
    HeaderTooLarge,
    /// A chunked body is longer than its limit.
    BodyTooLarge,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// `Transfer-Encoding` names a coding before `chunked`.
    TransferCoding,
    /// A well-formed HTTP version other than 1.0 to 1.9.
    Version,
}
