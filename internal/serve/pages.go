package serve

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
)

// HeadingInvalidHostname is that of HTTP.sys, which monitors look for.
const HeadingInvalidHostname = "Bad Request - Invalid Hostname"

// subStatusHeadings are those of the sub-statuses of 403 that IIS has.
var subStatusHeadings = map[int]string{
	subStatusSSL:               "SSL required",
	subStatusClientCertificate: "Client certificate required",
}

// ownAnswer is an answer to a request that reaches no site.
type ownAnswer struct {
	Status  int
	heading string
}

// HeldBackAnswer is that for a site that is held back.
var HeldBackAnswer = ownAnswer{http.StatusServiceUnavailable, "Service Unavailable"}

type ownAnswerKey struct{}

// answerItself answers a request that reaches no site, by way of one of Caddy's servers: what
// Caddy does for all requests holds for it as well, such as time-outs of slow bodies,
// challenges of certificate authorities and the access log.
func (sn *Snapshot) answerItself(w http.ResponseWriter, r *http.Request, own ownAnswer) {
	r = r.WithContext(context.WithValue(r.Context(), ownAnswerKey{}, own))
	if r.Host == "" {
		r.Host = "-" // Caddy would answer with an empty page, and leave the connection open
	}
	sn.itself.ServeHTTP(w, r)
}

// writePage answers a request that reaches no site, with a small page under
// the heading that HTTP.sys would show. HTTP/1 connections are closed after
// it, as HTTP.sys closes them; an HTTP/2 or HTTP/3 connection may carry
// requests for other hosts, and stays.
func writePage(w http.ResponseWriter, r *http.Request, status int, heading string) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	writeBody(w, r, status, heading, strconv.Itoa(status))
}

// writeSubStatusPage answers in the place of a site that was found, with the
// sub-status that IIS shows, such as 403.4.
func writeSubStatusPage(w http.ResponseWriter, r *http.Request, status, sub int, heading string) {
	writeBody(w, r, status, heading, fmt.Sprintf("%d.%d", status, sub))
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, heading, code string) {
	body := fmt.Sprintf("<!doctype html>\n<html lang=\"en\"><head><title>%[1]s</title></head>\n<body><h1>%[1]s</h1><p>HTTP error %[2]s.</p></body></html>\n", heading, code)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=us-ascii")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
}
