package iismanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// TestDescribe: what the page says of each kind of a change.
func TestDescribe(t *testing.T) {
	a, b := json.RawMessage(`{"name":"a"}`), json.RawMessage(`{"name":"b"}`)
	shown := describe(adminapi.Revision{Changes: []adminapi.Logged{
		{ID: 1, After: a},
		{ID: 2, Before: a, After: b},
		{ID: 3, Before: a},
		{ID: 4},
		{ID: 5, After: a, Verdict: "accepted"},
		{ID: 6, Before: a, After: b, Verdict: "refused"},
		{Certificate: "c", After: a},
	}}, 7)
	got := ""
	for _, c := range shown.What {
		got += fmt.Sprintf("%d%s %s %s\n", c.ID, c.Certificate, c.Verb, c.Fields)
	}
	if want := `1 added [{name  "a"}]
2 changed [{name "a" "b"}]
3 removed [{name "a" }]
4 removed []
5 accepted [{name  "a"}]
6 refused [{name "a" "b"}]
0c added [{name  "a"}]
`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestChangePanics: a change that panics ends its request and not the process, and a
// change goes on when the browser is gone.
func TestChangePanics(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	client, err := adminapi.New("localhost:1")
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	v := &visit{
		page: newPage(client, zap.New(core), false), who: visitor{"alice\n{\"user\":\"root\"}", "authenticated"},
		r: httptest.NewRequestWithContext(gone, http.MethodPost, "/", nil),
	}
	if err := v.change("panic", nil, func(context.Context) error { panic("on purpose") }); statusOf(err) != http.StatusInternalServerError {
		t.Error(err)
	}
	if err := v.change("stay", nil, func(ctx context.Context) error { return ctx.Err() }); err != nil {
		t.Errorf("the change went with the browser: %v", err)
	}
	if n := logs.FilterField(zap.Any("panic", "on purpose")).Len(); n != 1 {
		t.Errorf("%d lines about the panic", n)
	}
	for what, n := range map[string]int{"panic": 1, "stay": 1} {
		if got := logs.FilterField(zap.String("change", what)).FilterField(zap.String("user", v.who.Name)).Len(); got != n {
			t.Errorf("%s: %d lines", what, got)
		}
	}
}
