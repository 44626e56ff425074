//! Expected answers by the contract, independent of the program: whole answers, and every problem
//! with its status and text.

/// Header line of the last answer on a connection.
pub const CLOSE: &str = "connection: close\r\n";
/// Header line of every 200, 304, 404 and 412 of a user's read.
pub const NO_CACHE: &str = "cache-control: no-cache\r\n";
/// `allow` of paths that are read.
pub const READS: &str = "allow: GET, HEAD, OPTIONS\r\n";
/// `allow` of paths that take a body.
pub const POSTS: &str = "allow: POST, OPTIONS\r\n";
/// Header line of a 503.
pub const RETRY: &str = "retry-after: 1\r\n";
/// Both lines: a 503 that ends its connection.
pub const RETRY_ELSEWHERE: &str = "retry-after: 1\r\nconnection: close\r\n";

/// Code, status, title and detail.
pub type Row = (&'static str, u16, &'static str, &'static str);

/// Every code, in the contract's order.
pub const PROBLEMS: [Row; 38] = [
    ("malformed_request", 400, "Bad Request", "The request is not well-formed HTTP/1.1."),
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
        "Entries are accepted as application/x-ndjson and a batch as application/json, both \
         without a content coding.",
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
    (
        "invalid_json",
        400,
        "Bad Request",
        "The text is not one valid JSON object (RFC 8259), or it repeats a member.",
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
        "The booking time is more than 24 hours before this user's latest entry.",
    ),
    (
        "entry_id_conflict",
        400,
        "Bad Request",
        "This user already has a different entry with that id.",
    ),
    ("pending_not_found", 400, "Bad Request", "This user has no open hold with that id."),
    ("pending_amount_exceeded", 400, "Bad Request", "The settlement is larger than its hold."),
    ("too_many_currencies", 400, "Bad Request", "This user already has 16 currencies."),
    (
        "too_many_groups",
        400,
        "Bad Request",
        "This user already has 256 groups of currency, kind and direction.",
    ),
    ("too_many_holds", 400, "Bad Request", "This user already has 1,024 open holds."),
    (
        "too_many_recent",
        400,
        "Bad Request",
        "This user already has 1,048,576 entries in the dedup window of 24 hours.",
    ),
    (
        "balance_overflow",
        400,
        "Bad Request",
        "A balance or a lifetime sum would overflow a 64-bit integer.",
    ),
    (
        "insufficient_storage",
        507,
        "Insufficient Storage",
        "This server is out of memory or disk space for new entries: send the request again later.",
    ),
];

/// The row of a code.
pub fn row(code: &str) -> Row {
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
    let (_, status, title, detail) = row(code);
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\
         \"detail\":\"{detail}\",\"field\":\"{field}\"}}"
    )
}

/// A whole answer to a balance read, for a user with only `COIN` and no holds.
pub fn balance(user: u64, version: u64, as_of_ms: u64, posted: i64) -> String {
    read(&format!("etag: \"v{version}\"\r\n"), &balance_body(user, version, as_of_ms, posted))
}

/// The body of [`balance`].
pub fn balance_body(user: u64, version: u64, as_of_ms: u64, posted: i64) -> String {
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

/// The result of a duplicate line.
pub fn duplicate(index: usize, entry: &str) -> String {
    format!(r#"{{"index":{index},"entry_id":"{entry}","status":"duplicate"}}"#)
}

/// The result of a rejected line.
pub fn rejected(index: usize, entry: &str, code: &str, field: &str) -> String {
    let (_, _, _, detail) = row(code);
    format!(
        "{{\"index\":{index},\"entry_id\":\"{entry}\",\"status\":\"rejected\",\"code\":\"{code}\",\
         \"field\":\"{field}\",\"detail\":\"{detail}\"}}"
    )
}
