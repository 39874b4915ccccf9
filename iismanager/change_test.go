package iismanager

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

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
