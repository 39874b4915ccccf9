package caddyiis_test

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestUpgradedConnectionsWhenCaddyExits: clients are told, and neither they nor those of
// an earlier configuration hold Caddy up.
func TestUpgradedConnectionsWhenCaddyExits(t *testing.T) {
	port, secure, admin, upstream := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t), backend(t)
	file := t.TempDir() + "/Caddyfile"
	config := func(load int) []byte {
		return fmt.Appendf(nil, "{\nadmin 127.0.0.1:%d\niis {\n%s\nsite 1 {\nserver_bindings :%d:1.test\nsecure_bindings :%d:1.test\ncertificate D\nheader X-Load %d\nreverse_proxy %s\n}\n}\n}\n",
			admin, certificates(t, "D"), port, secure, load, upstream)
	}
	replace(t, file, config(0))
	p := &program{t: t, home: t.TempDir()}
	cmd := p.command("run", "--config", file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	open := func() *socket {
		t.Helper()
		conn, err := ts.Dial(at("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return upgrade(t, conn, "1.test", "websocket")
	}
	waitFor(t, "Caddy", func() bool {
		_, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: "1.test"})
		return err == nil
	})
	before, stream := open(), extendedConnect(t, secure, "1.test")
	replace(t, file, config(1))
	if out, err := p.command("reload", "--config", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before.echo(t, "after a load")
	now := open()
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, webSocket := range []*socket{before, now} {
		if last := webSocket.ends(t, "Caddy exits"); last != "\x88\x02\x03\xe9" {
			t.Errorf("got %q, want a close frame with the code 1001", last)
		}
	}
	stream.ends(t, "Caddy exits")
	<-exited
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("Caddy took %v to exit\n%s", took, output.String())
	}
	t.Logf("exited after %v", time.Since(start))
}
