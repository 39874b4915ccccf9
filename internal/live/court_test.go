package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
	"github.com/caddy-iis/caddy-iis/sites"
)

// places is a node whose rows may have routes of their own, as many as max_sites says.
type places struct {
	*node
	m    *memory
	s    *Source
	pool *ownroutes.Pool[string]
	max  int
}

func newPlaces(t *testing.T, maxSites int, address string) *places {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	p := &places{node: newNode(t), m: newMemory(), max: maxSites}
	p.pool = ownroutes.NewPool(
		func(json.RawMessage, *upgrades.Group, *ownroutes.Content[string]) (string, error) { return "", nil },
		func() *upgrades.Group { return upgrades.NewGroup(ctx, zap.NewNop()) }, time.Second, zap.NewNop())
	allow := &sites.AllowRoutes{Modules: []string{"http.handlers.static_response"}, MaxSites: maxSites}
	_, p.s = openSource(t, &given{table: p.m, address: address, CommonSettings: sites.CommonSettings{AllowRoutes: allow}}, p)
	serve(p.s)
	return p
}

func (p *places) Bench(s *Source) Bench {
	bench := p.bench
	bench.Limit = p.pool.Limit(s.Name, s.Routes)
	bench.Passes = func(id uint32, cfg *config.Site) (binding.Site, error) {
		return inputOf(p.t, id, cfg.ServerBindings...), bench.Limit.Admit(id, cfg.OwnRoutes != nil)
	}
	return bench
}

func (p *places) Show(s *Source, changed, gone []uint32) int {
	n := p.node.Show(s, changed, gone)
	own, err := p.pool.Ask(json.RawMessage("{}"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.pool.Touch(true, slices.Concat(changed, gone)...)
	p.pool.Settle(func(id uint32) (*ownroutes.Content[string], string) {
		if p.served(id).own {
			return own, s.Name
		}
		return nil, ""
	})
	return n
}

// wish is what a document asks for.
type wish struct {
	host string // empty: there is no site
	own  bool   // with routes of its own
}

func (w wish) document() string {
	if w.host == "" {
		return ""
	}
	routes := ""
	if w.own {
		routes = `,"routes":[{"handle":[{"handler":"static_response"}]}]`
	}
	return fmt.Sprintf(`{"server_bindings":["*:80:%s"]%s}`, w.host, routes)
}

func wishOf(document []byte) wish {
	var doc struct {
		Bindings []string `json:"server_bindings"`
		Routes   []any    `json:"routes"`
	}
	if json.Unmarshal(document, &doc) != nil || len(doc.Bindings) == 0 {
		return wish{}
	}
	return wish{strings.TrimPrefix(doc.Bindings[0], "*:80:"), doc.Routes != nil}
}

// served is what is accepted of a row.
func (p *places) served(id uint32) wish {
	row, ok, err := p.m.Row(id)
	if !ok || err != nil {
		return wish{}
	}
	return wishOf(row.Served())
}

func (p *places) all() map[uint32]wish {
	all := make(map[uint32]wish)
	for id := range p.m.theirs {
		if w := p.served(id); w.host != "" {
			all[id] = w
		}
	}
	return all
}

// settle has rows that are refused judged until nothing comes of it.
func (p *places) settle() {
	for before := -1; before != len(p.m.log); {
		before = len(p.m.log)
		p.s.Follower.reconsidered = time.Time{}
		receive(p.s, p.m)
	}
}

// write has others write rows in one transaction, and what is open judged.
func (p *places) write(rows map[uint32]wish) {
	documents := make(map[uint32]string)
	for id, w := range rows {
		documents[id] = w.document()
	}
	p.m.write(documents)
	receive(p.s, p.m)
}

// possible reports whether sites can be served beside each other, and site 1.
func possible(all map[uint32]wish, maxSites int) bool {
	own, hosts := 0, map[string]bool{"one.test": true}
	for _, w := range all {
		if hosts[w.host] {
			return false
		}
		hosts[w.host] = true
		if w.own {
			own++
		}
	}
	return own <= maxSites
}

// TestPlaceIsNotGivenTwice: a row that wants no routes of its own any more, and is refused, keeps
// its place of max_sites. Nobody else gets it, in the same transaction or a later one.
func TestPlaceIsNotGivenTwice(t *testing.T) {
	p := newPlaces(t, 1, t.Name())
	p.write(map[uint32]wish{2: {"a.test", true}})
	p.write(map[uint32]wish{3: {"c.test", false}})
	p.write(map[uint32]wish{4: {"d.test", true}})
	p.write(map[uint32]wish{2: {"c.test", false}})
	p.write(map[uint32]wish{2: {"c.test", false}, 5: {"e.test", true}, 6: {"f.test", true}})
	p.settle()
	if want := (map[uint32]wish{2: {"a.test", true}, 3: {"c.test", false}}); !maps.Equal(p.all(), want) {
		t.Fatalf("serves %v, want %v", p.all(), want)
	}
	for id, part := range map[uint32]string{2: "site 3", 4: "max_sites", 5: "max_sites", 6: "max_sites"} {
		if why := refusal(t, p.m, id); !strings.Contains(why, part) {
			t.Errorf("row %d: %q, want %q", id, why, part)
		}
	}
	p.write(map[uint32]wish{3: {}})
	p.settle()
	if want := (map[uint32]wish{2: {"c.test", false}, 5: {"e.test", true}}); !maps.Equal(p.all(), want) {
		t.Errorf("when it can leave, serves %v, want %v", p.all(), want)
	}
}

// TestPlaceIsExchanged: a place that a row leaves is taken by one of the same transaction, not by
// one that has waited for longer, whatever their ids are.
func TestPlaceIsExchanged(t *testing.T) {
	p := newPlaces(t, 1, t.Name())
	p.write(map[uint32]wish{2: {"a.test", false}, 3: {"b.test", true}})
	p.write(map[uint32]wish{4: {"d.test", true}})
	p.write(map[uint32]wish{2: {"b.test", true}, 3: {"a.test", false}})
	p.settle()
	if want := (map[uint32]wish{2: {"b.test", true}, 3: {"a.test", false}}); !maps.Equal(p.all(), want) {
		t.Fatalf("serves %v, want %v", p.all(), want)
	}
	p.write(map[uint32]wish{2: {"a.test", false}, 3: {"b.test", true}})
	p.settle()
	if want := (map[uint32]wish{2: {"a.test", false}, 3: {"b.test", true}}); !maps.Equal(p.all(), want) {
		t.Errorf("back again, serves %v, want %v", p.all(), want)
	}
}

// TestPlaces: whatever is written, no more rows are accepted with routes of their own than
// max_sites, what serves serves on, a transaction that is possible is accepted as a whole where
// nobody else waits, and no row that could be accepted by itself stays refused.
func TestPlaces(t *testing.T) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		p := newPlaces(t, rapid.IntRange(1, 2).Draw(rt, "max_sites"), fmt.Sprint(t.Name(), runs))
		host := rapid.SampledFrom([]string{"a.test", "b.test", "c.test"})
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			rows := make(map[uint32]wish)
			for range rapid.IntRange(1, 3).Draw(rt, "rows") {
				w := wish{host.Draw(rt, "host"), rapid.Bool().Draw(rt, "own")}
				if rapid.IntRange(0, 5).Draw(rt, "deletes") == 0 {
					w = wish{}
				}
				rows[rapid.Uint32Range(2, 5).Draw(rt, "id")] = w
			}
			p.transact(rt, rows)
		}
	})
}

func (p *places) transact(t *rapid.T, rows map[uint32]wish) {
	before, quiet := p.all(), len(p.s.Follower.OpenRows()) == 0
	wanted := maps.Clone(before)
	maps.Copy(wanted, rows)
	maps.DeleteFunc(wanted, func(_ uint32, w wish) bool { return w.host == "" })
	p.write(rows)
	if quiet && possible(wanted, p.max) && !maps.Equal(p.all(), wanted) {
		t.Fatalf("%v and then %v: serves %v", before, rows, p.all())
	}
	p.settle()
	now := p.all()
	if !possible(now, p.max) {
		t.Fatalf("%v and then %v: accepted is %v, max_sites %d", before, rows, now, p.max)
	}
	for id := range before {
		if w, written := rows[id]; now[id].host == "" && (!written || w.host != "") {
			t.Fatalf("%v and then %v: site %d is gone, %v", before, rows, id, now)
		}
	}
	for _, row := range p.s.Follower.OpenRows() {
		with := maps.Clone(now)
		with[row.ID] = wishOf(row.Document)
		if possible(with, p.max) {
			t.Fatalf("%v and then %v: site %d is refused (%s) beside %v, max_sites %d", before, rows, row.ID, refusal(p.t, p.m, row.ID), now, p.max)
		}
	}
}
