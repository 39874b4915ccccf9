package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestConnectionsHoldNoConfiguration: connections outlive configurations, and
// must not keep those that they were made under in memory.
func TestConnectionsHoldNoConfiguration(t *testing.T) {
	const sites, changes = 5000, 8
	port, other := ts.FreePort(t), ts.FreePort(t)
	var many strings.Builder
	for i := range sites {
		fmt.Fprintf(&many, "site %d {\nserver_bindings :%d:h%d.test\n}\n", i+2, other, i)
	}
	config := func(body string) string {
		return fmt.Sprintf("{\niis {\ncertificate any {\nsubjects any.test\nissuer internal\n}\nsite 1 {\nsecure_bindings :%d:\ncertificate any\nrespond %s\n}\n%s}\n}", port, body, many.String())
	}
	s := ts.Start(t, config("first"))
	request := ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), SNI: "any.test"}
	before := liveHeap()
	for i := range changes {
		if err := s.Load(config(fmt.Sprint("x", i))); err != nil {
			t.Fatal(err)
		}
		client := ts.NewClient(request)
		defer client.Close()
		if _, err := client.Do(request); err != nil {
			t.Fatal(err)
		}
	}
	// One configuration of this size takes about 4 MB.
	if grown := liveHeap() - before; grown > 8<<20 {
		t.Errorf("the heap has grown by %d KiB with %d kept connections over %d changes", grown>>10, changes, changes)
	}
}
