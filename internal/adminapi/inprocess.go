package adminapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// ProcessHeader is the name of a header that answers of the API have: the Process that
// gives them.
const ProcessHeader = "Iis-Process"

// Process names this process, and none before or beside it.
var Process = rand.Text()

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
// read and changed through the endpoint, if that is one of this process.
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
		if foreign, err := t.foreign(r); err != nil || foreign != nil {
			return foreign, err
		}
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

// foreign is the answer to a request that is not made, since another process would get
// it: several Caddys of a machine have the same default, and only one of them listens
// there. It is nil if the endpoint is that of this process.
func (t *inProcess) foreign(r *http.Request) (*http.Response, error) {
	question, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.Scheme+"://"+r.URL.Host+Base, http.NoBody)
	if err != nil {
		return nil, err
	}
	question.Header = r.Header
	answer, err := t.endpoint.RoundTrip(question)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	if answer.Header.Get(ProcessHeader) == Process {
		return nil, nil
	}
	body, err := json.Marshal(WriteError{Message: fmt.Sprintf("the admin endpoint at %s is that of another Caddy, which was not asked: "+
		"admin in iis_manager names that of this one", r.URL.Host)})
	return &http.Response{StatusCode: http.StatusBadGateway, Header: make(http.Header), Request: r, Body: io.NopCloser(bytes.NewReader(body))}, err
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
