//go:build linux

package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// wire is the network between a Caddy and PostgreSQL.
type wire struct {
	ln    net.Listener
	to    string
	mu    sync.Mutex
	conns map[net.Conn]bool
	away  bool // nobody gets through

	deaf atomic.Bool // notifications are lost
	mute atomic.Bool // answers are lost

	// What happens when a transaction that writes is about to commit, once. It may call
	// send, or else the commit is lost.
	onCommit atomic.Pointer[func(send func())]
}

func startWire(t *testing.T, port int) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, to: fmt.Sprintf("127.0.0.1:%d", port), conns: make(map[net.Conn]bool)}
	t.Cleanup(func() { ln.Close(); w.cut(true) })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.relay(conn)
		}
	}()
	return w
}

// through is a connection string that leads through the wire.
func (w *wire) through(connection string) string {
	return strings.Replace(connection, w.to, w.ln.Addr().String(), 1)
}

// cut ends all connections, and lets others through or not.
func (w *wire) cut(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
	for conn := range w.conns {
		conn.Close()
	}
}

// keep notes the two ends of a connection, and reports whether it is let through.
func (w *wire) keep(a, b net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[a], w.conns[b] = true, true
	return !w.away
}

func (w *wire) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer server.Close()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, client)
		delete(w.conns, server)
	}()
	if !w.keep(client, server) {
		return
	}
	go func() {
		w.answers(client, server)
		client.Close()
	}()
	w.requests(server, client)
}

// requests passes on what a Caddy says.
func (w *wire) requests(to, from net.Conn) {
	writes := false
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		send := func() { _, err = to.Write(buf[:n]) }
		switch {
		case bytes.Contains(buf[:n], []byte("select iis.write()")):
			writes = true
		case writes && bytes.Contains(buf[:n], []byte("commit\x00")):
			writes = false
			if on := w.onCommit.Swap(nil); on != nil {
				(*on)(send)
				continue
			}
		}
		if send(); err != nil {
			return
		}
	}
}

// answers passes on what PostgreSQL says.
func (w *wire) answers(to, from net.Conn) {
	const notification = 'A'
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if w.mute.Load() || w.deaf.Load() && buf[0] == notification {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// atCommit says what happens at the next commit of a change or a verdict, and returns
// what is closed when it has happened.
func (w *wire) atCommit(do func(send func())) (done chan struct{}) {
	done = make(chan struct{})
	on := func(send func()) {
		defer close(done)
		do(send)
	}
	w.onCommit.Store(&on)
	return done
}

// otherNode is a node in a process of its own, on an address of its own, behind a wire.
type otherNode struct {
	*program
	*wire
	node  *farmNode // with which it shares the sites
	admin int
	file  string
	kill  func()
}

const otherAddress = "127.0.0.2"

// databases counts those of twoNodes.
var databases atomic.Int64

// twoNodes runs two nodes on a database of their own: first one behind a wire in a process
// of its own, which therefore judges, then one in this process.
func twoNodes(t *testing.T, engine *testpg.Server) (*farmNode, *otherNode) {
	t.Helper()
	n := newFarmNode(t, engine, fmt.Sprintf("sites%d", databases.Add(1)), "")
	o := &otherNode{program: &program{t: t, home: t.TempDir()}, wire: startWire(t, engine.Port()), node: n, admin: ts.FreePort(t)}
	o.file = filepath.Join(o.home, "Caddyfile")
	config := fmt.Sprintf(`{
		admin 127.0.0.1:%d
		iis {
			listen %s
			sites_from postgres %s
			defaults {
				respond "default {iis.site.id}"
			}
			site 1 Configured {
				server_bindings :%d:configured.test
				respond configured
			}
		}
	}`, o.admin, otherAddress, o.through(n.connection), n.plain)
	if err := os.WriteFile(o.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o.start()
	n.Server = ts.Start(t, n.config("listen 127.0.0.1"))
	return n, o
}

func (o *otherNode) start() {
	o.t.Helper()
	o.kill = o.run("http://"+at(otherAddress, o.node.plain), o.admin, "--config", o.file, "--adapter", "caddyfile")
}

// ask makes a request to the node's API.
func (o *otherNode) ask(method, path, body string) (status int, answer string, err error) {
	return askPort(o.admin, method, path, body)
}

// want makes a request whose status is known.
func (o *otherNode) want(status int, method, path, body string) {
	o.t.Helper()
	if got, answer, err := o.ask(method, path, body); err != nil || got != status {
		o.t.Fatalf("the other node: %s %s: %d %s, %v, want %d", method, path, got, answer, err, status)
	}
}

// serves waits until a host gets a body.
func (o *otherNode) serves(host, body string) {
	o.t.Helper()
	waitFor(o.t, fmt.Sprintf("%s: %q at the other node", host, body), func() bool { return gets(at(otherAddress, o.node.plain), host, body) })
}

// gets reports whether a host gets a body over http; an empty one means nobody.
func gets(address, host, body string) bool {
	answer, err := ts.Do(ts.Request{Addr: address, Host: host, Plain: true})
	return err == nil && (body == "" && answer.Status == 400 || body != "" && answer.Status == 200 && answer.Body == body)
}

// metric is the value of a metric of the source.
func (o *otherNode) metric(name string) string {
	o.t.Helper()
	text, err := body(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.admin))
	if err != nil {
		o.t.Fatal(err)
	}
	_, value, _ := strings.Cut(text, "\n"+name+`{source="postgres"} `)
	value, _, _ = strings.Cut(value, "\n")
	return value
}

// source is what the node says of its source.
func (o *otherNode) source() (s adminapi.Source) {
	o.t.Helper()
	var page adminapi.Page[adminapi.Source]
	_, answer, err := o.ask("GET", "sources", "")
	if err == nil {
		err = json.Unmarshal([]byte(answer), &page)
	}
	if err != nil || len(page.Items) != 1 {
		o.t.Fatal(answer, err)
	}
	return page.Items[0]
}

// copies are the local copies of the node, and what is there of such as were begun.
func (o *otherNode) copies(pattern string) []string {
	o.t.Helper()
	files, err := filepath.Glob(filepath.Join(o.copiesIn(), pattern))
	if err != nil {
		o.t.Fatal(err)
	}
	return files
}

func (o *otherNode) copiesIn() string { return filepath.Join(o.home, "caddy", "iis", "sites") }
