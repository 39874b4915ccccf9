package caddyiis_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestLiveKill: whenever the process is killed, the database opens again; what was
// acknowledged is there, and no transaction is there by half.
func TestLiveKill(t *testing.T) {
	p := &program{t: t, home: t.TempDir()}
	port, admin := ts.FreePort(t), ts.FreePort(t)
	file := filepath.Join(p.home, "Caddyfile")
	config := fmt.Sprintf("{\nadmin 127.0.0.1:%d\niis {\nsites_from bolt %q\ndefaults {\nrespond {iis.site.name}\n}\nsite 1 ready {\nserver_bindings :%d:ready.test\n}\n}\n}\n",
		admin, filepath.Join(p.home, "sites.db"), port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	site := fmt.Sprintf("http://127.0.0.1:%d/", port)
	named := func(host string) string {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host, Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Body
	}
	var acknowledged atomic.Int64
	write := func(n int64) bool {
		var b strings.Builder
		for i := range 3 {
			fmt.Fprintf(&b, `{"op":"put","id":%d,"site":{"name":"n%d","server_bindings":[":%d:h%d.test"]}}`, 10+i, n, port, i)
		}
		return acknowledges(admin, http.MethodPost, "changes", b.String())
	}
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	n := int64(0)
	for round := range rounds {
		kill := p.run(site, admin, "--config", file, "--adapter", "caddyfile")
		if before := acknowledged.Load(); before > 0 {
			first := named("h0.test")
			var got int64
			if _, err := fmt.Sscanf(first, "n%d", &got); err != nil || got < before || got > before+1 {
				t.Errorf("round %d: %q is served, and n%d was acknowledged", round, first, before)
			}
			for _, host := range []string{"h1.test", "h2.test"} {
				if other := named(host); other != first {
					t.Errorf("round %d: half of a transaction: %q and %q", round, first, other)
				}
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for write(n + 1) {
				n++
				acknowledged.Store(n)
			}
		}()
		waitFor(t, "changes", func() bool { return acknowledged.Load() > int64(round) })
		time.Sleep(time.Duration(13*round) * time.Millisecond) // any moment is right
		kill()
		<-done
	}
}

// acknowledges reports whether a Caddy that may die meanwhile has said that a change is
// made.
func acknowledges(admin int, method, path, body string) bool {
	status, _, err := askPort(admin, method, path, body)
	return err == nil && status < 300
}

// askPort makes a request to the API of a Caddy that may die meanwhile.
func askPort(admin int, method, path, body string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/iis/%s", admin, path), strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}
