package api

// Code names a problem on the wire. Problems with JSON share a name there, and
// have one detail per reason.
type Code uint8

// The codes, in the order of the table.
const (
	None Code = iota

	MalformedRequest
	InvalidParameter
	InvalidWindow
	JSONBOM
	JSONNotUTF8
	JSONEndsEarly
	JSONNotObject
	JSONSyntax
	JSONNumber
	JSONControlCharacter
	JSONEscape
	JSONLoneSurrogate
	JSONTooDeep
	JSONTrailingText
	JSONRepeated
	UnknownField
	MissingField
	InvalidField
	NotFound
	UserNotFound
	MethodNotAllowed
	RequestTimeout
	LengthRequired
	VersionChanged
	ContentTooLarge
	TooManyItems
	URITooLong
	UnsupportedMediaType
	ExpectationFailed
	HeaderFieldsTooLarge
	MethodNotImplemented
	UnsupportedTransferCoding
	Overloaded
	Recovering
	Draining
	HTTPVersionNotSupported
	InsufficientStorage

	// Verdicts on single entries follow; they have no status of their own.

	LineTooLong
	AmountNegative
	EntryInFuture
	EntryTooOld
	EntryIDConflict
	PendingNotFound
	PendingMismatch
	TooManyCurrencies
	TooManyGroups
	TooManyHolds
	BalanceOverflow

	codeCount
)

// meaning is a row of the table: the constants of a code.
type meaning struct {
	name   string
	status int
	title  string
	detail string
}

var meanings = [codeCount]meaning{
	MalformedRequest: {"malformed_request", 400, "Bad Request",
		"The request is not well-formed HTTP/1.1."},
	InvalidParameter: {"invalid_parameter", 400, "Bad Request",
		"A parameter is unknown, repeated, empty or has a value that is not allowed."},
	InvalidWindow: {"invalid_window", 400, "Bad Request",
		"The window must be lifetime, or a multiple of 15m from 15m to 400d, such as 24h or 7d."},
	JSONBOM: {"invalid_json", 400, "Bad Request",
		"The text begins with a byte order mark: send UTF-8 without one."},
	JSONNotUTF8: {"invalid_json", 400, "Bad Request",
		"The text is not valid UTF-8."},
	JSONEndsEarly: {"invalid_json", 400, "Bad Request",
		"The text ends before its JSON object is complete."},
	JSONNotObject: {"invalid_json", 400, "Bad Request",
		"The text is not a JSON object."},
	JSONSyntax: {"invalid_json", 400, "Bad Request",
		"A name, a colon, a value, a comma or a closing bracket is missing or misplaced."},
	JSONNumber: {"invalid_json", 400, "Bad Request",
		"A number breaks the grammar of JSON, as 01, 1. and 0x1 do."},
	JSONControlCharacter: {"invalid_json", 400, "Bad Request",
		"A string has a control character that is not escaped."},
	JSONEscape: {"invalid_json", 400, "Bad Request",
		"A string has a backslash that begins no escape of JSON."},
	JSONLoneSurrogate: {"invalid_json", 400, "Bad Request",
		"A string has one half of a surrogate pair without the other."},
	JSONTooDeep: {"invalid_json", 400, "Bad Request",
		"Objects and arrays are nested deeper than 128."},
	JSONTrailingText: {"invalid_json", 400, "Bad Request",
		"More text follows the JSON object."},
	JSONRepeated: {"invalid_json", 400, "Bad Request",
		"The member is repeated."},
	UnknownField: {"unknown_field", 400, "Bad Request",
		"This member is unknown."},
	MissingField: {"missing_field", 400, "Bad Request",
		"A required member is missing."},
	InvalidField: {"invalid_field", 400, "Bad Request",
		"The member's value has the wrong type, format or range, or the member is not allowed here."},
	NotFound: {"not_found", 404, "Not Found",
		"There is nothing at this path."},
	UserNotFound: {"user_not_found", 404, "Not Found",
		"No entry of this user has been accepted."},
	MethodNotAllowed: {"method_not_allowed", 405, "Method Not Allowed",
		"This path does not support that method: see the allow header."},
	RequestTimeout: {"request_timeout", 408, "Request Timeout",
		"The rest of the request did not arrive in time."},
	LengthRequired: {"length_required", 411, "Length Required",
		"A POST or PUT needs a content-length or a chunked body."},
	VersionChanged: {"version_changed", 412, "Precondition Failed",
		"None of the tags in if-match is the current tag."},
	ContentTooLarge: {"content_too_large", 413, "Content Too Large",
		"The body is larger than this path accepts."},
	TooManyItems: {"too_many_items", 413, "Content Too Large",
		"The body has more items than one request may have."},
	URITooLong: {"uri_too_long", 414, "URI Too Long",
		"The request target is longer than this server accepts."},
	UnsupportedMediaType: {"unsupported_media_type", 415, "Unsupported Media Type",
		"Entries are accepted as application/x-ndjson, application/ndjson or application/jsonl " +
			"and a batch as application/json, all without a content coding."},
	ExpectationFailed: {"expectation_failed", 417, "Expectation Failed",
		"The only supported expectation is 100-continue."},
	HeaderFieldsTooLarge: {"header_fields_too_large", 431, "Request Header Fields Too Large",
		"The header or trailer section is larger, or has more lines, than this server accepts."},
	MethodNotImplemented: {"method_not_implemented", 501, "Not Implemented",
		"This server does not implement the request's method."},
	UnsupportedTransferCoding: {"unsupported_transfer_coding", 501, "Not Implemented",
		"The only supported transfer coding is chunked."},
	Overloaded: {"overloaded", 503, "Service Unavailable",
		"This server is overloaded: send the request again later."},
	Recovering: {"recovering", 503, "Service Unavailable",
		"This server is still loading its data: send the request again soon."},
	Draining: {"draining", 503, "Service Unavailable",
		"This server is shutting down: send the request elsewhere."},
	HTTPVersionNotSupported: {"http_version_not_supported", 505, "HTTP Version Not Supported",
		"This server speaks HTTP/1.1 and HTTP/1.0."},
	InsufficientStorage: {"insufficient_storage", 507, "Insufficient Storage",
		"This server is out of memory or disk space for new entries: send the request again later."},
	LineTooLong: {name: "line_too_long", detail: "The line is longer than 65,536 bytes."},
	AmountNegative: {name: "amount_negative",
		detail: "The amount is negative: send a positive one with direction debit or credit."},
	EntryInFuture: {name: "entry_in_future",
		detail: "The booking time is more than one hour ahead of this server's clock."},
	EntryTooOld: {name: "entry_too_old",
		detail: "The booking time lies before this user's dedup window: " +
			"send it with late=accept if it was never accepted."},
	EntryIDConflict: {name: "entry_id_conflict",
		detail: "This user already has an entry with that id, " +
			"with other fields or with a hold that is still open."},
	PendingNotFound: {name: "pending_not_found",
		detail: "This user has no open hold with that id, " +
			"and the line gives no currency, kind and direction of its own."},
	PendingMismatch: {name: "pending_mismatch",
		detail: "The open hold with that id has another currency or another direction."},
	TooManyCurrencies: {name: "too_many_currencies",
		detail: "This user already has 16 currencies."},
	TooManyGroups: {name: "too_many_groups",
		detail: "This user already has 256 groups of currency, kind and direction."},
	TooManyHolds: {name: "too_many_holds",
		detail: "This user already has 65,536 open holds."},
	BalanceOverflow: {name: "balance_overflow",
		detail: "A balance, a pending sum or a lifetime sum would overflow a 64-bit integer."},
}

// fault is a code and the field that it names.
type fault struct {
	code  Code
	field string
}

// maxEcho is the longest client-supplied name that an answer repeats, in bytes.
const maxEcho = 64

// echo returns a client-supplied name if it needs no escaping, else "".
func echo(name []byte) string {
	if len(name) == 0 || len(name) > maxEcho {
		return ""
	}
	for _, c := range name {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return ""
		}
	}
	return string(name)
}
