package binding

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	store := Options{CentralStore: true}
	for _, tc := range []struct {
		name      string
		sites     []Site
		endpoints []Endpoint
		opts      Options
		code      string
		words     []string // of one finding
	}{
		{"no id", []Site{site(0, "http *:80:")}, nil, Options{}, CodeBadSite, []string{"site 0", "no id"}},
		{"same id", []Site{site(1), site(1)}, nil, Options{}, CodeBadSite, []string{`site 1 "S1"`, "same id"}},
		{"no port", []Site{{ID: 1, Bindings: []SiteBinding{{}}}}, nil, Options{}, CodeBadBinding, []string{"site 1,", "*:0:", "no port"}},
		{"upper case", []Site{{ID: 1, Bindings: []SiteBinding{{Binding: Binding{Port: 80, Host: "A"}}}}}, nil, Options{}, CodeBadBinding, []string{"lower case"}},
		{"bad host", []Site{{ID: 1, Bindings: []SiteBinding{{Binding: Binding{Port: 80, Host: "a.*"}}}}}, nil, Options{}, CodeBadBinding, []string{"asterisk"}},
		{"flags on http", []Site{site(1, "http *:80:a flags=1")}, nil, Options{}, CodeBadFlags, []string{"*:80:a", "only https"}},
		{"certificate on http", []Site{site(1, "http *:80:a cert=A")}, nil, Options{}, CodeBadFlags, []string{"*:80:a", "only https"}},
		{"unknown bits", []Site{site(1, "https *:443:a flags=128 cert=A")}, nil, Options{}, CodeBadFlags, []string{"unknown bits 128"}},
		{"SNI without host", []Site{site(1, "https *:443: flags=1 cert=A")}, nil, Options{}, CodeBadFlags, []string{`site 1 "S1"`, "*:443:", "SNI", "no host"}},
		{"store without host", []Site{site(1, "https *:443: flags=2")}, nil, store, CodeBadFlags, []string{"no host"}},
		{"store with SNI, without host", []Site{site(1, "https *:443: flags=3")}, nil, store, CodeBadFlags, []string{"central store", "no host"}},
		{"no store", []Site{site(1, "https *:443:a flags=2")}, nil, Options{}, CodeBadFlags, []string{"central store", "there is none"}},
		{"store and certificate", []Site{site(1, "https *:443:a flags=2 cert=A")}, nil, store, CodeBadFlags, []string{`certificate "A"`}},
		{"twice in a site", []Site{site(1, "http *:80:a", "http :80:A")}, nil, Options{FirstWins: true}, CodeDuplicateBinding, []string{`site 1 "S1"`, "*:80:a", "twice"}},
		{"twice in a stopped site", []Site{stopped(site(1, "http *:80:a", "http :80:A"))}, nil, Options{}, CodeDuplicateBinding, []string{"twice"}},
		{"on two sites", []Site{site(2, "http *:80:a"), site(1, "http *:80:a")}, nil, Options{}, CodeDuplicateBinding, []string{`site 2 "S2"`, `site 1 "S1"`, "*:80:a"}},
		{"on two sites, no host", []Site{site(1, "http *:80:"), site(2, "http *:80:")}, nil, Options{}, CodeDuplicateBinding, []string{"*:80:"}},
		{"on two sites, wildcard", []Site{site(1, "http *:80:*.a"), site(2, "http *:80:*.a")}, nil, Options{}, CodeDuplicateBinding, []string{"*:80:*.a"}},
		{"on two sites, address", []Site{site(1, "http 10.0.0.1:80:a"), site(2, "http 10.0.0.1:80:a")}, nil, Options{}, CodeDuplicateBinding, []string{"10.0.0.1:80:a"}},
		{"on two sites, [::]", []Site{site(1, "http [::]:80:a"), site(2, "http [::]:80:a")}, nil, Options{}, CodeDuplicateBinding, []string{"[::]:80:a"}},
		{"two certificates, [::]", []Site{site(1, "https [::]:443:a cert=A"), site(2, "https [::]:443:b cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"record [::]:443"}},
		{"two certificates", []Site{site(1, "https *:443:a cert=A"), site(2, "https *:443:b cert=B")}, nil, Options{}, CodeCertificateConflict, []string{
			`site 1 "S1", https binding *:443:a`, `site 2 "S2", https binding *:443:b`, `"A"`, `"B"`, "0.0.0.0:443",
			"one certificate for both", "wildcard or SAN", "set sni", "another IP address or port",
		}},
		{"two certificates in one site", []Site{site(1, "https *:443:a cert=A", "https *:443:b cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"*:443:a", "*:443:b"}},
		{"two certificates, one stopped", []Site{stopped(site(1, "https *:443:a cert=A")), site(2, "https *:443:b cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"*:443:a", "*:443:b"}},
		{"two certificates, address", []Site{site(1, "https 10.0.0.1:443:a cert=A"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"10.0.0.1:443"}},
		{"two certificates, name", []Site{site(1, "https 10.0.0.1:443:a flags=1 cert=A"), site(2, "https *:443:a flags=1 cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"record a:443", "take sni off"}},
		{"two certificates, wildcard", []Site{site(1, "https 10.0.0.1:443:*.a flags=1 cert=A"), site(2, "https *:443:*.a flags=1 cert=B")}, nil, Options{}, CodeCertificateConflict, []string{"record *.a:443"}},
		{"endpoint's certificate", []Site{site(1, "https *:443:a cert=A")}, []Endpoint{endpoint("0.0.0.0:443", "E")}, Options{}, CodeCertificateConflict, []string{"endpoint 0.0.0.0:443", `"A"`, `"E"`}},
		{"two settings", []Site{site(1, "https *:443:a cert=A tls=x"), site(2, "https *:443:b cert=A tls=y")}, nil, Options{}, CodeSettingsConflict, []string{"*:443:a", "*:443:b", "same settings"}},
		{"settings and none", []Site{site(1, "https *:443:a cert=A"), site(2, "https *:443:b cert=A tls=y")}, nil, Options{}, CodeSettingsConflict, []string{"*:443:a", "*:443:b"}},
		{"none and settings", []Site{site(1, "https *:443:a cert=A tls=y"), site(2, "https *:443:b cert=A")}, nil, Options{}, CodeSettingsConflict, []string{"*:443:a", "*:443:b"}},
		{"two flags", []Site{site(1, "https *:443:a cert=A flags=4"), site(2, "https *:443:b cert=A")}, nil, Options{}, CodeSettingsConflict, []string{"sslFlags"}},
		{"two settings, name", []Site{site(1, "https 10.0.0.1:443:a flags=1 cert=A tls=x"), site(2, "https *:443:a flags=1 cert=A")}, nil, Options{}, CodeSettingsConflict, []string{"record a:443"}},
		{"two settings, store", []Site{site(1, "https *:443:a flags=2 tls=x"), site(2, "https *:443:b flags=3 tls=y")}, nil, store, CodeSettingsConflict, []string{"record ccs:443"}},
		{"settings without certificate", []Site{site(1, "https *:443:a cert=A"), site(2, "https *:443:b tls=y")}, nil, Options{}, CodeSettingsConflict, []string{"*:443:b"}},
		{"endpoint's settings", []Site{site(1, "https *:443:a cert=A tls=y")}, []Endpoint{{Port: 443, TLS: "x"}}, Options{}, CodeSettingsConflict, []string{"endpoint 0.0.0.0:443"}},
		{"endpoint's settings and flags", []Site{site(1, "https *:443:a cert=A flags=4"), site(2, "https *:443:b cert=A")}, []Endpoint{{Port: 443, TLS: "x"}}, Options{}, CodeSettingsConflict, []string{"*:443:a"}},
		{"both protocols", []Site{site(1, "http *:443:a"), site(2, "https *:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{
			`site 1 "S1", http binding *:443:a`, `site 2 "S2", https binding *:443:b`,
		}},
		{"both protocols in one site", []Site{site(1, "http *:443:a", "https *:443:b cert=A")}, nil, Options{FirstWins: true}, CodeProtocolConflict, []string{"*:443:a", "*:443:b"}},
		{"both protocols, same address", []Site{site(1, "http 10.0.0.1:443:a"), site(2, "https 10.0.0.1:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"10.0.0.1:443:a"}},
		{"both protocols, * after address", []Site{site(1, "http 10.0.0.1:443:a"), site(2, "https *:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"10.0.0.1:443:a"}},
		{"both protocols, address after *", []Site{site(1, "http *:443:a"), site(2, "https 10.0.0.1:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"10.0.0.1:443:b"}},
		{"both protocols, [::] after IPv6", []Site{site(1, "http [2001:db8::1]:443:a"), site(2, "https [::]:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"[::]:443:b"}},
		{"both protocols, IPv6 after [::]", []Site{site(1, "http [::]:443:a"), site(2, "https [2001:db8::1]:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"[::]:443:a"}},
		{"both protocols, [::] after *", []Site{site(1, "http *:443:a"), site(2, "https [::]:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"[::]:443:b"}},
		{"both protocols, zone after address", []Site{site(1, "http [fe80::1]:443:a"), site(2, "https [fe80::1%e0]:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"e0"}},
		{"both protocols, address after zone", []Site{site(1, "http [fe80::1%e0]:443:a"), site(2, "https [fe80::1]:443:b cert=A")}, nil, Options{}, CodeProtocolConflict, []string{"e0"}},
		{"both protocols, endpoint", []Site{site(1, "http *:443:a")}, []Endpoint{endpoint("10.0.0.1:443", "E")}, Options{}, CodeProtocolConflict, []string{"endpoint 10.0.0.1:443", "*:443:a"}},
		{"no certificate", []Site{site(7, "https *:443:a")}, nil, Options{}, CodeNoCertificate, []string{`site 7 "S7"`, "*:443:a", "add a certificate", "endpoint 0.0.0.0:443"}},
		{"no certificate on this address", []Site{site(1, "https 10.0.0.1:443: cert=A"), site(2, "https *:443:a")}, nil, Options{}, CodeNoCertificate, []string{"*:443:a"}},
		{"no certificate on this port", []Site{site(1, "https *:443: cert=A"), site(2, "https *:444:a")}, nil, Options{}, CodeNoCertificate, []string{"*:444:a"}},
		{"no certificate for IPv4", []Site{site(1, "https [::]:443: cert=A"), site(2, "https 10.0.0.1:443:a")}, nil, Options{}, CodeNoCertificate, []string{"10.0.0.1:443:a"}},
		{"no certificate by this name", []Site{site(1, "https *:443:a flags=1 cert=A"), site(2, "https *:443:")}, nil, Options{}, CodeNoCertificate, []string{`site 2 "S2"`}},
		{"endpoint without certificate", nil, []Endpoint{endpoint("0.0.0.0:443", "")}, Options{}, CodeBadEndpoint, []string{"endpoint 0.0.0.0:443", "no certificate"}},
		{"endpoint without port", nil, []Endpoint{{Certificate: "E"}}, Options{}, CodeBadEndpoint, []string{"no port"}},
		{"endpoint twice", nil, []Endpoint{endpoint("0.0.0.0:443", "E"), endpoint("*:443", "E")}, Options{}, CodeBadEndpoint, []string{"endpoint 0.0.0.0:443", "twice"}},
	} {
		tables, findings, err := Compile(tc.sites, tc.endpoints, tc.opts)
		var ce *ConflictError
		if !errors.As(err, &ce) || tables != nil {
			t.Errorf("%s: tables %v, error %v; want an error alone", tc.name, tables != nil, err)
			continue
		}
		if len(ce.Findings) != 1 || ce.Findings[0].Code != tc.code {
			t.Errorf("%s: %+v, want one %s", tc.name, ce.Findings, tc.code)
		}
		if !hasFinding(findings, Error, tc.code, tc.words...) {
			t.Errorf("%s: %v does not mention %q", tc.name, findings, tc.words)
		}
		if ce.Findings[0].Fix == "" {
			t.Errorf("%s: no way out in %q", tc.name, err)
		}
	}
}

// TestCompileAccepts has the neighbours of the conflicts.
func TestCompileAccepts(t *testing.T) {
	store := Options{CentralStore: true}
	for _, tc := range []struct {
		name      string
		sites     []Site
		endpoints []Endpoint
		opts      Options
		records   int
	}{
		{"nothing", nil, nil, Options{}, 0},
		{"one port, several hosts", []Site{site(1, "http *:80:a"), site(2, "http *:80:b")}, nil, Options{}, 0},
		{"the other site is stopped", []Site{site(1, "http *:80:a"), stopped(site(2, "http *:80:a"))}, nil, Options{}, 0},
		{"the first site is stopped", []Site{stopped(site(1, "http *:80:a")), site(2, "http *:80:a")}, nil, Options{}, 0},
		{"http on the port of a stopped https site", []Site{stopped(site(1, "https *:443:a cert=A")), site(2, "http *:443:a")}, nil, Options{}, 1},
		{"[::] and *", []Site{site(1, "http *:80:a"), site(2, "http [::]:80:a"), site(3, "http 10.0.0.1:80:a")}, nil, Options{}, 0},
		{"protocols by address", []Site{site(1, "http 10.0.0.1:443:a"), site(2, "https 10.0.0.2:443:a cert=A")}, nil, Options{}, 1},
		{"protocols by family", []Site{site(1, "http [::]:443:a"), site(2, "https 10.0.0.2:443:a cert=A")}, nil, Options{}, 1},
		{"protocols by zone", []Site{site(1, "http [fe80::1%e0]:443:a"), site(2, "https [fe80::1%e1]:443:a cert=A")}, nil, Options{}, 1},
		{"one certificate", []Site{site(1, "https *:443:a cert=A tls=x"), site(2, "https *:443:b cert=A tls=x")}, nil, Options{}, 1},
		{"certificates by port", []Site{site(1, "https *:443:a cert=A"), site(2, "https *:444:a cert=B")}, nil, Options{}, 2},
		{"certificates by address", []Site{site(1, "https 10.0.0.1:443:a cert=A"), site(2, "https *:443:a cert=B")}, nil, Options{}, 2},
		{"certificates by name", []Site{site(1, "https *:443:a flags=1 cert=A"), site(2, "https *:443:b flags=1 cert=B")}, nil, Options{}, 2},
		{"a name and all names", []Site{site(1, "https *:443:a flags=1 cert=A"), site(2, "https *:443:b cert=B")}, nil, Options{}, 2},
		{"wildcard and name", []Site{site(1, "https *:443:*.a flags=1 cert=A"), site(2, "https *:443:a flags=1 cert=B")}, nil, Options{}, 2},
		{"rides on the same key", []Site{site(1, "https *:443:a"), site(2, "https *:443:b cert=B tls=x")}, nil, Options{}, 1},
		{"rides on row 7", []Site{site(1, "https 10.0.0.1:443:a"), site(2, "https *:443:b cert=B")}, nil, Options{}, 1},
		{"rides on row 6", []Site{site(1, "https [2001:db8::1]:443:a"), site(2, "https [::]:443:b cert=B")}, nil, Options{}, 1},
		{"rides on row 6 from *", []Site{site(1, "https *:443:a"), site(2, "https [::]:443:b cert=B")}, nil, Options{}, 1},
		{"rides on a name", []Site{site(1, "https *:443:a"), site(2, "https 10.0.0.2:443:a cert=B flags=1")}, nil, Options{}, 1},
		{"rides on a wildcard", []Site{site(1, "https *:443:b.a"), site(2, "https *:443:*.a cert=B flags=1")}, nil, Options{}, 1},
		{"rides on the store", []Site{site(1, "https *:443:a"), site(2, "https *:443:b flags=2")}, nil, store, 1},
		{"rides on an endpoint", []Site{site(1, "https *:443:a")}, []Endpoint{endpoint("0.0.0.0:443", "E")}, Options{}, 1},
		{"rides with SNI", []Site{site(1, "https *:443:a flags=1")}, []Endpoint{endpoint("0.0.0.0:443", "E")}, Options{}, 1},
		{"store, flags 2 and 3", []Site{site(1, "https *:443:a flags=2"), site(2, "https *:443:b flags=3")}, nil, store, 1},
		{"stopped without certificate", []Site{stopped(site(1, "https *:443:a"))}, nil, Options{}, 0},
		{"endpoint alone", nil, []Endpoint{endpoint("10.0.0.1:443", "E")}, Options{}, 1},
		{"endpoint with the same certificate", []Site{site(1, "https *:443:a cert=E")}, []Endpoint{endpoint("0.0.0.0:443", "E")}, Options{}, 1},
		{"endpoint without certificate", []Site{site(1, "https *:443:a cert=E")}, []Endpoint{{Port: 443, TLS: "x"}}, Options{}, 1},
		{"endpoint's settings and flags", []Site{site(1, "https *:443:a cert=E flags=4"), site(2, "https *:443:b cert=E flags=4")}, []Endpoint{{Port: 443, TLS: "x"}}, Options{}, 1},
	} {
		for _, firstWins := range []bool{false, true} {
			opts := tc.opts
			opts.FirstWins = firstWins
			tables, findings, err := Compile(tc.sites, tc.endpoints, opts)
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
				continue
			}
			if got := tables.RecordSlots(); got != tc.records {
				t.Errorf("%s: %d records, want %d", tc.name, got, tc.records)
			}
			for _, code := range []string{CodeDuplicateBinding, CodeProtocolConflict, CodeCertificateConflict, CodeSettingsConflict} {
				if hasFinding(findings, Warning, code) {
					t.Errorf("%s: unexpected %v", tc.name, findings)
				}
			}
		}
	}
}

func TestFirstWins(t *testing.T) {
	opts := Options{FirstWins: true}
	t.Run("later protocol is stopped", func(t *testing.T) {
		tables := compile(t, []Site{
			site(1, "http *:8080:a"),
			site(2, "https *:8080:b cert=A", "http *:80:b"),
			site(3, "http *:80:b"), // free, because site 2 is stopped as a whole
			site(4, "https *:8080:c cert=A"),
		}, nil, opts)
		for id, want := range map[uint32]State{1: {Started: true}, 2: {Code: CodeSharingViolation}, 3: {Started: true}, 4: {Code: CodeSharingViolation}} {
			got, ok := tables.State(id)
			if !ok || got.Started != want.Started || got.Code != want.Code || got.Started != (got.Reason == "") {
				t.Errorf("site %d: %+v, want %+v", id, got, want)
			}
		}
		if got := route(tables, "10.0.0.1:80", HTTP, "b"); got != "D2.3 S3" {
			t.Errorf("host b: %s", got)
		}
		if p, ok := tables.Covers(local("10.0.0.1:8080")); !ok || p != HTTP {
			t.Errorf("port 8080 speaks %v, %v", p, ok)
		}
		// The record of a stopped site stays.
		if got := certificate(tables, "10.0.0.1:8080", "b"); got != "D1.7 A" {
			t.Errorf("certificate: %s", got)
		}
	})
	t.Run("one reason is enough", func(t *testing.T) {
		tables, findings, err := Compile([]Site{
			site(1, "http *:80:a"), site(2, "https *:81:b cert=A"), site(3, "http *:80:a", "http *:81:b"),
		}, nil, opts)
		if err != nil || len(findings) != 1 {
			t.Fatalf("findings %v, error %v", findings, err)
		}
		if s, _ := tables.State(3); s.Code != CodeAlreadyExists || !strings.Contains(s.Reason, `binding *:80:a belongs to site 1 "S1"`) {
			t.Errorf("state %+v", s)
		}
	})
	t.Run("endpoint before sites", func(t *testing.T) {
		tables, findings, err := Compile([]Site{site(1, "https *:443:a cert=A", "https *:444:a cert=A"), site(2, "http *:445:")},
			[]Endpoint{endpoint("0.0.0.0:443", "E"), endpoint("10.0.0.1:445", "E")}, opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := certificate(tables, "10.0.0.1:443", "a"); got != "D1.7 E" {
			t.Errorf("certificate: %s", got)
		}
		if s, _ := tables.State(2); s.Started || s.Code != CodeSharingViolation {
			t.Errorf("site 2: %+v", s)
		}
		if !hasFinding(findings, Warning, CodeCertificateConflict, "endpoint 0.0.0.0:443", `"E", because the first one wins`) {
			t.Errorf("findings: %v", findings)
		}
	})
	t.Run("first settings", func(t *testing.T) {
		tables, findings, err := Compile([]Site{site(2, "https *:443:b cert=A tls=y flags=4"), site(1, "https *:443:a cert=A tls=x")}, nil, opts)
		if err != nil {
			t.Fatal(err)
		}
		if rec := recordsOf(tables)[0]; rec.TLS != "x" || rec.Flags != 0 {
			t.Errorf("record %+v", rec)
		}
		if !hasFinding(findings, Warning, CodeSettingsConflict, "*:443:a", "*:443:b") {
			t.Errorf("findings: %v", findings)
		}
	})
}

func TestConflictsAreBounded(t *testing.T) {
	var sites []Site
	for id := uint32(60); id >= 1; id-- { // not in order of id
		sites = append(sites, site(id, "http *:80:same", fmt.Sprintf("https *:443:h%d cert=C%d", id, id)))
	}
	_, findings, err := Compile(sites, nil, Options{})
	var ce *ConflictError
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	// Each site but the first has two conflicts.
	if len(ce.Findings) != 20 || ce.More != 2*59-20 || len(findings) != 20 {
		t.Errorf("%d conflicts shown, %d more, %d findings", len(ce.Findings), ce.More, len(findings))
	}
	for i, f := range ce.Findings {
		if want := uint32(2 + i/2); f.Site != want {
			t.Errorf("conflict %d is about site %d, want %d", i, f.Site, want)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 || lines[20] != "and 98 more" {
		t.Errorf("error has %d lines and ends with %q", len(lines), lines[len(lines)-1])
	}
	tables, findings, err := Compile(sites, nil, Options{FirstWins: true, MaxFindings: 5})
	if err != nil || len(tables.Sites()) != 60 {
		t.Fatal(err)
	}
	if len(findings) != 12 { // 5 of each code, and how many there are more
		t.Errorf("%d findings: %v", len(findings), findings)
	}
	if !hasFinding(findings, Info, CodeDuplicateBinding, "54 more") {
		t.Errorf("the rest is not counted: %v", findings)
	}
}

func TestSeverities(t *testing.T) {
	_, findings, err := Compile([]Site{site(1, "https *:443:a flags=1 cert=A", "http *:80:a"), site(2, "http *:80:a")}, nil, Options{})
	if err == nil || len(findings) != 2 || findings[0].Severity != Error || findings[1].Severity != Warning {
		t.Errorf("findings %+v, want the error and then the warning", findings)
	}
	if findings[1].Code != CodeNoDefault {
		t.Errorf("warning %+v", findings[1])
	}
	for s, want := range map[Severity]string{Error: "error", Warning: "warning", Info: "info"} {
		if text, err := s.MarshalText(); err != nil || string(text) != want {
			t.Errorf("severity %d is %q, %v", s, text, err)
		}
	}
}
