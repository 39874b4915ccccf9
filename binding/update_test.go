package binding

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestUpdateAgreesWithCompile applies differences one after the other and
// compares each outcome with what Compile makes of all sites.
func TestUpdateAgreesWithCompile(t *testing.T) {
	updated, compiled := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tidy := rapid.IntRange(0, 3).Draw(t, "tidy") > 0
		sites, endpoints, opts := holdSome(t, drawSites(t, tidy)), drawEndpoints(t), drawOptions(t)
		opts.FirstWins = rapid.IntRange(0, 3).Draw(t, "first wins") == 0
		if rapid.IntRange(0, 3).Draw(t, "base") > 0 {
			// Something that stays, so that not every difference moves sockets.
			sites = append(sites, site(99, "http *:80:base", "https *:81: cert=A", "http 10.0.0.1:80:base"))
		}
		tables, _, err := Compile(sites, endpoints, opts)
		if err != nil {
			return
		}
		for range rapid.IntRange(1, 4).Draw(t, "updates") {
			changed, removed := drawDifference(t, tidy)
			sites = applied(sites, changed, removed)
			want, findings, err := Compile(sites, endpoints, opts)
			got, ok := tables.Update(changed, removed)
			if err != nil {
				if ok {
					t.Fatalf("update accepted what cannot be: %v", err)
				}
				return
			}
			if !ok {
				compiled++
				tables = want
				continue
			}
			updated++
			before, _, _ := Compile(slices.Concat(tables.Inputs(), tables.HeldBack()), endpoints, opts)
			compareTables(t, tables, before) // it must not have changed
			_, old, _ := Compile(slices.Concat(tables.Inputs(), tables.HeldBack()), endpoints, opts)
			if fmt.Sprint(old) != fmt.Sprint(findings) {
				t.Fatalf("findings changed:\n%v\nto\n%v", old, findings)
			}
			compareTables(t, got, want)
			tables = got
		}
	})
	t.Logf("%d differences by update, %d by compiling", updated, compiled)
	if updated == 0 || compiled == 0 {
		t.Error("only one way was tried")
	}
}

func drawDifference(t *rapid.T, tidy bool) (changed []Site, removed []uint32) {
	used := make(map[uint32]bool)
	for _, s := range holdSome(t, drawSites(t, tidy)) {
		s.ID = uint32(rapid.IntRange(1, 6).Draw(t, "id"))
		if !used[s.ID] {
			changed = append(changed, s)
		}
		used[s.ID] = true
	}
	if len(changed) > 2 && rapid.Bool().Draw(t, "few") {
		changed = changed[:1]
	}
	for range rapid.IntRange(0, 2).Draw(t, "removed") {
		id := uint32(rapid.IntRange(1, 6).Draw(t, "removed id"))
		if !slices.ContainsFunc(changed, func(s Site) bool { return s.ID == id }) {
			removed = append(removed, id)
		}
	}
	return changed, removed
}

// holdSome has some sites held back, and some served partly.
func holdSome(t *rapid.T, sites []Site) []Site {
	for i := range sites {
		sites[i].HeldBack = rapid.IntRange(0, 3).Draw(t, "held back") == 0
		sites[i].Partly = !sites[i].HeldBack && rapid.IntRange(0, 3).Draw(t, "partly") == 0
	}
	return sites
}

func applied(sites, changed []Site, removed []uint32) []Site {
	sites = slices.DeleteFunc(slices.Clone(sites), func(s Site) bool {
		return slices.Contains(removed, s.ID) || slices.ContainsFunc(changed, func(c Site) bool { return c.ID == s.ID })
	})
	return append(sites, changed...)
}

// compareTables asks two tables everything.
func compareTables(t *rapid.T, got, want *Tables) {
	if g, w := describe(got), describe(want); g != w {
		t.Fatalf("update made\n%s\ncompile makes\n%s", g, w)
	}
	for _, ip := range someLocals {
		for port := uint16(80); port <= 81; port++ {
			to := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
			gp, gc := got.Covers(to)
			wp, wc := want.Covers(to)
			if gp != wp || gc != wc {
				t.Fatalf("%s: covered %v %v, want %v %v", to, gp, gc, wp, wc)
			}
			for _, name := range someNames {
				if g, w := fmt.Sprint(answers(got, to, name)), fmt.Sprint(answers(want, to, name)); g != w {
					t.Fatalf("%s to %s:\n%s\nwant\n%s", name, to, g, w)
				}
			}
		}
	}
}

func answers(tables *Tables, to netip.AddrPort, name string) []string {
	c := tables.Certificate(to, name)
	list := []string{fmt.Sprint(c.Rule, c.Reason, c.Known, describeRecord(c.Record), c.FallbackRule, describeRecord(c.Fallback))}
	host, _ := Host(name)
	for _, p := range []Protocol{HTTP, HTTPS} {
		s := tables.Site(to, p, host)
		line := s.Rule.String()
		if s.Binding != nil {
			line += " " + bindingLabel(s.Binding)
		}
		list = append(list, line, tables.ExplainSite(to, p, name).String())
	}
	return append(list, tables.ExplainCertificate(to, name).String())
}

func describeRecord(r *Record) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprint(r.Kind, " ", r.Key(), " ", r.Certificate, " ", r.TLS, " ", r.Flags, r.SNIMissing, r.SNIUnmatched, r.inherited, r.lent)
}

// describe lists everything in the tables, slots aside.
func describe(tables *Tables) string {
	var lines, records []string
	slots := make(map[int]bool)
	for _, s := range tables.Sites() {
		lines = append(lines, fmt.Sprint(siteLabel(s), s.State))
		if slots[s.Index] || s.Index >= tables.SiteSlots() {
			lines = append(lines, "bad slot")
		}
		slots[s.Index] = true
	}
	for b := range tables.Bindings() {
		lines = append(lines, fmt.Sprint(bindingLabel(b), " ", b.Flags, b.Certificate, b.TLS, " ", describeRecord(b.Record)))
	}
	for _, b := range tables.LeftOut() {
		lines = append(lines, "left out: "+bindingLabel(b))
	}
	sites := tables.RecordSites()
	slots = make(map[int]bool)
	for r := range tables.Records() {
		records = append(records, fmt.Sprint(describeRecord(r), sites[r.Index], tables.updates.makers.At(r.Index)))
		if slots[r.Index] || tables.Record(r.Index) != r {
			records = append(records, "bad slot")
		}
		slots[r.Index] = true
	}
	slices.Sort(records)
	for _, e := range tables.Endpoints() {
		lines = append(lines, fmt.Sprint(e.String(), e.Protocol))
	}
	return strings.Join(append(lines, records...), "\n")
}

// TestUpdateHandles lists the differences that cost no Compile: what hosters do
// every day.
func TestUpdateHandles(t *testing.T) {
	base := func() []Site {
		return []Site{
			site(1, "http *:80:", "https *:443: cert=default"),
			site(2, "http *:80:a", "https *:443:a cert=default"),
			site(3, "http *:80:b", "https *:443:b flags=1 cert=B"),
			site(4, "http 10.0.0.1:80:", "http *:80:c", "https *:443:*.c"),
			stopped(site(5, "http *:80:d")),
			site(6, "http *:80:", "https *:443:e flags=2"),
		}
	}
	base6 := base()
	base6[5].Bindings[0].Host = "e"
	for name, tc := range map[string]struct {
		changed []Site
		removed []uint32
		complex bool
	}{
		"nothing":                      {},
		"a new host":                   {changed: []Site{site(7, "http *:80:n", "https *:443:n")}},
		"a new host with its own name": {changed: []Site{site(7, "https *:443:n flags=1 cert=N")}},
		"a wildcard host":              {changed: []Site{site(7, "http *:80:*.n", "https *:443:*.n cert=default")}},
		"another host":                 {changed: []Site{site(2, "http *:80:a2", "https *:443:a2 cert=default")}},
		"another certificate":          {changed: []Site{site(3, "http *:80:b", "https *:443:b flags=1 cert=B2")}},
		"one site less":                {removed: []uint32{3}},
		"a site that never was":        {removed: []uint32{70}},
		"stop":                         {changed: []Site{stopped(site(2, "http *:80:a", "https *:443:a cert=default"))}},
		"start":                        {changed: []Site{site(5, "http *:80:d")}},
		"two sites exchange hosts":     {changed: []Site{site(2, "http *:80:b", "https *:443:b flags=1 cert=B"), site(3, "http *:80:a", "https *:443:a cert=default")}},
		"the only site of an address":  {changed: []Site{site(4, "http 10.0.0.1:80:", "http *:80:c2", "https *:443:*.c")}},
		"central store":                {changed: []Site{site(7, "https *:443:n flags=2")}},

		"a new port":               {complex: true, changed: []Site{site(7, "http *:81:n")}},
		"a new address":            {complex: true, changed: []Site{site(7, "http 10.0.0.2:80:n")}},
		"the last of an address":   {complex: true, changed: []Site{site(4, "http *:80:c", "https *:443:*.c")}},
		"a taken host":             {complex: true, changed: []Site{site(7, "http *:80:a")}},
		"a certificate too many":   {complex: true, changed: []Site{site(7, "https *:443:n cert=N")}},
		"a name by wildcard":       {complex: true, changed: []Site{site(7, "https *:443:*.n flags=1 cert=N")}},
		"the other protocol":       {complex: true, changed: []Site{site(7, "http *:443:n")}},
		"a bad binding":            {complex: true, changed: []Site{site(7, "https *:443: flags=1")}},
		"the last of the store":    {complex: true, removed: []uint32{6}},
		"a certificate by address": {complex: true, changed: []Site{site(7, "https 10.0.0.1:443:n cert=N")}},
	} {
		t.Run(name, func(t *testing.T) {
			tables := compile(t, base6, nil, Options{CentralStore: true})
			got, ok := tables.Update(tc.changed, tc.removed)
			if ok == tc.complex {
				t.Fatalf("handled: %v", ok)
			}
			if !ok {
				return
			}
			want := compile(t, applied(base6, tc.changed, tc.removed), nil, Options{CentralStore: true})
			if g, w := describe(got), describe(want); g != w {
				t.Errorf("update made\n%s\ncompile makes\n%s", g, w)
			}
		})
	}
}

// TestUpdateMany: slots and shards are used again however many differences come.
func TestUpdateMany(t *testing.T) {
	const hosts = 3000
	tables := compile(t, manyHosts(hosts), nil, Options{})
	sites, records := tables.SiteSlots(), tables.RecordSlots()
	for i := range 2000 {
		id := uint32(2 + i%hosts)
		host := fmt.Sprintf("www.new-%d.example", i)
		next, ok := tables.Update([]Site{{ID: id, Bindings: []SiteBinding{
			{Binding: Binding{Port: 80, Host: host}},
			{Binding: Binding{Protocol: HTTPS, Port: 443, Host: host}, Flags: FlagSNI, Certificate: "n"},
		}}}, nil)
		if !ok && i%10 != 9 { // wildcards
			t.Fatalf("site %d: not handled", id)
		} else if ok {
			tables = next
		}
	}
	if got := tables.SiteSlots(); got != sites {
		t.Errorf("%d slots for sites, were %d", got, sites)
	}
	if got := tables.RecordSlots(); got > records+hosts/2 {
		t.Errorf("%d slots for records, were %d", got, records)
	}
	if s := tables.Site(local("10.0.0.9:80"), HTTP, mustHost(t, "www.new-1990.example")); s.Rule != D2_3 {
		t.Errorf("rule %s", s.Rule)
	}
	if s := tables.Site(local("10.0.0.9:80"), HTTP, mustHost(t, "www.customer-0.example")); s.Rule != D2_7 {
		t.Errorf("rule %s", s.Rule)
	}
}

// TestUpdateLetsGo: sites that are there from the beginning keep nothing of those in memory
// that took the place of the others.
func TestUpdateLetsGo(t *testing.T) {
	const hosts, stays = 5000, 250
	used := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	sites, empty := manyHosts(hosts), used()
	tables := compile(t, sites, nil, Options{})
	before := used() - empty
	for i := 1; i < len(sites); i++ {
		if i%stays == 0 {
			continue
		}
		next, ok := tables.Update(sites[i:i+1], nil)
		if !ok {
			t.Fatalf("site %d: not handled", sites[i].ID)
		}
		tables = next
	}
	after := used() - empty
	t.Logf("%d bytes, then %d", before, after)
	if after > before*3/2 {
		t.Errorf("%d bytes, before %d", after, before)
	}
	runtime.KeepAlive(sites)
	runtime.KeepAlive(tables)
}

func mustHost(t *testing.T, header string) HostName {
	t.Helper()
	host, ok := Host(header)
	if !ok {
		t.Fatal(header)
	}
	return host
}

func BenchmarkUpdate(b *testing.B) {
	for _, hosts := range sizes[1:] {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			tables := compile(b, manyHosts(hosts), nil, Options{})
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				id := uint32(2 + i*2%hosts)
				_, ok := tables.Update([]Site{{ID: id, Bindings: []SiteBinding{{Binding: Binding{Port: 80, Host: fmt.Sprintf("n%d", i)}}}}}, nil)
				if !ok && id%10 != 1 {
					b.Fatal(id)
				}
			}
		})
	}
}
