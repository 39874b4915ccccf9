package live

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/sites"
)

// TestClaims: rows may have what the configuration and the standard ports have, without wildcard
// and without catch-all, unless allow says something else.
func TestClaims(t *testing.T) {
	own := []binding.Site{inputOf(t, 1, "192.0.2.1:8080:own.test"), inputOf(t, 2, "*:80:all.test", "*:80:*.all.test", "*:8080:")}
	endpoints := []binding.Endpoint{{IP: netip.MustParseAddr("192.0.2.2"), Port: 8443}}
	listen := []netip.Addr{netip.MustParseAddr("192.0.2.3")}
	binds := func(infos ...string) *binding.Site {
		site := inputOf(t, 5, infos...)
		return &site
	}
	named := func(certificate string, flags binding.Flags) *binding.Site {
		site := inputOf(t, 5, "*:80:a.test")
		site.Bindings[0].Certificate, site.Bindings[0].Flags = certificate, flags
		return &site
	}
	allow := &sites.Allow{
		Ports: []uint16{9000}, Addresses: []string{"::ffff:192.0.2.9"}, Hosts: []string{"*.Example.test", "one.test"},
		Wildcards: true, CatchAll: true, Templates: []string{"php"}, Certificates: []string{"web"},
	}
	php := &config.Site{Template: "php"}
	for _, c := range []struct {
		name  string
		allow *sites.Allow
		cfg   *config.Site
		site  *binding.Site
		part  string // of the refusal; empty: there is none
	}{
		{"standard ports", nil, nil, binds("*:80:a.test", "*:443:a.test"), ""},
		{"a port of the configuration", nil, nil, binds("*:8080:a.test"), ""},
		{"a port of an endpoint", nil, nil, binds("*:8443:a.test"), ""},
		{"another port", nil, nil, binds("*:8081:a.test"), "port 8081"},
		{"an address of a site", nil, nil, binds("192.0.2.1:80:a.test"), ""},
		{"an address of an endpoint", nil, nil, binds("192.0.2.2:80:a.test"), ""},
		{"an address of listen", nil, nil, binds("192.0.2.3:80:a.test"), ""},
		{"a host that the configuration has at all addresses", nil, nil, binds("192.0.2.3:80:all.test"), `it would take this host at 192.0.2.3 from site "2"`},
		{"the same on another port", nil, nil, binds("192.0.2.3:443:all.test"), ""},
		{"one below a wildcard of the configuration", nil, nil, binds("192.0.2.3:80:www.all.test"), ""},
		{"the wildcard", &sites.Allow{Wildcards: true}, nil, binds("192.0.2.3:80:*.all.test"), "it would take this host"},
		{"what no site has", &sites.Allow{CatchAll: true}, nil, binds("192.0.2.3:8080:"), "it would take this host"},
		{"at an address that is allowed", &sites.Allow{Addresses: []string{"192.0.2.9"}}, nil, binds("192.0.2.9:80:all.test"), "it would take this host"},
		{"another address", nil, nil, binds("192.0.2.4:80:a.test"), "address 192.0.2.4"},
		{"no host", nil, nil, binds("*:80:"), "allow catch_all"},
		{"a wildcard host", nil, nil, binds("*:80:*.a.test"), "allow wildcards"},
		{"any certificate", nil, nil, named("any", 0), ""},
		{"the second of two", nil, nil, binds("*:80:a.test", "*:81:a.test"), "port 81"},

		{"a port that is allowed", allow, php, binds("*:9000:one.test"), ""},
		{"a standard port that is not", allow, php, binds("*:80:one.test"), "port 80"},
		{"an address that is allowed", allow, php, binds("192.0.2.9:9000:one.test"), ""},
		{"one of the configuration that is not", allow, php, binds("192.0.2.1:9000:one.test"), "address 192.0.2.1"},
		{"a host that is allowed", allow, php, binds("*:9000:a.b.example.test"), ""},
		{"a wildcard host that is allowed", allow, php, binds("*:9000:*.example.test"), ""},
		{"the host below which others are", allow, php, binds("*:9000:example.test"), "host example.test"},
		{"no host, which is allowed", allow, php, binds("*:9000:"), ""},
		{"another template", allow, &config.Site{Template: "static"}, binds("*:9000:one.test"), `template "static"`},
		{"routes of its own without template", allow, &config.Site{OwnRoutes: []byte("{}")}, binds("*:9000:one.test"), ""},
		{"a certificate that is allowed", &sites.Allow{Certificates: []string{"web"}}, nil, named("web", 0), ""},
		{"another certificate", &sites.Allow{Certificates: []string{"web"}}, nil, named("mail", 0), `certificate "mail"`},
		{"the central store", &sites.Allow{Certificates: []string{"web"}}, nil, named("", binding.FlagCentralStore), "central store"},
		{"the central store, which is allowed", &sites.Allow{Certificates: []string{certsel.CentralStoreName}}, nil, named("", binding.FlagCentralStore), ""},
	} {
		s := &Source{CommonSettings: &sites.CommonSettings{Allow: c.allow}}
		Sources{s}.CompileClaims(own, endpoints, listen)
		if c.cfg == nil {
			c.cfg = new(config.Site)
		}
		err := s.Permits(c.cfg, c.site)
		if (c.part == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, want %q", c.name, err, c.part)
		}
	}
}

// TestRead: a document is one JSON object of a site. What only the configuration may say is
// refused, and routes where the source does not let rows have some.
func TestRead(t *testing.T) {
	var list Sources
	if err := list.Add(&given{CommonSettings: sites.CommonSettings{Name: "none"}, address: "none"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	for document, part := range map[string]string{
		`{"name":"a","server_bindings":["*:80:a.test"]}`: "",
		`{"w3c_log":{"off":true}}`:                       "",
		`{"w3c_log":{"folder":"logs"}}`:                  "w3c_log",
		`{"nonsense":1}`:                                 "nonsense",
		`{} {}`:                                          "more than one",
		`{`:                                              "",
		`{"routes":[{"handle":[{"handler":"static_response"}]}]}`: "routes",
	} {
		cfg, err := list[0].Read([]byte(document))
		if document == "{" {
			part = err.Error() // whatever it says
		}
		if (part == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), part) || err == nil && cfg == nil {
			t.Errorf("%s: %v, want %q", document, err, part)
		}
	}
}

// TestHeld: rows that are held back are told and counted once each, are tried in turn, and are
// let go when they are written or gone.
func TestHeld(t *testing.T) {
	m, n := newMemory(), newNode(t)
	list, s := openSource(t, &given{table: m}, n)
	m.write(map[uint32]string{2: host("two.test"), 3: host("three.test"), 4: host("four.test")})
	serve(s)
	receive(s, m)
	for _, id := range []uint32{4, 2, 3, 9} {
		site := inputOf(t, id)
		site.Name = "named"
		s.Hold(id, HeldBack{Reason: "why", Waits: id != 3}, site)
	}
	waits := func(h *HeldBack) bool { return h.Waits }
	all := func(want ...uint32) {
		t.Helper()
		if ids := s.AllHeldIDs(); !slices.Equal(ids, want) {
			t.Errorf("all that are held: %v, want %v", ids, want)
		}
	}
	all(2, 3, 4, 9)
	if ids := s.HeldIDs(waits); !slices.Equal(ids, []uint32{2, 4, 9}) {
		t.Errorf("held: %v", ids)
	}
	var turns [][]uint32
	for range 3 {
		turns = append(turns, s.NextHeld(2, waits))
	}
	if !slices.EqualFunc(turns, [][]uint32{{2, 4}, {2, 9}, {4, 9}}, slices.Equal) {
		t.Errorf("tried: %v", turns)
	}
	if count := s.CountHeld([]uint32{3, 5, 5, 6}); count != 6 {
		t.Errorf("%d are held back, in all or in part", count)
	}
	if held, source := list.HeldRow(2); source != s || held.Name != "named" {
		t.Errorf("row 2: %+v", held)
	}
	if _, source := list.HeldRow(5); source != nil {
		t.Error("row 5 is held back")
	}
	if finding, ok := s.HeldFinding(2); !ok || finding.Site != 2 || !strings.Contains(finding.Message, "why") {
		t.Errorf("finding: %+v", finding)
	}
	news := s.Follower.News()
	s.LetGo(2)
	all(3, 4, 9)
	select {
	case <-news:
	default:
		t.Error("who waits for row 2 does not learn that it was let go")
	}
	s.Lock()
	_, gone := s.Moved(map[uint32]bool{1: true, 9: true})
	s.Unlock()
	if !slices.Equal(gone, []uint32{1, 9}) {
		t.Errorf("gone are %v", gone)
	}
}
