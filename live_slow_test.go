package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestSlowReadersHoldNobodyUp: who asks for an export or a backup and does not read it is in
// nobody's way, also when the file has to become larger, which it cannot while it is read.
func TestSlowReadersHoldNobodyUp(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	table, err := sites.OpenBolt(l.file, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	const kept = 500
	large := strings.Repeat("x", 60_000)
	document := func(id int) string {
		return fmt.Sprintf(`{"name":"%s","server_bindings":[":%d:s%d.test"]}`, large, l.plain, id)
	}
	var todo sites.Transaction
	for id := range kept {
		todo.Changes = append(todo.Changes, sites.Change{ID: uint32(100 + id), Document: json.RawMessage(document(id))})
	}
	if _, err = table.Write(todo); err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"export", "export?revisions=1", "backup"} {
		conn, err := net.Dial("tcp", l.AdminAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /iis/%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, l.AdminAddr()); err != nil {
			t.Fatal(err)
		}
		begun := make([]byte, 1)
		if _, err := conn.Read(begun); err != nil {
			t.Fatal(path, err)
		}
	}
	done := make(chan int, 1)
	go func() {
		for id := range kept { // the file becomes twice as large
			l.ask("PUT", fmt.Sprint("sites/", 10_000+id), document(10_000+id), nil)
		}
		done <- l.ask("GET", "revisions?limit=1", "", nil)
	}()
	select {
	case status := <-done:
		if status != 200 {
			t.Errorf("the log: %d", status)
		}
	case <-time.After(time.Minute):
		t.Fatal("writers wait for a reader that does not read")
	}
}
