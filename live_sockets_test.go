package caddyiis_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// withPort is a configuration on one address whose rows may have a port that nobody else
// has, and no certificate from an endpoint.
func (l *live) withPort(address string, port int, extra string) string {
	l.t.Helper()
	allow := fmt.Sprintf("%q {\nallow {\nports %d %d %d\n}", l.file, l.plain, l.secure, port)
	return strings.Replace(l.config("listen "+address+"\n"+extra), fmt.Sprintf("%q {", l.file), allow, 1)
}

// occupy has another program listen.
func occupy(t *testing.T, address string) net.Listener {
	t.Helper()
	busy, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	return busy
}

// TestLiveUDPSocket: an https binding whose UDP port somebody else has is refused, as Caddy starts
// no server then, unless HTTP/3 is not asked for.
func TestLiveUDPSocket(t *testing.T) {
	l := startLive(t, "", "")
	port := ts.FreePort(t)
	busy, err := net.ListenPacket("udp", at("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	config := l.withPort("127.0.0.1", port, "")
	if err := l.Load(config); err != nil {
		t.Fatal(err)
	}
	site := fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:u.test","certificate":"wild.test"}]}`, port)
	l.refused(503, "PUT", "sites/10", site, "udp")
	if err := l.Load(strings.Replace(config, "iis {\n", "iis {\nservers {\nprotocols h1 h2\n}\n", 1)); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", site)
}

// TestLiveSocketWaits: a socket that cannot be opened holds back the bindings that need it
// and nothing else. They are nobody else's, and serve when it can be opened.
func TestLiveSocketWaits(t *testing.T) {
	l := startLive(t, "", "")
	port := ts.FreePort(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	document := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:a.test",":%d:a.test"]}`, name, l.plain, port)
	}
	writeRows(t, l.file, []sites.Change{
		{ID: 10, Document: []byte(document("A"))},
		{ID: 11, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:b.test"]}`, port)},
		{ID: 12, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:c.test"]}`, l.plain)},
	})
	busy := occupy(t, at("127.0.0.1", port))
	if err := l.Load(l.withPort("127.0.0.1", port, "")); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		l.plainly("a.test", "default 10")
		l.plainly("c.test", "default 12")
		f := finding(t, l.Server, "site-held-back", `site 10 "A" of bolt is served without http binding`, fmt.Sprint(port))
		if f == nil || strings.Contains(f.Message, fmt.Sprint(l.plain)) || finding(t, l.Server, "site-held-back", "site 11 of bolt is not served") == nil {
			t.Errorf("got %+v", findings(t, l.Server))
		}
		var sources adminapi.Page[adminapi.Source]
		if l.ask("GET", "sources", "", &sources); sources.Items[0].HeldBack != 2 {
			t.Errorf("got %+v", sources.Items)
		}
		if got := l.want(202, "PUT", "sites/10?wait=0s", document("A")); got.Serves || len(got.Findings) != 1 {
			t.Errorf("got %+v", got)
		}
	}
	check()
	var shown adminapi.Site
	if l.ask("GET", "sites/10", "", &shown); shown.State != adminapi.StateStarted || len(shown.Bindings) != 1 {
		t.Errorf("got %+v", shown)
	}
	e := l.refused(409, "PUT", "sites/20", fmt.Sprintf(`{"server_bindings":[":%d:a.test"]}`, port), "held back")
	if e.Other == nil || e.Other.ID != 10 {
		t.Errorf("got %+v", e)
	}
	l.refused(503, "PUT", "sites/20", fmt.Sprintf(`{"server_bindings":[":%d:d.test"]}`, port), "cannot listen")
	l.want(201, "PUT", "sites/21", fmt.Sprintf(`{"server_bindings":[":%d:e.test"]}`, l.plain))
	// It is no reason to refuse a load that takes nothing more away.
	if err := l.Load(l.withPort("127.0.0.1", port, "log_sni")); err != nil {
		t.Fatal(err)
	}
	check()
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	for host, body := range map[string]string{"a.test": "default 10", "b.test": "default 11"} {
		eventually(t, host+" serves", 30*time.Second, func() bool {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host, Plain: true})
			return err == nil && answer.Body == body
		})
	}
	l.want(200, "PUT", "sites/10?wait=0s", document("A"))
	if f := finding(t, l.Server, "site-held-back"); f != nil {
		t.Errorf("got %+v", f)
	}
	// What is served must not be lost by a load.
	occupy(t, at("127.0.0.2", port))
	refusedLoad(t, l.Server, "another address, where somebody has the port", l.withPort("127.0.0.2", port, ""), `site 10 "A"`, "cannot listen")
	l.plainly("a.test", "default 10")
}
