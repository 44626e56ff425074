package main

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"purser/peers/api"
)

// handler adapts the service to net/http.
type handler struct {
	service *api.Service
}

// exchange is one request with its answer.
type exchange struct {
	req api.Request
	res api.Response
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	defer exchanges.Put(x)

	body, err := readBody(r, x.req.Body[:0])
	x.req = api.Request{
		Method:          r.Method,
		ContentType:     first(r.Header["Content-Type"]),
		ContentEncoding: joined(r.Header["Content-Encoding"]),
		IfMatch:         joined(r.Header["If-Match"]),
		HasIfMatch:      len(r.Header["If-Match"]) > 0,
		IfNoneMatch:     joined(r.Header["If-None-Match"]),
		LacksLength:     r.ContentLength == 0 && len(r.Header["Content-Length"]) == 0,
		Body:            body,
		BodyTooLarge:    err == errTooLarge,
	}
	x.req.Path, x.req.RawQuery = api.SplitTarget(r.RequestURI)
	header := w.Header()
	if err == nil || err == errTooLarge {
		h.service.Handle(&x.req, &x.res)
	} else {
		x.res.Refuse(api.MalformedRequest)
		header["Connection"] = []string{"close"}
	}
	send(w, header, &x.res)
}

var noCache = []string{"no-cache"}

// inBuffer is the largest body that net/http buffers and measures itself.
const inBuffer = 2048

// send passes the answer to net/http.
func send(w http.ResponseWriter, header http.Header, res *api.Response) {
	if res.ContentType != "" {
		header["Content-Type"] = []string{res.ContentType}
	}
	if res.NoCache {
		header["Cache-Control"] = noCache
	}
	if len(res.ETag) > 0 {
		header["Etag"] = []string{string(res.ETag)}
	}
	if res.Allow != "" {
		header["Allow"] = []string{res.Allow}
	}
	if res.Accept != "" {
		header["Accept"] = []string{res.Accept}
	}
	if res.AcceptEncoding != "" {
		header["Accept-Encoding"] = []string{res.AcceptEncoding}
	}
	if len(res.Body) > inBuffer {
		header["Content-Length"] = []string{strconv.Itoa(len(res.Body))}
	}
	w.WriteHeader(res.Status)
	if len(res.Body) > 0 {
		// For HEAD, net/http sends only the header. An error means that the
		// client has disconnected.
		_, _ = w.Write(res.Body)
	}
}

var errTooLarge = errors.New("body too large")

// readBody reads a request's body into buf.
func readBody(r *http.Request, buf []byte) ([]byte, error) {
	switch n := r.ContentLength; {
	case n == 0:
		return buf, nil
	case n > api.MaxBody:
		return buf, errTooLarge
	case n > 0:
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		_, err := io.ReadFull(r.Body, buf)
		return buf, err
	}
	for { // chunked
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > api.MaxBody:
			return buf, errTooLarge
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// first returns the first of a header's values, or "".
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// joined returns a header's values as one comma-separated list.
func joined(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ", ")
}
