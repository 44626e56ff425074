package main

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"unsafe"

	"github.com/valyala/fasthttp"

	"purser/peers/api"
)

// handler adapts the service to fasthttp.
type handler struct {
	service *api.Service
}

// exchange is one request with its answer.
type exchange struct {
	req api.Request
	res api.Response
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// serve answers one request.
func (h *handler) serve(ctx *fasthttp.RequestCtx) {
	h.answer(ctx, false)
}

// refuse answers a request that fasthttp could not read.
func (h *handler) refuse(ctx *fasthttp.RequestCtx, err error) {
	if errors.Is(err, fasthttp.ErrBodyTooLarge) && len(ctx.Request.Header.RequestURI()) > 1 {
		h.answer(ctx, true)
		return
	}
	code := api.MalformedRequest
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge): // chunked: the header is gone
		code = api.ContentTooLarge
	case errors.As(err, &small):
		code = api.HeaderFieldsTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		code = api.RequestTimeout
	}
	x := exchanges.Get().(*exchange)
	x.res.Body = ctx.Response.SwapBody(nil)
	x.res.Refuse(code)
	send(ctx, x)
}

func (h *handler) answer(ctx *fasthttp.RequestCtx, tooLarge bool) {
	x := exchanges.Get().(*exchange)
	head := &ctx.Request.Header
	x.req = api.Request{
		Method:       text(head.Method()),
		ContentType:  text(head.ContentType()),
		BodyTooLarge: tooLarge,
	}
	x.req.Path, x.req.RawQuery = api.SplitTarget(text(head.RequestURI()))
	if head.IsGet() || head.IsHead() {
		match := head.PeekAll(fasthttp.HeaderIfMatch)
		x.req.IfMatch, x.req.HasIfMatch = joined(match), len(match) > 0
		x.req.IfNoneMatch = joined(head.PeekAll(fasthttp.HeaderIfNoneMatch))
	} else {
		// fasthttp gives a body of unknown length the length 0.
		x.req.LacksLength = head.ContentLength() == 0 && !api.HasLength(head.RawHeaders())
		x.req.ContentEncoding = joined(head.PeekAll(fasthttp.HeaderContentEncoding))
	}
	if !tooLarge {
		x.req.Body = ctx.Request.Body()
	}
	x.res.Body = ctx.Response.SwapBody(nil)
	h.service.Handle(&x.req, &x.res)
	send(ctx, x)
}

var (
	etag         = []byte("Etag")
	cacheControl = []byte("Cache-Control")
	noCache      = []byte("no-cache")
)

// send passes the answer to fasthttp, without copying its body.
func send(ctx *fasthttp.RequestCtx, x *exchange) {
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
		head.Set(fasthttp.HeaderAllow, res.Allow)
	}
	if res.Accept != "" {
		head.Set(fasthttp.HeaderAccept, res.Accept)
	}
	if res.AcceptEncoding != "" {
		head.Set(fasthttp.HeaderAcceptEncoding, res.AcceptEncoding)
	}
	ctx.Response.SwapBody(res.Body)
	res.Body = nil
	x.req = api.Request{}
	exchanges.Put(x)
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
