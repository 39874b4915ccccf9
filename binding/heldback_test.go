package binding

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestHeldBackDisplacesNobody: what sites that are held back ask for changes no answer
// but those that they give, and makes no list or finding different.
func TestHeldBackDisplacesNobody(t *testing.T) {
	answered := 0
	rapid.Check(t, func(t *rapid.T) {
		tidy := rapid.IntRange(0, 3).Draw(t, "tidy") > 0
		sites, endpoints, opts := holdSome(t, drawSites(t, tidy)), drawEndpoints(t), drawOptions(t)
		live := slices.DeleteFunc(slices.Clone(sites), func(s Site) bool { return s.HeldBack })
		with, findings, err := Compile(sites, endpoints, opts)
		without, before, errBefore := Compile(live, endpoints, opts)
		if fmt.Sprint(findings, err) != fmt.Sprint(before, errBefore) {
			t.Fatalf("got %v, %v\nwithout those that are held back: %v, %v", findings, err, before, errBefore)
		}
		if err != nil {
			return
		}
		if fmt.Sprint(with.Inputs(), with.Endpoints()) != fmt.Sprint(without.Inputs(), without.Endpoints()) {
			t.Fatal("sites or sockets are not the same")
		}
		for _, ip := range someLocals {
			for port := uint16(80); port <= 81; port++ {
				for _, name := range someNames {
					answered += compareHeld(t, with, without, netip.AddrPortFrom(netip.MustParseAddr(ip), port), name)
				}
			}
		}
	})
	if answered == 0 {
		t.Error("no site that is held back had a request")
	}
}

// compareHeld compares what a name gets, and counts the requests of sites that are held back.
func compareHeld(t *rapid.T, with, without *Tables, to netip.AddrPort, name string) (held int) {
	host, _ := Host(name)
	for _, p := range []Protocol{HTTP, HTTPS} {
		got, want := with.Site(to, p, host), without.Site(to, p, host)
		switch {
		case got.Site == nil && want.Site == nil:
		case got.Site == nil || !got.Site.HeldBack && (want.Site == nil || got.Site.ID != want.Site.ID || got.Rule != want.Rule):
			t.Fatalf("%s %s to %s: %+v, and without those that are held back %+v", p, name, to, got, want)
		case got.Site.HeldBack:
			held++
			// Of one rule, a longer wildcard or an address other than [::] comes first, as for
			// sites that are served.
			nearer := got.Rule == D2_4 || got.Rule == D2_5 || want.Site != nil && want.Rule == got.Rule && want.Binding.IP != got.Binding.IP
			if want.Site != nil && want.Rule <= got.Rule && !nearer {
				t.Fatalf("%s %s to %s: %s is displaced by %+v", p, name, to, want.Rule, got)
			}
		}
	}
	got, want := with.Certificate(to, name), without.Certificate(to, name)
	owner := with.Site(to, HTTPS, host)
	if owner.Site != nil && !owner.Site.HeldBack && fmt.Sprint(got.Rule, got.Reason, describeRecord(got.Record)) != fmt.Sprint(want.Rule, want.Reason, describeRecord(want.Record)) {
		t.Fatalf("%s to %s: %s %s, and without those that are held back %s %s", name, to, got.Rule, describeRecord(got.Record), want.Rule, describeRecord(want.Record))
	}
	return held
}

// TestHeldBack: a site that is held back has what nobody else has, beside a wildcard.
func TestHeldBack(t *testing.T) {
	hold := func(s Site) Site { s.HeldBack = true; return s }
	sites := []Site{
		site(1, "http *:80:*.d", "https *:81:*.d flags=1 cert=A"),
		site(2, "http *:80:b.d"),
		hold(site(3, "http *:80:a.d", "http *:80:b.d", "https *:81:a.d flags=1 cert=B", "http *:90:a.d")),
		hold(site(4, "http *:80:a.d", "https *:82:a.d")),
	}
	tables, _, err := Compile(sites, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(tables *Tables, port uint16, p Protocol, name string, id uint32, held bool) {
		t.Helper()
		host, _ := Host(name)
		got := tables.Site(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), p, host)
		if got.Site == nil || got.Site.ID != id || got.Site.HeldBack != held {
			t.Errorf("%s at %d: got %+v, want site %d", name, port, got.Site, id)
		}
	}
	check(tables, 80, HTTP, "a.d", 3, true)
	check(tables, 80, HTTP, "b.d", 2, false)
	check(tables, 80, HTTP, "c.d", 1, false)
	check(tables, 81, HTTPS, "a.d", 3, true)
	if rec := tables.Certificate(netip.MustParseAddrPort("10.0.0.1:81"), "a.d").Record; rec == nil || rec.Certificate != "B" {
		t.Errorf("its own certificate: got %v", rec)
	}
	if len(tables.Sites()) != 2 || tables.SiteByID(3) != nil || !tables.IsHeldBack(3) {
		t.Errorf("lists: %v", tables.Sites())
	}
	if _, covered := tables.Covers(netip.MustParseAddrPort("10.0.0.1:90")); covered {
		t.Error("a socket for a site that is held back")
	}
	later, _, err := Compile(append(sites, site(9, "http *:80:a.d")), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(later, 80, HTTP, "a.d", 9, false)
}

// TestPartly: of a site that is served partly an https binding without a certificate is
// left out alone, until something gives it one; requests for it are nobody else's.
func TestPartly(t *testing.T) {
	partly := func(s Site) Site { s.Partly = true; return s }
	wildcard := site(1, "https *:81:*.d flags=1 cert=A")
	sites := []Site{wildcard, partly(site(2, "http *:80:b", "https *:81:b", "https *:82:c.d")), partly(site(3, "https *:81:c.d"))}
	to := netip.MustParseAddrPort("10.0.0.1:81")
	left := func(tables *Tables, want ...string) {
		t.Helper()
		var got []string
		for _, b := range tables.LeftOut() {
			got = append(got, fmt.Sprint(b.Site.ID, " ", b.Binding))
			if !b.HeldBack() || b.Record != nil {
				t.Errorf("%s is not held back, or has record %v", b.Binding, b.Record)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("left out: %q, want %q", got, want)
		}
	}
	tables, findings, err := Compile(sites, nil, Options{})
	if err != nil || slices.ContainsFunc(findings, func(f Finding) bool { return f.Code == CodeNoCertificate }) {
		t.Fatal(findings, err)
	}
	left(tables, "2 *:81:b", "2 *:82:c.d")
	for name, want := range map[string]uint32{"b": 2, "c.d": 3} {
		host, _ := Host(name)
		if got := tables.Site(to, HTTPS, host); got.Site == nil || got.Site.ID != want || got.Binding.HeldBack() != (want == 2) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := tables.Site(netip.MustParseAddrPort("10.0.0.1:80"), HTTP, HostName{}); got.Site != nil {
		t.Errorf("%+v", got)
	}
	host, _ := Host("b")
	if got := tables.Site(netip.MustParseAddrPort("10.0.0.1:80"), HTTP, host); got.Site == nil || got.Binding.HeldBack() {
		t.Errorf("the http binding: %+v", got)
	}
	// It comes as soon as something gives it a certificate, and goes with that.
	later, _, err := Compile(append(sites, site(4, "https *:81: cert=D")), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	left(later, "2 *:82:c.d")
	rejects := site(4, "https *:81:")
	rejects.Bindings[0].Flags = FlagReject
	rejecting, _, err := Compile(append(sites, rejects), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	left(rejecting, "2 *:81:b", "2 *:82:c.d")
	if _, simple := later.Update(nil, []uint32{4}); simple {
		t.Error("a certificate went that others had, and nobody looked at them")
	}
	many := []Site{wildcard, site(2, "http *:80:b"), site(3, "https *:82: cert=A")}
	for i := range uint32(100) {
		many = append(many, partly(site(100+i, fmt.Sprintf("http *:80:s%d", i), fmt.Sprintf("https *:81:s%d", i))))
	}
	crowd := compile(t, many, nil, Options{})
	if _, simple := crowd.Update([]Site{site(2, "http *:80:b2")}, nil); !simple || len(crowd.LeftOut()) != 100 {
		t.Errorf("with %d left out, a change that is about none of them concerns all sites", len(crowd.LeftOut()))
	}
	if _, _, err := Compile([]Site{wildcard, site(2, "https *:81:b")}, nil, Options{}); err == nil {
		t.Error("a site that is not served partly is not refused")
	}
	if inputs := later.Inputs(); !inputs[1].Partly || inputs[0].Partly {
		t.Errorf("got %+v", inputs)
	}
}

// TestHeldBackCertificate: the certificate of a site that is held back goes to no client of
// another site: a record by name is for all addresses.
func TestHeldBackCertificate(t *testing.T) {
	held := site(3, "https 10.0.0.2:81:a.d flags=1 cert=B")
	held.HeldBack = true
	tables, _, err := Compile([]Site{site(1, "https *:81:*.d cert=A"), held}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	host, _ := Host("a.d")
	for ip, id := range map[string]uint32{"10.0.0.1": 1, "10.0.0.2": 3} {
		to := netip.AddrPortFrom(netip.MustParseAddr(ip), 81)
		if got := tables.Site(to, HTTPS, host); got.Site == nil || got.Site.ID != id {
			t.Errorf("at %s: got %+v, want site %d", ip, got.Site, id)
		}
		if rec := tables.Certificate(to, "a.d").Record; rec == nil || rec.Certificate != "A" {
			t.Errorf("at %s: got %v", ip, rec)
		}
	}
}
