package adminapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
)

// actorKey is the key of an actor in a context.
type actorKey struct{}

// WithActor returns a context for requests that somebody makes: the client names him
// to the API (Iis-Actor), and an API of the same process finds him in the context.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns who makes the requests of a context, empty if nobody has said.
func ActorOf(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}

// InProcess returns a client like this one that asks an API of its own process what
// is below Base. It needs no admin endpoint for that; Caddy's configuration is still
// read and changed through the endpoint.
func (c *Client) InProcess(api http.Handler) *Client {
	inside := *c
	inside.http.Transport = &inProcess{api: api, endpoint: c.http.Transport}
	return &inside
}

// inProcess is a transport that calls a handler.
type inProcess struct {
	api      http.Handler
	endpoint http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, Base) {
		return t.endpoint.RoundTrip(r)
	}
	if r.Body == nil {
		r.Body = http.NoBody // as a server has it
	}
	w := &answerWriter{header: make(http.Header)}
	t.api.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK) // if nobody has said another one
	return &http.Response{
		StatusCode: w.status, Header: w.header, Request: r,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}, nil
}

// answerWriter keeps what a handler writes.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *answerWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Interface guards
var (
	_ http.RoundTripper   = (*inProcess)(nil)
	_ http.ResponseWriter = (*answerWriter)(nil)
)
