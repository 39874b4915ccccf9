package caddyiis_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestPortHeldForAMoment: a load waits a little for an address that another listener has,
// such as the one by which Caddy answers challenges of ACME, and no longer.
func TestPortHeldForAMoment(t *testing.T) {
	s := startIIS(t, "")
	config := func(port int) string {
		return iisConfig(fmt.Sprintf("site 1 Site {\nserver_bindings :%d:a.test\nrespond hello\n}", port))
	}
	port := ts.FreePort(t)
	held, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() { held.Close() })
	if err := s.Load(config(port)); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "a.test", Plain: true})
	if err != nil || answer.Body != "hello" {
		t.Errorf("got %v, %v", answer, err)
	}
	always, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer always.Close()
	start := time.Now()
	err = s.Load(config(always.Addr().(*net.TCPAddr).Port))
	if err == nil || !strings.Contains(err.Error(), "site 1") || !strings.Contains(err.Error(), "another port") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("it was given up on after %s", took)
	}
}
