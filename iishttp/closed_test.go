package iishttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp"
)

func TestClosed(t *testing.T) {
	for text, want := range map[string]struct {
		json   string
		status int
	}{
		`iis_closed 401 "Windows accounts" decide`: {`{"status":401,"why":"Windows accounts","decide":true}`, 401},
		`iis_closed 404 "a rule"`:                  {`{"status":404,"why":"a rule"}`, 404},
		`iis_closed 500`:                           {`{"status":500}`, 500},
	} {
		c := new(iishttp.Closed)
		if err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(c); string(got) != want.json {
			t.Errorf("%s is %s", text, got)
		}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		if err := c.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		err := c.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x", nil), nil) // the next handler is never asked
		failed, ok := errors.AsType[caddyhttp.HandlerError](err)
		if !ok || failed.StatusCode != want.status || !strings.HasPrefix(failed.Err.Error(), "closed: ") || rec.Body.Len() > 0 {
			t.Errorf("%s: %v", text, err)
		}
	}
	c := new(iishttp.Closed)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := c.Provision(ctx); err != nil || c.Validate() != nil || c.Status != 403 {
		t.Errorf("default: %+v, %v", c, err)
	}
}

func TestClosedRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`iis_closed`:                     "wrong argument count",
		`iis_closed 403 a b c`:           "wrong argument count",
		`iis_closed why`:                 "is no number",
		`iis_closed 200 "it is open"`:    "does not refuse",
		`iis_closed 600`:                 "does not refuse",
		`iis_closed 403 why later`:       "expected decide",
		"iis_closed 403 why {\n open\n}": "has no block",
	} {
		if err := new(iishttp.Closed).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
