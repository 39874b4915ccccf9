package caddyiis_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestDamageHoldsNothingUp: where the beginning of a file is lost while it is served, changes get
// 503, reads an answer and loads a refusal, each time and at once; its sites serve on, and
// the server ends.
func TestDamageHoldsNothingUp(t *testing.T) {
	needs.OpenFilesGo(t) // Windows lets nobody write to the file meanwhile
	file, port := filepath.Join(t.TempDir(), "sites.db"), ts.FreePort(t)
	l := &live{t: t, plain: port}
	config := fmt.Sprintf("sites_from bolt %q {\nallow {\nports %d\n}\n}\ndefaults {\nrespond {iis.site.name}\n}\n", file, port)
	l.Server = startIIS(t, config)
	site := func(id int) string {
		return fmt.Sprintf(`{"name":"site %d","server_bindings":[":%d:site%[1]d.test"]}`, id, port)
	}
	l.want(201, "PUT", "sites/100", site(100))
	open, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open.WriteAt([]byte(strings.Repeat("lost", 2*os.Getpagesize()/4)), 0)
	if err := errors.Join(err, open.Close()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			for _, path := range []string{"sites/100", "revisions", "export", "ready", "check", "sites"} {
				_, _, _ = l.TryAdmin(http.MethodGet, "/iis/"+path, "") // an export is broken off
			}
			if status, answer, err := l.TryAdmin(http.MethodPut, "/iis/sites/101", site(101)); err != nil || status != 503 || !strings.Contains(answer, "it is damaged") {
				t.Errorf("PUT: %d %s %v", status, answer, err)
			}
			if err := l.Load(iisConfig(config)); err == nil || !strings.Contains(err.Error(), "it is damaged") {
				t.Errorf("load: %v", err)
			}
		}
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "site100.test", Plain: true})
		if err != nil || answer.Body != "site 100" {
			t.Errorf("it serves on: %v, %v", answer, err)
		}
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not come to an end")
	}
}
