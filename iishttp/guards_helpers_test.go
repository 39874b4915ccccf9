package iishttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// guardModules are the handlers that the tests here make from a Caddyfile.
var guardModules = map[string]func() caddyhttp.MiddlewareHandler{
	"iis_filter":        func() caddyhttp.MiddlewareHandler { return new(Filter) },
	"iis_ip_security":   func() caddyhttp.MiddlewareHandler { return new(IPSecurity) },
	"iis_authorization": func() caddyhttp.MiddlewareHandler { return new(Authorization) },
	"iis_redirect":      func() caddyhttp.MiddlewareHandler { return new(Redirect) },
}

// guard makes a handler from a Caddyfile by way of its JSON.
func guard(t testing.TB, text string) caddyhttp.MiddlewareHandler {
	t.Helper()
	h, err := newGuard(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return h
}

func newGuard(text string) (caddyhttp.MiddlewareHandler, error) {
	name := strings.Fields(text)[0]
	parsed := guardModules[name]()
	if err := parsed.(caddyfile.Unmarshaler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(parsed)
	if err != nil {
		return nil, err
	}
	h := guardModules[name]()
	if err := json.Unmarshal(raw, h); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	return h, h.(caddy.Provisioner).Provision(ctx)
}

// received is a request as a server receives it from 127.0.0.1: a line "METHOD
// target", or a target alone, and headers.
func received(t testing.TB, line string, headers ...string) *http.Request {
	t.Helper()
	method, target, ok := strings.Cut(line, " ")
	if !ok {
		method, target = http.MethodGet, line
	}
	text := method + " " + target + " HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	r.RemoteAddr = "127.0.0.1:1234"
	return prepared(r)
}

// prepared makes what Caddy makes of a request in front of the handlers.
func prepared(r *http.Request) *http.Request {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
	return r
}

// asUser tells the handlers who the user is, as basic_auth does.
func asUser(r *http.Request, user string) *http.Request {
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", user)
	return r
}

// answerOf is what a handler does: "-" if it asks the next one, "404.8" if it
// refuses, "302 target" if it redirects.
func answerOf(h caddyhttp.MiddlewareHandler, r *http.Request) string {
	answer := "-"
	rec := httptest.NewRecorder()
	passed := false
	err := h.ServeHTTP(rec, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	}))
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		answer, _ = caddyhttp.GetVar(r.Context(), SubStatusVar).(string)
		if !strings.HasPrefix(answer, fmt.Sprintf("%d.", failed.StatusCode)) {
			answer = fmt.Sprintf("%d, and the variable has %q", failed.StatusCode, answer)
		}
	} else if err != nil {
		answer = err.Error()
	}
	if to := rec.Header().Get("Location"); to != "" {
		answer = fmt.Sprintf("%d %s", rec.Code, to)
	}
	if passed != (answer == "-") {
		answer += ", and the next handler was asked"
	}
	return answer
}
