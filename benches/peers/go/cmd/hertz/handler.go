package main

import (
	"bytes"
	"context"
	"sync"
	"unsafe"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/protocol/consts"

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
	if ctx.Response.StatusCode() == consts.StatusBadRequest {
		x.res.Refuse(api.MalformedRequest) // Hertz found no host
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
	if res.Allow != "" {
		head.Set("Allow", res.Allow)
	}
	body.B, res.Body = res.Body, nil
	x.req = api.Request{}
	exchanges.Put(x)
}

var etag = []byte("Etag")

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
		req.IfNoneMatch = joined(head.PeekAll("If-None-Match"))
	} else {
		req.ContentEncoding = joined(head.PeekAll("Content-Encoding"))
	}
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
