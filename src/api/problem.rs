//! Problem codes: every refusal of the contract, in one table of code, status and constant detail.
//! Bodies are RFC 9457 problems.

use super::json::NotJson;
use crate::decimal::number;
use crate::http::response::Status;
use crate::http::{NotHttp, Refusal};
use crate::ledger::entry::{Mismatch, Rejection};

/// Codes with one detail each; then, after a `;`, codes with a detail per reason, which name the
/// type of the reason.
macro_rules! problems {
    (
        $($name:ident $code:literal $status:ident $detail:literal,)+
        $(; $reason:ident: $many:ident $many_code:literal $many_status:ident {
            $($variant:ident $text:literal,)+
        })+
    ) => {
        /// Reason of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $detail)] $name,)+
            $(#[doc = concat!("`", $many_code, "`, with a detail per reason.")] $many($reason),)+
        }

        impl Code {
            /// Every code with every reason, in the table's order.
            pub const ALL: &[Code] =
                &[$(Code::$name,)+ $($(Code::$many($reason::$variant),)+)+];

            /// The code in a problem body.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)+ $(Self::$many(_) => $many_code,)+ }
            }

            /// Status of a response that carries the code. Rejected entries are reported inside the
            /// answer to a feed, a 422 (a 507 if storage is short).
            pub const fn status(self) -> Status {
                match self {
                    $(Self::$name => Status::$status,)+
                    $(Self::$many(_) => Status::$many_status,)+
                }
            }

            /// One constant sentence, which is true in every case in which it is given.
            pub const fn detail(self) -> &'static str {
                match self {
                    $(Self::$name => $detail,)+
                    $($(Self::$many($reason::$variant) => $text,)+)+
                }
            }
        }
    };
}

problems! {
    InvalidParameter "invalid_parameter" BadRequest
        "A parameter is unknown, repeated, empty or has a value that is not allowed.",
    InvalidWindow "invalid_window" BadRequest
        "The window must be lifetime, or a multiple of 15m from 15m to 400d, such as 24h or 7d.",
    NotFound "not_found" NotFound
        "There is nothing at this path.",
    UserNotFound "user_not_found" NotFound
        "No entry of this user has been accepted.",
    MethodNotAllowed "method_not_allowed" MethodNotAllowed
        "This path does not support that method: see the allow header.",
    MethodNotImplemented "method_not_implemented" NotImplemented
        "This server does not implement the request's method.",
    RequestTimeout "request_timeout" RequestTimeout
        "The rest of the request did not arrive in time.",
    LengthRequired "length_required" LengthRequired
        "A POST or PUT needs a content-length or a chunked body.",
    VersionChanged "version_changed" PreconditionFailed
        "None of the tags in if-match is the current tag.",
    ContentTooLarge "content_too_large" ContentTooLarge
        "The body is larger than this path accepts.",
    TooManyItems "too_many_items" ContentTooLarge
        "The body has more items than one request may have.",
    UriTooLong "uri_too_long" UriTooLong
        "The request target is longer than this server accepts.",
    UnsupportedMediaType "unsupported_media_type" UnsupportedMediaType
        "Entries are accepted as application/x-ndjson, application/ndjson or application/jsonl and \
         a batch as application/json, all without a content coding.",
    ExpectationFailed "expectation_failed" ExpectationFailed
        "The only supported expectation is 100-continue.",
    HeaderFieldsTooLarge "header_fields_too_large" HeaderFieldsTooLarge
        "The header or trailer section is larger, or has more lines, than this server accepts.",
    UnsupportedTransferCoding "unsupported_transfer_coding" NotImplemented
        "The only supported transfer coding is chunked.",
    Overloaded "overloaded" ServiceUnavailable
        "This server is overloaded: send the request again later.",
    Recovering "recovering" ServiceUnavailable
        "This server is still loading its data: send the request again soon.",
    Draining "draining" ServiceUnavailable
        "This server is shutting down: send the request elsewhere.",
    HttpVersionNotSupported "http_version_not_supported" VersionNotSupported
        "This server speaks HTTP/1.1 and HTTP/1.0.",
    UnknownField "unknown_field" BadRequest
        "This member is unknown.",
    MissingField "missing_field" BadRequest
        "A required member is missing.",
    InvalidField "invalid_field" BadRequest
        "The member's value has the wrong type, format or range, or the member is not allowed \
         here.",
    LineTooLong "line_too_long" BadRequest
        "The line is longer than 65,536 bytes.",
    AmountNegative "amount_negative" BadRequest
        "The amount is negative: send a positive one with direction debit or credit.",
    EntryInFuture "entry_in_future" BadRequest
        "The booking time is more than one hour ahead of this server's clock.",
    EntryTooOld "entry_too_old" BadRequest
        "The booking time lies before this user's dedup window: send it with late=accept if it was \
         never accepted.",
    EntryIdConflict "entry_id_conflict" BadRequest
        "This user already has an entry with that id, with other fields or with a hold that is \
         still open.",
    PendingNotFound "pending_not_found" BadRequest
        "This user has no open hold with that id, and the line gives no currency, kind and \
         direction of its own.",
    PendingMismatch "pending_mismatch" BadRequest
        "The open hold with that id has another currency or another direction.",
    TooManyCurrencies "too_many_currencies" BadRequest
        "This user already has 16 currencies.",
    TooManyGroups "too_many_groups" BadRequest
        "This user already has 256 groups of currency, kind and direction.",
    TooManyHolds "too_many_holds" BadRequest
        "This user already has 65,536 open holds.",
    BalanceOverflow "balance_overflow" BadRequest
        "A balance, a pending sum or a lifetime sum would overflow a 64-bit integer.",
    InsufficientStorage "insufficient_storage" InsufficientStorage
        "This server is out of memory or disk space for new entries: send the request again later.",
    ; NotHttp: MalformedRequest "malformed_request" BadRequest {
        EmptyLines "More than two empty lines precede the request line.",
        BareLf "A line ends with LF alone: lines end with CR LF.",
        BareCr "A CR is not followed by LF.",
        RequestLine
            "The request line is not a method, a target and a version with single spaces between.",
        Method "The method is not a token.",
        TargetByte "The target has a byte that is not visible ASCII.",
        TargetFragment "The target has a fragment.",
        TargetForm "The target is neither a path that begins with / nor an http or https URI.",
        NoVersion "The request line does not end with an HTTP version, such as HTTP/1.1.",
        Ambiguous "The head can be read in more than one way.",
        FoldedLine "A header line begins with white space: folded lines are not supported.",
        NoColon "A header line has no colon.",
        SpaceBeforeColon "White space precedes the colon of a header line.",
        HeaderName "A header name is empty or is not a token.",
        HeaderValue "A header value has a control character.",
        NoHost "A request of HTTP/1.1 or later has no host header.",
        HostRepeated "The host header is repeated.",
        HostValue "The host header is not a host with an optional port.",
        ContentTypeRepeated "The content-type header is repeated.",
        LengthValue "The content-length header is not a number.",
        LengthsDiffer "The content-length header has two values that differ.",
        LengthAndCoding "Both content-length and transfer-encoding are given.",
        CodingInHttp10 "Transfer-encoding is given in an HTTP/1.0 request.",
        CodingEmpty "The transfer-encoding header has an empty element.",
        ChunkedTwice "Transfer-encoding names chunked twice.",
        ChunkedNotLast "Transfer-encoding does not end in chunked: the body's end is unknown.",
        ChunkSize "A chunk size is not a hexadecimal number.",
        ChunkSpace "White space in a chunk's size line is not followed by an extension.",
        ChunkExtension "A chunk extension is not a name with an optional value.",
        ChunkLineTooLong "A chunk's size line is longer than 256 bytes.",
        ChunkEnd "A chunk's data is not followed by CR LF.",
        TrailerName "A trailer name is not a token followed by a colon.",
        TrailerValue "A trailer value has a control character.",
    }
    ; NotJson: InvalidJson "invalid_json" BadRequest {
        Bom "The text begins with a byte order mark: send UTF-8 without one.",
        NotUtf8 "The text is not valid UTF-8.",
        EndsEarly "The text ends before its JSON object is complete.",
        NotObject "The text is not a JSON object.",
        Syntax "A name, a colon, a value, a comma or a closing bracket is missing or misplaced.",
        Number "A number breaks the grammar of JSON, as 01, 1. and 0x1 do.",
        ControlCharacter "A string has a control character that is not escaped.",
        Escape "A string has a backslash that begins no escape of JSON.",
        LoneSurrogate "A string has one half of a surrogate pair without the other.",
        TooDeep "Objects and arrays are nested deeper than 128.",
        TrailingText "More text follows the JSON object.",
        Repeated "The member is repeated.",
    }
}

impl From<Rejection> for Code {
    fn from(reason: Rejection) -> Self {
        match reason {
            Rejection::InFuture => Self::EntryInFuture,
            Rejection::TooOld => Self::EntryTooOld,
            Rejection::IdConflict => Self::EntryIdConflict,
            Rejection::PendingNotFound => Self::PendingNotFound,
            Rejection::PendingMismatch(_) => Self::PendingMismatch,
            Rejection::TooManyCurrencies => Self::TooManyCurrencies,
            Rejection::TooManyGroups => Self::TooManyGroups,
            Rejection::TooManyHolds => Self::TooManyHolds,
            Rejection::BalanceOverflow => Self::BalanceOverflow,
            Rejection::InsufficientStorage => Self::InsufficientStorage,
        }
    }
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(reason) => Self::MalformedRequest(reason),
            Refusal::UriTooLong => Self::UriTooLong,
            Refusal::HeaderTooLarge => Self::HeaderFieldsTooLarge,
            Refusal::BodyTooLarge => Self::ContentTooLarge,
            Refusal::ExpectationFailed => Self::ExpectationFailed,
            Refusal::TransferCoding => Self::UnsupportedTransferCoding,
            Refusal::Method => Self::MethodNotImplemented,
            Refusal::Version => Self::HttpVersionNotSupported,
        }
    }
}

/// The member that a rejection of the ledger is about; empty if there is none.
pub const fn blamed_field(reason: Rejection) -> &'static str {
    match reason {
        Rejection::BalanceOverflow => "amount",
        Rejection::InFuture | Rejection::TooOld => "at_ms",
        Rejection::IdConflict => "entry_id",
        Rejection::PendingNotFound | Rejection::PendingMismatch(Mismatch::Id) => "pending_id",
        Rejection::TooManyCurrencies | Rejection::PendingMismatch(Mismatch::Currency) => "currency",
        Rejection::TooManyGroups => "kind",
        Rejection::PendingMismatch(Mismatch::Direction) => "direction",
        Rejection::TooManyHolds | Rejection::InsufficientStorage => "",
    }
}

/// Name of a member or parameter, as a refusal reports it.
///
/// A name from outside is echoed only if it is at most 64 bytes of printable ASCII that need no
/// escaping; otherwise the field is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field {
    bytes: [u8; Self::BYTES],
    len: u8,
}

impl Field {
    /// Size of the longest field in bytes: `requests[999].` and a name of 64 bytes.
    pub const BYTES: usize = 14 + Self::NAME_BYTES;
    /// Limit of a name from outside, in bytes.
    const NAME_BYTES: usize = 64;
    /// No field to blame.
    pub const NONE: Self = Self { bytes: [0; Self::BYTES], len: 0 };

    /// A name that the contract defines.
    pub fn known(name: &'static str) -> Self {
        let mut field = Self::NONE;
        field.push(name.as_bytes());
        field
    }

    /// A name from outside, or no field if the name must not be echoed.
    pub fn echo(name: &[u8]) -> Self {
        let printable = |&b: &u8| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\';
        let fit = (1..=Self::NAME_BYTES).contains(&name.len()) && name.iter().all(printable);
        let mut field = Self::NONE;
        if fit {
            field.push(name);
        }
        field
    }

    /// This field inside a batch: `requests[3].name`, or `requests[3]` for the item itself.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        let mut field = Self::known("requests[");
        field.push(itoa::Buffer::new().format(index).as_bytes());
        field.push(b"]");
        if self.len > 0 {
            field.push(b".");
            field.push(self.as_bytes());
        }
        field
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A refusal and the field to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reason.
    pub code: Code,
    /// The field to blame.
    pub field: Field,
}

impl Problem {
    /// A refusal that blames a field of the contract.
    pub fn at(code: Code, field: &'static str) -> Self {
        Self { code, field: Field::known(field) }
    }

    /// The same problem, inside batch item `index`.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        Self { code: self.code, field: self.field.in_item(index) }
    }

    /// Appends the problem body without its closing brace, so that a batch can add a member.
    pub fn write_open(&self, out: &mut Vec<u8>) {
        let status = self.code.status();
        out.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":\"");
        out.extend_from_slice(status.reason().as_bytes());
        out.extend_from_slice(b"\",\"status\":");
        number(out, status.code().into());
        out.extend_from_slice(b",\"code\":\"");
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(b"\",\"detail\":\"");
        out.extend_from_slice(self.code.detail().as_bytes());
        out.extend_from_slice(b"\",\"field\":\"");
        out.extend_from_slice(self.field.as_bytes());
        out.push(b'"');
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self { code, field: Field::NONE }
    }
}
