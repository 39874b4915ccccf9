package caddyiis_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// socket is an upgraded connection, on which lines come back.
type socket struct {
	net.Conn
	r *bufio.Reader
}

// upgrade asks for another protocol on a connection.
func upgrade(t *testing.T, conn net.Conn, host, protocol string, header ...string) *socket {
	t.Helper()
	fmt.Fprintf(conn, "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", host, protocol)
	for _, line := range header {
		fmt.Fprintf(conn, "%s\r\n", line)
	}
	fmt.Fprint(conn, "\r\n")
	s := &socket{conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrading at %s: got %+v, %v", host, resp, err)
	}
	s.echo(t, "after the upgrade")
	return s
}

// upgradePlain opens an upgraded connection over http.
func upgradePlain(t *testing.T, port int, host string, header ...string) *socket {
	t.Helper()
	conn, err := ts.Dial(at("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return upgrade(t, conn, host, "echo", header...)
}

// upgradeTLS opens an upgraded connection over https.
func upgradeTLS(t *testing.T, port int, host string) *socket {
	t.Helper()
	conn, err := ts.DialTLS(ts.Request{Addr: at("127.0.0.1", port), SNI: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return upgrade(t, conn, host, "echo")
}

func (s *socket) echo(t *testing.T, line string) {
	t.Helper()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(s, line+"\n"); err != nil {
		t.Fatalf("sending %q: %v", line, err)
	}
	got, err := s.r.ReadString('\n')
	if err != nil || strings.TrimSpace(got) != line {
		t.Fatalf("got %q, %v; want %q back", got, err, line)
	}
}

// ends waits until the server ends the connection, and returns what it sent before.
func (s *socket) ends(t *testing.T, why string) string {
	t.Helper()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	last, err := io.ReadAll(s.r)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("%s: the connection is still open", why)
	}
	return string(last)
}

// TestUpgradedConnectionsOutliveLoads: what a handler has taken over keeps this
// handler, whatever is loaded, while requests go to the new one; what the handler does
// in the background ends.
func TestUpgradedConnectionsOutliveLoads(t *testing.T) {
	httpPort, httpsPort, upstream := ts.FreePort(t), ts.FreePort(t), backend(t)
	var looks atomic.Int64
	watched := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { looks.Add(1) }))
	t.Cleanup(watched.Close)
	config := func(i int, more string) string {
		return iisConfig(certificates(t, "D") + fmt.Sprintf(`
			site 1 {
				server_bindings :%[1]d:one.test
				secure_bindings :%[2]d:one.test
				certificate D
				header X-Load %[4]d
				@new path /load
				respond @new %[4]d
				handle /never {
					reverse_proxy %[5]s {
						health_uri /
						health_interval 20ms
					}
				}
				reverse_proxy %[3]s
			}
			%[6]s
		`, httpPort, httpsPort, upstream, i, strings.TrimPrefix(watched.URL, "http://"), more))
	}
	s := ts.Start(t, config(0, ""))
	sockets := map[string]*socket{"http": upgradePlain(t, httpPort, "one.test"), "https": upgradeTLS(t, httpsPort, "one.test")}
	for i := 1; i <= 5; i++ {
		if err := s.Load(config(i, "")); err != nil {
			t.Fatal(err)
		}
		exchange{name: "a new request", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "one.test", Path: "/load"}, body: fmt.Sprint(i)}.check(t)
		for _, conn := range sockets {
			conn.echo(t, fmt.Sprint("after load ", i))
		}
		name := fmt.Sprint("made after load ", i)
		sockets[name] = upgradeTLS(t, httpsPort, "one.test")
	}
	for _, conn := range sockets {
		conn.echo(t, "after all loads")
	}
	// One handler looks after its upstream 50 times a second, six would 300 times.
	before := looks.Load()
	time.Sleep(time.Second)
	if n := looks.Load() - before; n > 100 {
		t.Errorf("%d looks at the upstream in a second: handlers of earlier loads go on", n)
	}
	if err := s.Load(config(6, "drain_upgraded 0")); err != nil {
		t.Fatal(err)
	}
	last := upgradePlain(t, httpPort, "one.test")
	if err := s.Load(config(7, "")); err != nil {
		t.Fatal(err)
	}
	last.ends(t, "drain_upgraded 0")
	for _, conn := range sockets {
		conn.echo(t, "under their own drain_upgraded")
	}
	if err := s.Load(config(8, "drain_upgraded 300ms")); err != nil {
		t.Fatal(err)
	}
	last = upgradePlain(t, httpPort, "one.test")
	if err := s.Load(config(9, "")); err != nil {
		t.Fatal(err)
	}
	last.echo(t, "for a moment")
	last.ends(t, "drain_upgraded 300ms")
}

// TestUpgradedConnectionsEndWithTheirSite: they do not outlive what would refuse them.
func TestUpgradedConnectionsEndWithTheirSite(t *testing.T) {
	httpPort, httpsPort, upstream := ts.FreePort(t), ts.FreePort(t), backend(t)
	authority := issue(t, 1, nil, "client")
	file := filepath.Join(t.TempDir(), "authority.pem")
	replace(t, file, authority.cert)
	site := func(bindings, settings string) string {
		return fmt.Sprintf("site 1 {\n%s\ncertificate D\n%s\nreverse_proxy %s\n}\n", bindings, settings, upstream)
	}
	bindings := fmt.Sprintf("server_bindings :%d:one.test\nbinding https :%d:one.test {\nsni\n}\n", httpPort, httpsPort)
	other := fmt.Sprintf("site 2 {\nserver_bindings :%d:two.test\nbinding https :%d:two.test {\nsni\ncertificate D\n}\nreverse_proxy %s\n}\n", httpPort, httpsPort, upstream)
	options := certificates(t, "D")
	before := iisConfig(options + site(bindings, "") + other)
	for _, tc := range []struct {
		name, after string
		plain, tls  bool // survive
	}{
		{"nothing of it is different", iisConfig(options + site(bindings, "header X-Some thing") + other), true, true},
		{"it is removed", iisConfig(options + other), false, false},
		{"it is stopped", iisConfig(options + site(bindings, "autostart off") + other), false, false},
		{"it is offline", iisConfig(options + site(bindings, "offline") + other), false, false},
		{"it demands https", iisConfig(options + site(bindings, "require_ssl") + other), false, true},
		{"it demands a client certificate", iisConfig(options + site(fmt.Sprintf(
			"server_bindings :%d:one.test\nbinding https :%d:one.test {\nsni\nclient_auth {\nmode require_and_verify\ntrust_pool file %s\n}\n}\n", httpPort, httpsPort, file), "") + other), true, false},
		{"it has another host", iisConfig(options + site(strings.ReplaceAll(bindings, "one.test", "new.test"), "") + other), false, false},
		{"its host is another site's", iisConfig(options + strings.ReplaceAll(site(bindings, ""), "site 1", "site 3") + other), false, false},
		{"its port has gone", iisConfig(options + site(strings.ReplaceAll(bindings, fmt.Sprint(httpsPort), fmt.Sprint(ts.FreePort(t))), "") + other), true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := ts.Start(t, before)
			plain, secure := upgradePlain(t, httpPort, "one.test"), upgradeTLS(t, httpsPort, "one.test")
			otherPlain, otherSecure := upgradePlain(t, httpPort, "two.test"), upgradeTLS(t, httpsPort, "two.test")
			if err := s.Load(tc.after); err != nil {
				t.Fatal(err)
			}
			for conn, survives := range map[*socket]bool{plain: tc.plain, secure: tc.tls} {
				if survives {
					conn.echo(t, "still there")
				} else {
					conn.ends(t, tc.name)
				}
			}
			otherPlain.echo(t, "another site's")
			otherSecure.echo(t, "another site's")
		})
	}
	t.Run("no iis any more", func(t *testing.T) {
		s := ts.Start(t, before)
		plain := upgradePlain(t, httpPort, "one.test")
		if err := s.Load(fmt.Sprintf("{\nhttp_port %d\n}\nhttp://localhost {\nrespond ordinary\n}\n", ts.FreePort(t))); err != nil {
			t.Fatal(err)
		}
		plain.ends(t, "no iis")
	})
}

// TestUpgradedConnectionsOfProxies: a client that came to a trusted proxy by https is
// one over https.
func TestUpgradedConnectionsOfProxies(t *testing.T) {
	httpPort, upstream := ts.FreePort(t), backend(t)
	config := func(settings string) string {
		return iisConfig(fmt.Sprintf(`
			servers {
				trusted_proxies static 127.0.0.1
			}
			site 1 {
				server_bindings :%d:one.test
				%s
				reverse_proxy %s
			}
		`, httpPort, settings, upstream))
	}
	s := ts.Start(t, config("require_ssl"))
	forwarded := upgradePlain(t, httpPort, "one.test", "X-Forwarded-Proto: https")
	if err := s.Load(config("require_ssl\nheader X-Load 2")); err != nil {
		t.Fatal(err)
	}
	forwarded.echo(t, "came by https")
	if err := s.Load(config("offline")); err != nil {
		t.Fatal(err)
	}
	forwarded.ends(t, "offline")
}

// TestUpgradedWebSocketIsToldWhy: a WebSocket whose site is removed ends with the code
// that has browsers come again elsewhere.
func TestUpgradedWebSocketIsToldWhy(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	config := func(sites ...int) string {
		var b strings.Builder
		for _, id := range sites {
			fmt.Fprintf(&b, "site %d {\nserver_bindings :%d:%d.test\nreverse_proxy %s\n}\n", id, port, id, upstream)
		}
		return iisConfig(b.String())
	}
	s := ts.Start(t, config(1, 2))
	conn, err := ts.Dial(at("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	webSocket := upgrade(t, conn, "1.test", "websocket")
	if err := s.Load(config(2)); err != nil {
		t.Fatal(err)
	}
	if last := webSocket.ends(t, "the site is removed"); last != "\x88\x02\x03\xe9" {
		t.Errorf("got %q, want a close frame with the code 1001", last)
	}
}

// TestUpgradedConnectionsOverHTTP3: a stream that is taken over (RFC 9220) holds no
// configuration either, and ends with its site.
func TestUpgradedConnectionsOverHTTP3(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	config := func(i int, id string) string {
		return iisConfig(certificates(t, "D") + fmt.Sprintf(`
			drain 200ms
			site %s {
				secure_bindings :%d:one.test
				certificate D
				header X-Load %d
				reverse_proxy %s
			}
		`, id, port, i, upstream))
	}
	s := ts.Start(t, config(0, "1"))
	stream := extendedConnect(t, port, "one.test")
	for i := range 3 {
		if err := s.Load(config(i+1, "1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // drain is over
		stream.echo(t, fmt.Sprint("after load ", i))
	}
	if n := len(ts.Logs.Lines("requests still run in a configuration")); n > 0 {
		t.Errorf("a stream that is taken over counts as a request in flight (%d warnings)", n)
	}
	if err := s.Load(config(4, "2")); err != nil {
		t.Fatal(err)
	}
	stream.ends(t, "another site has the host")
}

// TestUpgradesPassOutboundRules: an answer behind which another protocol is spoken is no
// matter of outbound rules of iis_rewrite, over HTTP/1.1 and over HTTP/3, while any other
// answer of the site is. The rule here would end each with 500.52.
func TestUpgradesPassOutboundRules(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	ts.Start(t, iisConfig(certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			secure_bindings :%d:one.test
			certificate D
			route {
				iis_rewrite {
					outbound_rule fails {
						match RESPONSE_X_A .*
						action rewrite "{UrlDecode:%%0a}"
					}
				}
				reverse_proxy %s
			}
		}
	`, port, upstream)))
	upgradeTLS(t, port, "one.test").echo(t, "over HTTP/1.1")
	extendedConnect(t, port, "one.test").echo(t, "over HTTP/3")
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "one.test"}); err != nil || answer.Status != http.StatusInternalServerError {
		t.Errorf("another answer: got %s, %v", answer, err)
	}
}

// extendedConnect opens a stream for a WebSocket over HTTP/3.
func extendedConnect(t *testing.T, port int, host string) *socket {
	t.Helper()
	qc, err := quic.DialAddr(t.Context(), at("127.0.0.1", port),
		&tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = qc.CloseWithError(0, "") })
	client := new(http3.Transport).NewClientConn(qc)
	select {
	case <-client.ReceivedSettings():
	case <-time.After(10 * time.Second):
		t.Fatal("no settings")
	}
	if !client.Settings().EnableExtendedConnect {
		t.Fatal("the server offers no extended CONNECT")
	}
	stream, err := client.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://"+host+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Proto = "websocket"
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.ReadResponse()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("upgrading: %+v, %v", resp, err)
	}
	s := &socket{streamConn{stream, qc}, bufio.NewReader(stream)}
	s.echo(t, "after the upgrade")
	return s
}

// streamConn is a stream as a connection.
type streamConn struct {
	*http3.RequestStream
	qc *quic.Conn
}

func (c streamConn) LocalAddr() net.Addr  { return c.qc.LocalAddr() }
func (c streamConn) RemoteAddr() net.Addr { return c.qc.RemoteAddr() }

// TestUpgradedConnectionsOfSources: the same for sites of a file and of a database.
func TestUpgradedConnectionsOfSources(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	line := func(id int) string {
		return fmt.Sprintf(`{"id":%d,"server_bindings":[":%d:%d.test"]}`+"\n", id, port, id)
	}
	replace(t, file, []byte(line(1)+line(2)))
	s := ts.Start(t, iisConfig(fmt.Sprintf("sites_file %q\nsites_from bolt %q\ndefaults {\nreverse_proxy %s\n}\n", file, filepath.Join(t.TempDir(), "sites.db"), upstream)))
	for id := 11; id <= 12; id++ {
		if status, answer := s.Admin(http.MethodPut, fmt.Sprint("/iis/sites/", id), strings.Replace(line(id), fmt.Sprintf(`"id":%d,`, id), "", 1)); status != http.StatusCreated {
			t.Fatal(status, answer)
		}
	}
	conns := make(map[int]*socket)
	for _, id := range []int{1, 2, 11, 12} {
		conns[id] = upgradePlain(t, port, fmt.Sprintf("%d.test", id))
	}
	replace(t, file, []byte(line(1)))
	conns[2].ends(t, "it has left the file")
	if status, answer := s.Admin(http.MethodDelete, "/iis/sites/12", ""); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	conns[12].ends(t, "its row is deleted")
	conns[1].echo(t, "still there")
	conns[11].echo(t, "still there")
	if status, answer := s.Admin(http.MethodPatch, "/iis/sites/11", `{"autostart":false}`); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	conns[11].ends(t, "it is stopped")
	conns[1].echo(t, "still there")
}

const mega = 1 << 20

var (
	upgradeLoads = flag.Int("upgrades.loads", 10, "how many loads TestUpgradedConnectionsAreCheap makes")
	upgradeSites = flag.Int("upgrades.sites", 2000, "and of how many sites")
)

// TestUpgradedConnectionsAreCheap: a connection holds its handler, not the rest of the
// configuration that it came from.
func TestUpgradedConnectionsAreCheap(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	sites := *upgradeSites
	config := func(load int) []byte {
		var b strings.Builder
		for id := 1; id <= sites; id++ {
			fmt.Fprintf(&b, "%q:{\"server_bindings\":[\":%d:%d.test\"],\"routes\":[{\"handle\":[{\"handler\":\"reverse_proxy\",\"upstreams\":[{\"dial\":%q}],\"headers\":{\"request\":{\"set\":{\"X-Load\":[\"%d\"]}}}}]}]},",
				fmt.Sprint(id), port, id, upstream, load)
		}
		return fmt.Appendf(nil, `{"admin":{"listen":%q},"apps":{"iis":{"sites":{%s}}}}`, os.Getenv("TEST_ADMIN"), strings.TrimSuffix(b.String(), ","))
	}
	s := ts.Start(t, iisConfig(fmt.Sprintf("site 1 {\nserver_bindings :%d:1.test\nreverse_proxy %s\n}\n", port, upstream)))
	t.Setenv("TEST_ADMIN", s.AdminAddr())
	load := func(i int) {
		t.Helper()
		if err := s.LoadJSON(config(i)); err != nil {
			t.Fatal(err)
		}
	}
	load(0)
	load(1)
	first := liveHeap()
	conns := make([]*socket, *upgradeLoads)
	for i := range conns {
		conns[i] = upgradePlain(t, port, fmt.Sprintf("%d.test", i*sites/len(conns)+1))
		load(i + 2)
	}
	for _, conn := range conns {
		conn.echo(t, "still there")
	}
	kept := liveHeap()
	for _, conn := range conns {
		conn.Close()
	}
	var last int64
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for last = liveHeap(); deadline.Err() == nil && last > first+2*mega; last = liveHeap() {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d loads of %d sites: %.1f MB before, %.1f MB with a connection of each (%.2f MB a load), %.1f MB after they have ended",
		len(conns), sites, float64(first)/mega, float64(kept)/mega, float64(kept-first)/mega/float64(len(conns)), float64(last)/mega)
	if perLoad := float64(kept-first) / mega / float64(len(conns)); perLoad > 1 {
		t.Errorf("a load whose connection lives keeps %.2f MB, want 1 MB at most", perLoad)
	}
	if last > first+5*mega {
		t.Errorf("%.1f MB are left when all connections have ended, and %.1f MB were there before", float64(last)/mega, float64(first)/mega)
	}
}

// TestOrdinaryConnectionsAreCheap: a kept connection to an ordinary site on a shared port
// may hold what it was made under, which must not be much.
func TestOrdinaryConnectionsAreCheap(t *testing.T) {
	port := ts.FreePort(t)
	config := func(load int) string {
		var sites strings.Builder
		for id := 1; id <= *upgradeSites; id++ {
			fmt.Fprintf(&sites, "site %d {\nsecure_bindings :%d:%d.test\nrespond %d\n}\n", id, port, id, load)
		}
		return iisConfig(certificates(t, "D")+"endpoint *:"+fmt.Sprint(port)+" {\ncertificate D\n}\n"+sites.String()) +
			fmt.Sprintf("https://ordinary.test:%d {\ntls internal\nrespond \"ordinary %d\"\n}\n", port, load)
	}
	s := ts.Start(t, config(0))
	kept := make([]*ts.Client, *upgradeLoads)
	ask := func(client *ts.Client, load int) {
		t.Helper()
		answer, err := client.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "ordinary.test"})
		if err != nil || answer.Body != fmt.Sprint("ordinary ", load) {
			t.Fatalf("after load %d: %v %v", load, answer, err)
		}
	}
	load := func(i int) {
		t.Helper()
		if err := s.Load(config(i)); err != nil {
			t.Fatal(err)
		}
	}
	load(1)
	load(2)
	first := liveHeap()
	for i := range kept {
		kept[i] = ts.NewClient(ts.Request{Addr: at("127.0.0.1", port), SNI: "ordinary.test"})
		defer kept[i].Close()
		ask(kept[i], i+2)
		load(i + 3)
	}
	perLoad := float64(liveHeap()-first) / mega / float64(len(kept))
	t.Logf("%d loads of %d sites: %.2f MB for each with a connection to an ordinary site", len(kept), *upgradeSites, perLoad)
	if perLoad > 1 {
		t.Errorf("a load keeps %.2f MB for a connection to an ordinary site, want 1 MB at most", perLoad)
	}
	for _, client := range kept {
		ask(client, len(kept)+2)
		if client.Dials() != 1 {
			t.Error("a connection was not kept")
		}
	}
}
