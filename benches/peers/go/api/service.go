// Package api holds the contract of the service, v1: what requests it takes and,
// to the byte, what it answers. It knows nothing of an HTTP library: a server
// fills a Request, calls Handle and sends the Response.
package api

import (
	"bytes"
	"strings"
	"time"

	"purser/peers/ledger"
)

// MaxBody is how much of a body a server reads before it gives up. It is more
// than any path takes, so that a body that is somewhat too large is still read
// to its end and refused on a connection that lives on.
const MaxBody = 2 * maxFeedBytes

// Service answers requests from a ledger. It is safe for concurrent use.
type Service struct {
	ledger    *ledger.Ledger
	unmarshal Unmarshal
	now       func() int64
}

// New returns a service over a ledger that decodes JSON with the given library.
func New(l *ledger.Ledger, unmarshal Unmarshal) *Service {
	return &Service{l, unmarshal, func() int64 { return time.Now().UnixMilli() }}
}

// Request is what a server received. Handle keeps nothing of it.
type Request struct {
	Method          string
	Path            string // as it was sent, not decoded
	RawQuery        string // as it was sent, without the question mark
	ContentType     string
	ContentEncoding string
	IfMatch         string // the values of all its lines, joined by commas
	HasIfMatch      bool   // it has such a line, though perhaps an empty one
	IfNoneMatch     string // as IfMatch
	LacksLength     bool   // a POST does not say how long its body is
	Body            []byte
	BodyTooLarge    bool // there is more than MaxBody of it
}

// Response is what a server sends, without the headers that are empty. It owns
// Handle's working memory and is meant for reuse: its contents are valid until
// then.
type Response struct {
	Status         int
	ContentType    string
	NoCache        bool // cache-control: no-cache
	ETag           []byte
	Allow          string
	Accept         string
	AcceptEncoding string
	Body           []byte // sent to all but HEAD

	work work
}

// work is the memory of one request.
type work struct {
	reader   reader
	entry    ledger.Entry
	balances ledger.Balances
	past     ledger.PastBalances
	stats    ledger.Stats
	batch    batch
	chains   chains
	parts    []byte
}

// reset empties an answer and keeps its memory.
func (res *Response) reset() {
	res.Status = 0
	res.ContentType = ""
	res.NoCache = false
	res.ETag = res.ETag[:0]
	res.Allow = ""
	res.Accept = ""
	res.AcceptEncoding = ""
	res.Body = res.Body[:0]
}

// The content types of answers.
const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	textType    = "text/plain; charset=utf-8"
)

// The values of Allow.
const (
	allowRead = "GET, HEAD, OPTIONS"
	allowPost = "POST, OPTIONS"
	allowAll  = "GET, HEAD, POST, OPTIONS"
)

// route is one of the paths that the service knows.
type route uint8

const (
	noRoute route = iota
	balanceRoute
	statsRoute
	batchRoute
	feedRoute
	healthRoute
	readyRoute
)

// routeOf finds a path's route, and the user's id where the path has one.
func routeOf(path string) (r route, user string) {
	path = decoded(path)
	switch path {
	case "/v1/batch":
		return batchRoute, ""
	case "/v1/entries":
		return feedRoute, ""
	case "/healthz":
		return healthRoute, ""
	case "/readyz":
		return readyRoute, ""
	}
	rest, ok := strings.CutPrefix(path, "/v1/users/")
	if !ok {
		return noRoute, ""
	}
	user, read, _ := strings.Cut(rest, "/")
	switch read {
	case "balance":
		return balanceRoute, user
	case "stats":
		return statsRoute, user
	}
	return noRoute, ""
}

// decoded returns a path with the escapes of its segments undone. A segment with
// a bad escape, or with an escaped slash, stays as it is: no known path and no id
// has a percent sign.
func decoded(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if plain, ok := unescape(segment); ok && strings.IndexByte(plain, '/') < 0 {
			segments[i] = plain
		}
	}
	return strings.Join(segments, "/")
}

// isKnown reports whether any path could take a method.
func isKnown(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE":
		return true
	}
	return false
}

// allowOf returns the methods that a route takes.
func allowOf(rt route) string {
	if rt == batchRoute || rt == feedRoute {
		return allowPost
	}
	return allowRead
}

// Handle answers one request. The first failure wins: whether the method is known
// at all, path, method, parameters, content type, length, size, and then what is
// in the body.
func (s *Service) Handle(req *Request, res *Response) {
	res.reset()
	if !isKnown(req.Method) {
		res.refuse(fault{code: MethodNotImplemented})
		return
	}
	if req.Method == "OPTIONS" && req.Path == "*" {
		res.options(allowAll, req)
		return
	}
	rt, user := routeOf(req.Path)
	allow := allowOf(rt)
	switch {
	case rt == noRoute:
		res.refuse(fault{code: NotFound})
	case req.Method == "OPTIONS":
		res.options(allow, req)
	case allow == allowPost && req.Method == "POST":
		s.post(rt, req, res)
	case allow == allowRead && (req.Method == "GET" || req.Method == "HEAD"):
		s.get(rt, user, req, res)
	default:
		res.Allow = allow
		res.refuse(fault{code: MethodNotAllowed})
	}
}

// options answers OPTIONS.
func (res *Response) options(allow string, req *Request) {
	if req.hasContent() {
		res.refuse(fault{code: ContentTooLarge})
		return
	}
	res.Status = 204
	res.Allow = allow
}

// hasContent reports whether a request has a body that is not empty.
func (req *Request) hasContent() bool {
	return len(req.Body) > 0 || req.BodyTooLarge
}

// get answers GET and HEAD.
func (s *Service) get(rt route, user string, req *Request, res *Response) {
	var id ledger.UserID
	known := noParams
	if rt == balanceRoute || rt == statsRoute {
		var ok bool
		if id, ok = parseUser(user); !ok {
			res.refuse(fault{InvalidParameter, "user_id"})
			return
		}
		known = balanceParams
		if rt == statsRoute {
			known = statsParams
		}
	}
	var q question
	if f := readQuery(req.RawQuery, known, &q); f.code != None {
		res.refuse(f)
		return
	}
	if req.hasContent() {
		res.refuse(fault{code: ContentTooLarge})
		return
	}
	switch rt {
	case balanceRoute:
		s.balance(id, &q, req, res)
	case statsRoute:
		s.stats(id, &q, req, res)
	case healthRoute:
		res.text("ok")
	case readyRoute:
		res.text("ready")
	}
}

// text makes the answer a plain text.
func (res *Response) text(s string) {
	res.Status = 200
	res.ContentType = textType
	res.Body = append(res.Body[:0], s...)
}

// post answers POST.
func (s *Service) post(rt route, req *Request, res *Response) {
	var q question
	known := noParams
	if rt == feedRoute {
		known = feedParams
	}
	if f := readQuery(req.RawQuery, known, &q); f.code != None {
		res.refuse(f)
		return
	}
	mediaTypes, limit := feedTypes, maxFeedBytes
	if rt == batchRoute {
		mediaTypes, limit = "application/json", maxBatchBytes
	}
	if !isMediaType(req.ContentType, mediaTypes) {
		res.Accept = mediaTypes
		res.refuse(fault{UnsupportedMediaType, "content-type"})
		return
	}
	if isCoded(req.ContentEncoding) {
		res.AcceptEncoding = "identity"
		res.refuse(fault{UnsupportedMediaType, "content-encoding"})
		return
	}
	if req.LacksLength {
		res.refuse(fault{code: LengthRequired})
		return
	}
	if len(req.Body) > limit || req.BodyTooLarge {
		res.refuse(fault{code: ContentTooLarge})
		return
	}
	if rt == batchRoute {
		s.batch(req, res)
	} else {
		s.feed(q.lateAccepted, req, res)
	}
}

// feedTypes lists the media types of a feed.
const feedTypes = "application/x-ndjson, application/ndjson, application/jsonl"

// isMediaType reports whether a content type is of one of the listed media types,
// whatever its parameters.
func isMediaType(contentType, mediaTypes string) bool {
	got, _, _ := strings.Cut(contentType, ";")
	got = strings.Trim(got, " \t")
	for mediaType := range strings.SplitSeq(mediaTypes, ", ") {
		if strings.EqualFold(got, mediaType) {
			return true
		}
	}
	return false
}

// isCoded reports whether a list of content codings has one other than identity.
func isCoded(codings string) bool {
	for coding := range strings.SplitSeq(codings, ",") {
		coding = strings.Trim(coding, " \t")
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// HasLength reports whether header lines, as they were sent, say how long the
// body is, or that it is chunked.
func HasLength(lines []byte) bool {
	for line := range bytes.Lines(lines) {
		name, _, _ := bytes.Cut(line, colon)
		if bytes.EqualFold(name, contentLength) || bytes.EqualFold(name, transferEncoding) {
			return true
		}
	}
	return false
}

var (
	colon            = []byte{':'}
	contentLength    = []byte("content-length")
	transferEncoding = []byte("transfer-encoding")
)

// SplitTarget splits a request target, as it was sent, into path and query. Of
// a target in absolute form it leaves out scheme and authority.
func SplitTarget(target string) (path, query string) {
	if target != "" && target[0] != '/' {
		if scheme, rest, ok := strings.Cut(target, "://"); ok &&
			(strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
			i := strings.IndexAny(rest, "/?")
			if i < 0 {
				return "/", ""
			}
			target = rest[i:]
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query
}
