//! Expected answers by the contract, independent of the program: whole answers, and every problem
//! with its status and text.

use std::fmt::Display;

/// Header line of the last answer on a connection.
pub const CLOSE: &str = "connection: close\r\n";
/// Header line of every 200, 304, 404 and 412 of a user's read.
pub const NO_CACHE: &str = "cache-control: no-cache\r\n";
/// `allow` of paths that are read.
pub const READS: &str = "allow: GET, HEAD, OPTIONS\r\n";
/// `allow` of paths that take a body.
pub const POSTS: &str = "allow: POST, OPTIONS\r\n";
/// `accept` of a feed.
pub const NDJSON: &str = "accept: application/x-ndjson, application/ndjson, application/jsonl\r\n";
/// Header line of a 503.
pub const RETRY: &str = "retry-after: 1\r\n";
/// Both lines: a 503 that ends its connection.
pub const RETRY_ELSEWHERE: &str = "retry-after: 1\r\nconnection: close\r\n";

/// Code, status, title and detail.
pub type Row = (&'static str, u16, &'static str, &'static str);

/// Every code with one detail, in the contract's order.
pub const PROBLEMS: [Row; 35] = [
    (
        "invalid_parameter",
        400,
        "Bad Request",
        "A parameter is unknown, repeated, empty or has a value that is not allowed.",
    ),
    (
        "invalid_window",
        400,
        "Bad Request",
        "The window must be lifetime, or a multiple of 15m from 15m to 400d, such as 24h or 7d.",
    ),
    ("not_found", 404, "Not Found", "There is nothing at this path."),
    ("user_not_found", 404, "Not Found", "No entry of this user has been accepted."),
    (
        "method_not_allowed",
        405,
        "Method Not Allowed",
        "This path does not support that method: see the allow header.",
    ),
    ("request_timeout", 408, "Request Timeout", "The rest of the request did not arrive in time."),
    (
        "length_required",
        411,
        "Length Required",
        "A POST or PUT needs a content-length or a chunked body.",
    ),
    (
        "version_changed",
        412,
        "Precondition Failed",
        "None of the tags in if-match is the current tag.",
    ),
    ("content_too_large", 413, "Content Too Large", "The body is larger than this path accepts."),
    (
        "too_many_items",
        413,
        "Content Too Large",
        "The body has more items than one request may have.",
    ),
    ("uri_too_long", 414, "URI Too Long", "The request target is longer than this server accepts."),
    (
        "unsupported_media_type",
        415,
        "Unsupported Media Type",
        "Entries are accepted as application/x-ndjson, application/ndjson or application/jsonl and \
         a batch as application/json, all without a content coding.",
    ),
    (
        "expectation_failed",
        417,
        "Expectation Failed",
        "The only supported expectation is 100-continue.",
    ),
    (
        "header_fields_too_large",
        431,
        "Request Header Fields Too Large",
        "The header or trailer section is larger, or has more lines, than this server accepts.",
    ),
    (
        "method_not_implemented",
        501,
        "Not Implemented",
        "This server does not implement the request's method.",
    ),
    (
        "unsupported_transfer_coding",
        501,
        "Not Implemented",
        "The only supported transfer coding is chunked.",
    ),
    (
        "overloaded",
        503,
        "Service Unavailable",
        "This server is overloaded: send the request again later.",
    ),
    (
        "recovering",
        503,
        "Service Unavailable",
        "This server is still loading its data: send the request again soon.",
    ),
    (
        "draining",
        503,
        "Service Unavailable",
        "This server is shutting down: send the request elsewhere.",
    ),
    (
        "http_version_not_supported",
        505,
        "HTTP Version Not Supported",
        "This server speaks HTTP/1.1 and HTTP/1.0.",
    ),
    ("unknown_field", 400, "Bad Request", "This member is unknown."),
    ("missing_field", 400, "Bad Request", "A required member is missing."),
    (
        "invalid_field",
        400,
        "Bad Request",
        "The member's value has the wrong type, format or range, or the member is not allowed \
         here.",
    ),
    ("line_too_long", 400, "Bad Request", "The line is longer than 65,536 bytes."),
    (
        "amount_negative",
        400,
        "Bad Request",
        "The amount is negative: send a positive one with direction debit or credit.",
    ),
    (
        "entry_in_future",
        400,
        "Bad Request",
        "The booking time is more than one hour ahead of this server's clock.",
    ),
    (
        "entry_too_old",
        400,
        "Bad Request",
        "The booking time lies before this user's dedup window: send it with late=accept if it was \
         never accepted.",
    ),
    (
        "entry_id_conflict",
        400,
        "Bad Request",
        "This user already has an entry with that id, with other fields or with a hold that is \
         still open.",
    ),
    (
        "pending_not_found",
        400,
        "Bad Request",
        "This user has no open hold with that id, and the line gives no currency, kind and \
         direction of its own.",
    ),
    (
        "pending_mismatch",
        400,
        "Bad Request",
        "The open hold with that id has another currency or another direction.",
    ),
    ("too_many_currencies", 400, "Bad Request", "This user already has 16 currencies."),
    (
        "too_many_groups",
        400,
        "Bad Request",
        "This user already has 256 groups of currency, kind and direction.",
    ),
    ("too_many_holds", 400, "Bad Request", "This user already has 65,536 open holds."),
    (
        "balance_overflow",
        400,
        "Bad Request",
        "A balance, a pending sum or a lifetime sum would overflow a 64-bit integer.",
    ),
    (
        "insufficient_storage",
        507,
        "Insufficient Storage",
        "This server is out of memory or disk space for new entries: send the request again later.",
    ),
];

/// The reasons of `malformed_request`: names of this file's own, and their details.
pub const MALFORMED_REQUEST: [(&str, &str); 32] = [
    ("more empty lines", "More than two empty lines precede the request line."),
    ("bare LF", "A line ends with LF alone: lines end with CR LF."),
    ("bare CR", "A CR is not followed by LF."),
    (
        "request line",
        "The request line is not a method, a target and a version with single spaces between.",
    ),
    ("method", "The method is not a token."),
    ("target byte", "The target has a byte that is not visible ASCII."),
    ("fragment", "The target has a fragment."),
    ("target form", "The target is neither a path that begins with / nor an http or https URI."),
    ("no version", "The request line does not end with an HTTP version, such as HTTP/1.1."),
    ("folded line", "A header line begins with white space: folded lines are not supported."),
    ("no colon", "A header line has no colon."),
    ("space before colon", "White space precedes the colon of a header line."),
    ("header name", "A header name is empty or is not a token."),
    ("header value", "A header value has a control character."),
    ("no host", "A request of HTTP/1.1 or later has no host header."),
    ("host repeated", "The host header is repeated."),
    ("host value", "The host header is not a host with an optional port."),
    ("content-type repeated", "The content-type header is repeated."),
    ("length value", "The content-length header is not a number."),
    ("lengths differ", "The content-length header has two values that differ."),
    ("length and coding", "Both content-length and transfer-encoding are given."),
    ("coding in HTTP/1.0", "Transfer-encoding is given in an HTTP/1.0 request."),
    ("coding empty", "The transfer-encoding header has an empty element."),
    ("chunked twice", "Transfer-encoding names chunked twice."),
    ("chunked not last", "Transfer-encoding does not end in chunked: the body's end is unknown."),
    ("chunk size", "A chunk size is not a hexadecimal number."),
    ("chunk space", "White space in a chunk's size line is not followed by an extension."),
    ("chunk extension", "A chunk extension is not a name with an optional value."),
    ("chunk line too long", "A chunk's size line is longer than 256 bytes."),
    ("chunk end", "A chunk's data is not followed by CR LF."),
    ("trailer name", "A trailer name is not a token followed by a colon."),
    ("trailer value", "A trailer value has a control character."),
];

/// The reasons of `invalid_json`: names of this file's own, and their details.
pub const INVALID_JSON: [(&str, &str); 12] = [
    ("byte order mark", "The text begins with a byte order mark: send UTF-8 without one."),
    ("not UTF-8", "The text is not valid UTF-8."),
    ("ends early", "The text ends before its JSON object is complete."),
    ("no object", "The text is not a JSON object."),
    ("syntax", "A name, a colon, a value, a comma or a closing bracket is missing or misplaced."),
    ("number", "A number breaks the grammar of JSON, as 01, 1. and 0x1 do."),
    ("control character", "A string has a control character that is not escaped."),
    ("escape", "A string has a backslash that begins no escape of JSON."),
    ("lone surrogate", "A string has one half of a surrogate pair without the other."),
    ("too deep", "Objects and arrays are nested deeper than 128."),
    ("trailing text", "More text follows the JSON object."),
    ("repeated", "The member is repeated."),
];

/// The row of a code. One with reasons is followed by a colon and the reason:
/// `invalid_json: ends early`.
pub fn row(code: &str) -> Row {
    for (code_name, reasons) in
        [("invalid_json", &INVALID_JSON[..]), ("malformed_request", &MALFORMED_REQUEST)]
    {
        if let Some(reason) = code.strip_prefix(code_name).and_then(|rest| rest.strip_prefix(": "))
        {
            let known = reasons.iter().find(|(name, _)| *name == reason);
            let (_, detail) = known.unwrap_or_else(|| panic!("no reason: {reason}"));
            return (code_name, 400, "Bad Request", detail);
        }
    }
    PROBLEMS.into_iter().find(|row| row.0 == code).unwrap_or_else(|| panic!("no code: {code}"))
}

/// A whole answer with `D` as its date. `lines` are the header lines between date and length, each
/// with its CRLF.
pub fn answer(status: &str, content_type: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ndate: D\r\n\
         {lines}content-length: {length}\r\n\r\n{body}"
    )
}

/// A 200 with JSON.
pub fn json(lines: &str, body: &str) -> String {
    answer("200 OK", "application/json", lines, body)
}

/// A 200 with plain text.
pub fn text(body: &str) -> String {
    answer("200 OK", "text/plain; charset=utf-8", "", body)
}

/// A 200 with JSON to a read of one user.
pub fn read(lines: &str, body: &str) -> String {
    json(&format!("{NO_CACHE}{lines}"), body)
}

/// A 204, with its `allow` line.
pub fn no_content(allow: &str) -> String {
    format!("HTTP/1.1 204 No Content\r\ndate: D\r\n{allow}\r\n")
}

/// A whole answer with a problem.
pub fn problem(code: &str, field: &str, lines: &str) -> String {
    let (_, status, title, _) = row(code);
    let is_of_a_user = matches!(code, "user_not_found" | "version_changed");
    answer(
        &format!("{status} {title}"),
        "application/problem+json",
        &format!("{}{lines}", if is_of_a_user { NO_CACHE } else { "" }),
        &problem_body(code, field),
    )
}

/// The body of a problem.
pub fn problem_body(code: &str, field: &str) -> String {
    let (code, status, title, detail) = row(code);
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\
         \"detail\":\"{detail}\",\"field\":\"{field}\"}}"
    )
}

/// A whole answer to a balance read, for a user with only `COIN` and no holds.
pub fn balance(user: impl Display, version: u64, as_of_ms: u64, posted: i64) -> String {
    read(&format!("etag: \"v{version}\"\r\n"), &balance_body(user, version, as_of_ms, posted))
}

/// The body of [`balance`].
pub fn balance_body(user: impl Display, version: u64, as_of_ms: u64, posted: i64) -> String {
    format!(
        "{{\"user_id\":\"{user}\",\"version\":{version},\"as_of_ms\":{as_of_ms},\
         \"balances\":[{{\"currency\":\"COIN\",\"posted\":{posted},\"pending_debits\":0,\
         \"pending_credits\":0,\"available\":{posted}}}]}}"
    )
}

/// The body of the answer to a feed; `results` are its duplicates and rejected lines.
pub fn fed(accepted: usize, duplicates: usize, results: &[String]) -> String {
    let rejected = results.len() - duplicates;
    format!(
        "{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"rejected\":{rejected},\
         \"results\":[{}]}}",
        results.join(",")
    )
}

/// The whole answer to a feed; `results` are its duplicates and rejected lines.
pub fn feed_answer(accepted: usize, duplicates: usize, results: &[String]) -> String {
    let lacks_space = results.iter().any(|result| result.contains("\"insufficient_storage\""));
    let status = match results.len() - duplicates {
        _ if lacks_space => "507 Insufficient Storage",
        0 => "200 OK",
        _ => "422 Unprocessable Content",
    };
    answer(status, "application/json", "", &fed(accepted, duplicates, results))
}

/// The result of a duplicate line.
pub fn duplicate(index: usize, entry: &str) -> String {
    format!(r#"{{"index":{index},"entry_id":"{entry}","status":"duplicate"}}"#)
}

/// The result of a rejected line.
pub fn rejected(index: usize, entry: &str, code: &str, field: &str) -> String {
    let (code, _, _, detail) = row(code);
    format!(
        "{{\"index\":{index},\"entry_id\":\"{entry}\",\"status\":\"rejected\",\"code\":\"{code}\",\
         \"field\":\"{field}\",\"detail\":\"{detail}\"}}"
    )
}
