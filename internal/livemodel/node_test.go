//go:build unix

package livemodel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/testpg"
	"github.com/caddy-iis/caddy-iis/sites"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// proxy is the network between a node and the engine.
type proxy struct {
	ln    net.Listener
	to    string
	mu    sync.Mutex
	conns map[net.Conn]bool

	frozen atomic.Bool // what comes is not passed on
}

func startProxy(t *testing.T, port int) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: fmt.Sprintf("127.0.0.1:%d", port), conns: make(map[net.Conn]bool)}
	t.Cleanup(func() { ln.Close(); p.cut() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go p.relay(conn)
		}
	}()
	return p
}

func (p *proxy) relay(conn net.Conn) {
	defer conn.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	p.conns[conn], p.conns[to] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
		delete(p.conns, to)
	}()
	go func() {
		p.pass(to, conn)
		to.Close()
	}()
	p.pass(conn, to)
}

// pass copies what comes.
func (p *proxy) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if p.frozen.Load() {
			continue // and nobody hears of it
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// node is one that serves and judges, with the real table.
type node struct {
	name    string
	network *proxy
	table   sites.Shared
	knows   string // the letters that its configuration knows
}

// open opens the table, with the local copy that there may be.
func (n *node) open() error {
	module := &postgres.Postgres{Connection: fmt.Sprintf("postgres://admin@%s/sites?sslmode=disable", n.network.ln.Addr())}
	if err := module.Provision(caddy.Context{}); err != nil {
		return err
	}
	table, err := module.Open(context.Background())
	if err != nil {
		return err
	}
	n.table = table.(sites.Shared)
	return nil
}

// restart ends the node and starts it again, after a clean exit or as after a kill: then
// the local copy is the one that there was.
func (n *node) restart(folder string, kill bool) error {
	before := make(map[string][]byte)
	files, _ := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		before[file] = raw
	}
	if err := n.table.Close(); err != nil {
		return err
	}
	if kill {
		for file, raw := range before {
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				return err
			}
		}
	}
	return n.open()
}

// read follows until it has taken what there is.
func (n *node) read() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	taken := false
	n.table.Follow(ctx, func(d *sites.Difference) {
		if d.Empty() || n.table.Adopt(d) {
			taken = true
			cancel()
		}
	})
	if !taken {
		return fmt.Errorf("%s does not reach the engine: %s", n.name, n.table.Status().Error)
	}
	return nil
}

// letters are what a document wants.
func letters(document json.RawMessage) string {
	var d struct {
		Letters string `json:"letters"`
	}
	_ = json.Unmarshal(document, &d) // all documents are of this test
	return d.Letters
}

func documentOf(letters string, version int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"letters":%q,"version":%d}`, letters, version))
}

func meet(a, b string) bool { return a != "" && strings.ContainsAny(a, b) }

// court implements sites.Court.
type court struct {
	knows  string
	wanted map[uint32]string
	served map[uint32]string
}

func (n *node) court() (*court, []sites.Open, error) {
	c := &court{knows: n.knows, wanted: make(map[uint32]string), served: make(map[uint32]string)}
	var open []sites.Open
	err := n.table.Rows(func(row sites.Row) error {
		if served := row.Served(); served != nil {
			c.served[row.ID] = letters(served)
		}
		if row.Open {
			open = append(open, sites.Open{ID: row.ID, Revision: row.Revision})
			c.wanted[row.ID] = letters(row.Document)
		}
		return nil
	})
	return c, open, err
}

// Alone implements sites.Court.
func (c *court) Alone(id uint32) *sites.Refusal {
	if strings.Trim(c.wanted[id], c.knows) != "" {
		return &sites.Refusal{Code: "invalid", Message: "a letter is not known"}
	}
	return nil
}

// Beside implements sites.Court.
func (c *court) Beside(candidates, accepted []uint32) (taken, among map[uint32]*sites.Refusal) {
	taken, among = make(map[uint32]*sites.Refusal), make(map[uint32]*sites.Refusal)
	for i, id := range candidates {
		for other, doc := range c.served {
			if slices.Contains(candidates, other) {
				continue
			}
			if slices.Contains(accepted, other) {
				doc = c.wanted[other]
			}
			if meet(c.wanted[id], doc) {
				taken[id] = &sites.Refusal{Code: "conflict", Other: other}
			}
		}
		for _, other := range accepted {
			if meet(c.wanted[id], c.wanted[other]) {
				taken[id] = &sites.Refusal{Code: "conflict", Other: other}
			}
		}
		for _, other := range candidates[:i] {
			if meet(c.wanted[id], c.wanted[other]) {
				among[id] = &sites.Refusal{Code: "conflict", Other: other}
			}
		}
	}
	return taken, among
}

// judge judges what is open, and reports whether it has written anything.
func (n *node) judge() (bool, error) {
	w, d, err := n.table.Begin(context.Background(), "judge")
	if err != nil {
		return false, err
	}
	defer w.End()
	if !d.Empty() && !n.table.Adopt(d) {
		return false, errors.New("the state has moved while the table was locked")
	}
	c, open, err := n.court()
	if err != nil {
		return false, err
	}
	accepted, refused := sites.Judge(open, c)
	var verdicts []sites.Verdict
	for _, id := range accepted {
		verdicts = append(verdicts, sites.Verdict{ID: id})
	}
	for id, reason := range refused {
		if row, _, _ := n.table.Row(id); row.Refusal == nil {
			verdicts = append(verdicts, sites.Verdict{ID: id, Refusal: reason})
		}
	}
	if len(verdicts) == 0 {
		return false, nil
	}
	_, err = w.Write(sites.Transaction{By: "judge", Verdicts: verdicts})
	return true, err
}

// errRefused is that of a change that contradicts others.
var errRefused = errors.New("refused")

// write makes a change as the API does. While it commits, the network may be cut.
func (n *node) write(c sites.Change, cut time.Duration) (sites.Head, error) {
	w, d, err := n.table.Begin(context.Background(), "api")
	if err != nil {
		return sites.Head{}, err
	}
	defer w.End()
	if !d.Empty() && !n.table.Adopt(d) {
		return sites.Head{}, errors.New("the state has moved while the table was locked")
	}
	if c.Document != nil {
		court, _, err := n.court()
		if err != nil {
			return sites.Head{}, err
		}
		court.wanted[c.ID] = letters(c.Document)
		if taken, _ := court.Beside([]uint32{c.ID}, nil); len(taken) > 0 || court.Alone(c.ID) != nil {
			return sites.Head{}, errRefused
		}
	}
	if cut > 0 {
		timer := time.AfterFunc(cut, n.network.cut)
		defer timer.Stop()
	}
	return w.Write(sites.Transaction{By: "api", Changes: []sites.Change{c}})
}

// startEngine runs the engine and the networks of some nodes.
func startEngine(t *testing.T, count int) (engine *testpg.Server, connection string, nodes []*node) {
	t.Helper()
	engine = testpg.Start(t)
	connection = engine.Database("sites")
	for i := range count {
		nodes = append(nodes, &node{name: fmt.Sprint("node ", i), network: startProxy(t, engine.Port())})
	}
	return engine, connection, nodes
}
