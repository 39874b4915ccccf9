package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestW3CLogRequestsOutliveLoads: a request that a load overtakes has its line in
// the folder that it began with, also if nothing else writes there any more.
func TestW3CLogRequestsOutliveLoads(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		_, _ = io.WriteString(w, "late")
	}))
	defer backend.Close()
	before, after := t.TempDir(), t.TempDir()
	port := ts.FreePort(t)
	config := func(dir string) string {
		return iisConfig(fmt.Sprintf("w3c_log %s {\nfields date time cs-uri-stem sc-status time-taken\n}\nsite 1 {\nserver_bindings :%d:\nreverse_proxy %s\n}",
			dir, port, backend.Listener.Addr()))
	}
	s := ts.Start(t, config(before))
	done := make(chan error)
	go func() {
		_, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Path: "/slow"})
		done <- err
	}()
	<-arrived
	for range 2 { // the second one finds the first one's folder as it is
		if err := s.Load(config(after)); err != nil {
			t.Fatal(err)
		}
	}
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantLines(t, before, 1, "/slow 200")
}

// TestW3CLogMakesNothing: a configuration that does not serve makes no folder.
func TestW3CLogMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	port := ts.FreePort(t)
	text := iisConfig(fmt.Sprintf("w3c_log %s\nsite 1 {\nserver_bindings :%d:\n}", dir, port))
	s := startIIS(t, "")
	raw, err := s.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	var cfg *caddy.Config
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(cfg); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	refusedLoad(t, s, "its port is busy", text, "in use")
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}
