package caddyiis

import (
	"fmt"
	"net/http"
	"strconv"
)

// The headings of HTTP.sys's own answers, which monitors look for.
const (
	headingInvalidHostname = "Bad Request - Invalid Hostname"
	headingUnavailable     = "Service Unavailable"
)

// writePage answers a request that reaches no site, with a small page under
// the heading that HTTP.sys would show. HTTP/1 connections are closed after
// it, as HTTP.sys closes them; an HTTP/2 or HTTP/3 connection may carry
// requests for other hosts, and stays.
func writePage(w http.ResponseWriter, r *http.Request, status int, heading string) {
	body := fmt.Sprintf("<!doctype html>\n<html lang=\"en\"><head><title>%[1]s</title></head>\n<body><h1>%[1]s</h1><p>HTTP error %[2]d.</p></body></html>\n", heading, status)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=us-ascii")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
}
