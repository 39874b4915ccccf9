package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// memory is a shared table in memory. What others write goes into it by write.
type memory struct {
	mu     sync.Mutex
	head   sites.Head
	rows   map[uint32]sites.Row // what this server has adopted
	theirs map[uint32]sites.Row // what the engine has
	next   sites.Head           // that the engine has
	moved  bool                 // the engine's is another table than before
	log    []sites.Transaction
	status sites.Status
	woken  int
	refuse error // of Begin
	locked bool  // since Begin
}

func newMemory() *memory {
	head := sites.Head{Source: "one", Revision: 1}
	return &memory{
		head: head, next: head, rows: make(map[uint32]sites.Row), theirs: make(map[uint32]sites.Row),
		status: sites.Status{Loaded: true, Up: true, Preferred: true, Contact: time.Now()},
	}
}

// write has others write rows that wait for a verdict; without a document a row is deleted.
func (m *memory) write(rows map[uint32]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next.Revision++
	for id, document := range rows {
		if document == "" {
			delete(m.theirs, id)
			continue
		}
		row := sites.Row{ID: id, Revision: m.next.Revision, Document: json.RawMessage(document), Open: true}
		if before, ok := m.theirs[id]; ok {
			row.Good = before.Served()
		}
		m.theirs[id] = row
	}
}

// difference is what leads from what is adopted to what the engine has.
func (m *memory) difference() *sites.Difference {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &sites.Difference{From: m.head, To: m.next, Moved: m.moved}
	for _, id := range slices.Sorted(maps.Keys(m.theirs)) {
		row := m.theirs[id]
		if before, ok := m.rows[id]; !ok || !before.Same(&row) {
			d.Rows = append(d.Rows, row)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		if _, there := m.theirs[id]; !there {
			d.Removed = append(d.Removed, id)
		}
	}
	return d
}

func (m *memory) Adopt(d *sites.Difference) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.From != m.head {
		return false
	}
	m.head, m.moved = d.To, false
	for _, row := range d.Rows {
		m.rows[row.ID] = row
	}
	for _, id := range d.Removed {
		delete(m.rows, id)
	}
	return true
}

func (m *memory) Follow(ctx context.Context, _ func(*sites.Difference)) { <-ctx.Done() }

func (m *memory) Wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.woken++
}

func (m *memory) Begin(context.Context, string) (sites.Writer, *sites.Difference, error) {
	if m.refuse != nil {
		return nil, nil, m.refuse
	}
	m.locked = true
	return m, m.difference(), nil
}

func (m *memory) End() { m.locked = false }

func (m *memory) Status() sites.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *memory) Head() (sites.Head, error) { return m.head, nil }

func (m *memory) Rows(each func(sites.Row) error) error {
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		if err := each(m.rows[id]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Row(id uint32) (sites.Row, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[id]
	return row, ok, nil
}

func (m *memory) Write(t sites.Transaction) (sites.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next.Revision++
	m.head = m.next
	m.log = append(m.log, t)
	for _, c := range t.Changes {
		if c.Document == nil {
			delete(m.theirs, c.ID)
			delete(m.rows, c.ID)
			continue
		}
		m.theirs[c.ID] = sites.Row{ID: c.ID, Revision: m.head.Revision, Document: c.Document}
		m.rows[c.ID] = m.theirs[c.ID]
	}
	for _, v := range t.Verdicts {
		row := m.theirs[v.ID]
		row.Refusal = v.Refusal
		if v.Refusal == nil {
			row.Open, row.Good = false, nil
		}
		m.theirs[v.ID], m.rows[v.ID] = row, row
	}
	return m.head, nil
}

func (m *memory) Repeated(string) (a sites.Answer, ok bool, err error) { return a, false, nil }

func (m *memory) Log(_ uint64, limit int) (list []sites.Revision, err error) {
	for i := len(m.log) - 1; i >= 0 && len(list) < limit; i-- {
		list = append(list, sites.Revision{Revision: m.head.Revision - uint64(len(m.log)-1-i), By: m.log[i].By})
	}
	return list, nil
}

func (*memory) Trim(time.Time) error { return nil }

func (*memory) Close() error { return nil }

// given is a module whose table is there already.
type given struct {
	sites.CommonSettings
	address string
	table   sites.Table
	opened  int
}

func (*given) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: sites.Namespace + ".given"} }

func (g *given) Settings() *sites.CommonSettings { return &g.CommonSettings }

func (g *given) Address() string { return g.address }

func (g *given) Open(context.Context) (sites.Table, error) {
	g.opened++
	if g.table == nil {
		return nil, errors.New("it cannot be opened")
	}
	return g.table, nil
}

// node is a configuration that shows every row that it is asked for, and has a site of its
// own.
type node struct {
	t       *testing.T
	sites   map[uint32]binding.Site
	shown   [][]uint32
	gone    [][]uint32
	settled int
	again   int
	ahead   func(documents []json.RawMessage) (provision func() (over func())) // nil: no row has routes
	bench   Bench
	tables  *binding.Tables
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, sites: map[uint32]binding.Site{1: inputOf(t, 1, "*:80:one.test")}}
	n.bench.Tables = func() *binding.Tables { return n.tables }
	n.bench.Limit = (*ownroutes.Pool[int])(nil).Limit("", nil)
	n.compile()
	n.bench.Passes = func(id uint32, cfg *config.Site) (binding.Site, error) {
		if cfg.Name == "wrong" {
			return binding.Site{}, errors.New("it is wrong")
		}
		return inputOf(t, id, cfg.ServerBindings...), nil
	}
	return n
}

func inputOf(t *testing.T, id uint32, bindings ...string) binding.Site {
	t.Helper()
	site := binding.Site{ID: id}
	for _, info := range bindings {
		parsed, err := binding.Parse("http", info)
		if err != nil {
			t.Fatal(err)
		}
		site.Bindings = append(site.Bindings, binding.SiteBinding{Binding: parsed})
	}
	return site
}

func (n *node) compile() {
	tables, _, err := binding.Compile(slices.Collect(maps.Values(n.sites)), nil, binding.Options{})
	if err != nil {
		n.t.Error(err)
		return
	}
	n.tables = tables
}

func (n *node) Again(*Source) { n.again++ }

func (n *node) Ahead(_ *Source, documents []json.RawMessage) (provision func() (over func())) {
	if n.ahead == nil {
		return nil
	}
	return n.ahead(documents)
}

func (n *node) Show(s *Source, changed, gone []uint32) int {
	n.shown, n.gone = append(n.shown, changed), append(n.gone, gone)
	for _, id := range gone {
		delete(n.sites, id)
	}
	for _, id := range changed {
		row, _, err := s.Follower.Row(id)
		if err != nil || row.Served() == nil {
			continue
		}
		if cfg, err := s.Read(row.Served()); err == nil {
			n.sites[id] = inputOf(n.t, id, cfg.ServerBindings...)
		}
	}
	n.compile()
	return len(changed)
}

func (n *node) Bench(*Source) Bench { return n.bench }

func (n *node) Settle() { n.settled++ }

// host is the document of a site with one binding.
func host(name string) string { return fmt.Sprintf(`{"server_bindings":["*:80:%s"]}`, name) }

// openSource opens a source of a configuration of its own.
func openSource(t *testing.T, module *given, n Node) (Sources, *Source) {
	t.Helper()
	if module.address == "" {
		module.address = t.Name()
	}
	if module.Name == "" {
		module.Name = "given"
	}
	var list Sources
	if err := list.Add(module, n, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if err := list.Open(t.Context(), list[0], false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := list[0].Close(); err != nil {
			t.Error(err)
		}
	})
	list[0].Lock()
	defer list[0].Unlock()
	if err := list[0].Reset(); err != nil {
		t.Fatal(err)
	}
	return list, list[0]
}

// serve makes a source the one that serves the rows.
func serve(s *Source) {
	s.TakeOver()
	s.Unlock()
}

// receive has a source take what the engine has.
func receive(s *Source, m *memory) { s.Follower.receive(m.difference()) }

// refusal is why a row is refused, empty if it is not.
func refusal(t *testing.T, m *memory, id uint32) string {
	t.Helper()
	row, ok, err := m.Row(id)
	if err != nil || !ok {
		t.Fatalf("row %d: %v %v", id, ok, err)
	}
	if row.Refusal == nil {
		return ""
	}
	return row.Refusal.Message
}
