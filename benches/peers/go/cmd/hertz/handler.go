package main

import (
	"bytes"
	"context"
	"sync"
	"unsafe"

	"github.com/cloudwego/hertz/pkg/app"

	"purser/peers/api"
)

// handler adapts the service to Hertz.
type handler struct {
	service *api.Service
}

// exchange is one request with its answer.
type exchange struct {
	req api.Request
	res api.Response
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// serve answers one request. It runs before Hertz's router, which is not
// used: the service parses the path as it was sent.
func (h *handler) serve(_ context.Context, ctx *app.RequestContext) {
	ctx.Abort()
	x := exchanges.Get().(*exchange)
	body := ctx.Response.BodyBuffer()
	x.res.Body = body.B
	if lacksHost(ctx) {
		x.res.Refuse(api.MalformedRequest)
		ctx.SetConnectionClose()
	} else {
		h.fill(ctx, &x.req)
		h.service.Handle(&x.req, &x.res)
	}

	res := &x.res
	head := &ctx.Response.Header
	head.SetStatusCode(res.Status)
	if res.ContentType != "" {
		head.SetContentType(res.ContentType)
	}
	if len(res.ETag) > 0 {
		head.SetCanonical(etag, res.ETag)
	}
	if res.NoCache {
		head.SetCanonical(cacheControl, noCache)
	}
	if res.Allow != "" {
		head.Set("Allow", res.Allow)
	}
	if res.Accept != "" {
		head.Set("Accept", res.Accept)
	}
	if res.AcceptEncoding != "" {
		head.Set("Accept-Encoding", res.AcceptEncoding)
	}
	body.B, res.Body = res.Body, nil
	x.req = api.Request{}
	exchanges.Put(x)
}

var (
	etag         = []byte("Etag")
	cacheControl = []byte("Cache-Control")
	noCache      = []byte("no-cache")
)

// fill sets the request, which borrows from ctx.
func (h *handler) fill(ctx *app.RequestContext, req *api.Request) {
	head := &ctx.Request.Header
	*req = api.Request{
		Method:      text(head.Method()),
		ContentType: text(head.ContentType()),
		Body:        ctx.Request.BodyBytes(),
	}
	req.Path, req.RawQuery = api.SplitTarget(text(head.RequestURI()))
	if head.IsGet() || head.IsHead() {
		match := head.PeekAll("If-Match")
		req.IfMatch, req.HasIfMatch = joined(match), len(match) > 0
		req.IfNoneMatch = joined(head.PeekAll("If-None-Match"))
	} else {
		// Hertz gives a body of unknown length the length 0.
		req.LacksLength = head.ContentLength() == 0 && !api.HasLength(head.RawHeaders())
		req.ContentEncoding = joined(head.PeekAll("Content-Encoding"))
	}
}

// lacksHost reports whether a request lacks the host that HTTP/1.1 asks for.
func lacksHost(ctx *app.RequestContext) bool {
	return ctx.Request.Header.IsHTTP11() && len(ctx.Request.Host()) == 0
}

// text returns b as a string that is valid as long as the request.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// joined returns a header's values as one comma-separated list.
func joined(values [][]byte) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return text(values[0])
	}
	return text(bytes.Join(values, []byte(", ")))
}
