package binding

import (
	"errors"
	"testing"
)

// The example configurations: sets of http and of https bindings.
func setH() []Site {
	return []Site{
		site(1, "http *:80:"),
		site(2, "http *:80:www.contoso.com"),
		site(3, "http 10.0.0.5:80:"),
		site(4, "http 10.0.0.5:80:api.contoso.com"),
		site(5, "http *:80:*.contoso.com"),
	}
}

func setT() []Site {
	return []Site{
		site(1, "https *:443: cert=D"),
		site(2, "https *:443:www.contoso.com flags=1 cert=A"),
		site(3, "https 10.0.0.5:443:pay.contoso.com cert=E"),
		site(4, "https *:443:www.fabrikam.com flags=3"),
		site(5, "https *:443:*.contoso.com flags=1 cert=W"),
	}
}

func TestExamplesHTTP(t *testing.T) {
	h := compile(t, setH(), nil, Options{})
	sites := setH()
	sites[1] = stopped(sites[1])
	stoppedH := compile(t, sites, nil, Options{})
	only := compile(t, setH()[1:2], nil, Options{})
	for _, tc := range []struct {
		example  int
		tables   *Tables
		to, host string
		want     string
	}{
		{1, h, "10.0.0.9:80", "www.contoso.com", "D2.3 S2"},
		{2, h, "10.0.0.5:80", "www.contoso.com", "D2.3 S2"},
		{3, h, "10.0.0.5:80", "other.org", "D2.6 S3"},
		{4, h, "10.0.0.9:80", "other.org", "D2.7 S1"},
		{5, h, "10.0.0.5:80", "api.contoso.com", "D2.2 S4"},
		{6, h, "10.0.0.9:80", "api.contoso.com", "D2.5 S5"},
		{7, h, "10.0.0.5:80", "shop.contoso.com", "D2.5 S5"},
		{8, stoppedH, "10.0.0.9:80", "www.contoso.com", "D2.5 S5"},
		{9, h, "10.0.0.9:80", "www.contoso.com", "D2.3 S2"}, // offline is still routed, and answers 503
		{10, h, "10.0.0.9:80", "WWW.Contoso.COM:8080", "D2.3 S2"},
		{11, h, "10.0.0.9:80", "www.contoso.com", "D2.3 S2"}, // the target's host is the effective one
		{12, only, "10.0.0.9:80", "www.contoso.com.", "D2.0 -"},
		{13, only, "10.0.0.9:80", "other.org", "D2.8 -"},
		{14, h, "10.0.0.9:80", "http://www.contoso.com/x", "D2.0 -"},
	} {
		if got := route(tc.tables, tc.to, HTTP, tc.host); got != tc.want {
			t.Errorf("example %d: to %s, host %q: %s, want %s", tc.example, tc.to, tc.host, got, tc.want)
		}
	}
}

func TestExamplesTLS(t *testing.T) {
	opts := Options{CentralStore: true}
	set := compile(t, setT(), nil, opts)
	withoutT1 := compile(t, setT()[1:], nil, opts)
	withV6 := compile(t, setT(), []Endpoint{endpoint("[::]:443", "V6")}, opts)
	sites := setT()
	sites[1] = stopped(sites[1])
	stoppedT2 := compile(t, sites, nil, opts)
	for _, tc := range []struct {
		example       int
		tables        *Tables
		to, sni, host string
		cert, site    string
	}{
		{15, set, "10.0.0.9:443", "www.contoso.com", "www.contoso.com", "D1.2 A", "D2.3 S2"},
		{16, set, "10.0.0.5:443", "www.contoso.com", "www.contoso.com", "D1.1 E", "D2.3 S2"},
		{17, set, "10.0.0.9:443", "www.fabrikam.com", "www.fabrikam.com", "D1.5 ccs:443", "D2.3 S4"},
		{18, set, "10.0.0.9:443", "shop.fabrikam.com", "shop.fabrikam.com", "D1.5 ccs:443", "D2.7 S1"},
		{19, set, "10.0.0.9:443", "unknown.org", "unknown.org", "D1.5 ccs:443", "D2.7 S1"},
		{20, set, "10.0.0.9:443", "", "www.contoso.com", "D1.7 D", "D2.3 S2"},
		{21, withoutT1, "10.0.0.9:443", "", "www.contoso.com", "D1.8 -", "D2.3 S2"},
		{22, set, "10.0.0.9:443", "shop.contoso.com", "shop.contoso.com", "D1.3 W", "D2.5 S5"},
		{22, set, "10.0.0.9:443", "shop.contoso.com", "www.contoso.com", "D1.3 W", "D2.3 S2"},
		{23, withV6, "[2001:db8::9]:443", "", "www.contoso.com", "D1.6 V6", "D2.3 S2"},
		{23, withV6, "10.0.0.9:443", "", "www.contoso.com", "D1.7 D", "D2.3 S2"},
		{24, stoppedT2, "10.0.0.9:443", "www.contoso.com", "www.contoso.com", "D1.2 A", "D2.5 S5"},
	} {
		if got := certificate(tc.tables, tc.to, tc.sni); got != tc.cert {
			t.Errorf("example %d: to %s with %q: %s, want %s", tc.example, tc.to, tc.sni, got, tc.cert)
		}
		if got := route(tc.tables, tc.to, HTTPS, tc.host); got != tc.site {
			t.Errorf("example %d: to %s, host %q: %s, want %s", tc.example, tc.to, tc.host, got, tc.site)
		}
	}
	// Example 19: the store has no file for the name.
	if m := set.Certificate(local("10.0.0.9:443"), "unknown.org"); m.Fallback == nil || m.Fallback.Certificate != "D" || m.FallbackRule != D1_7 {
		t.Errorf("example 19: fallback %+v by %v, want D by row 7", m.Fallback, m.FallbackRule)
	}
	if got := set.RecordSlots(); got != 5 {
		t.Errorf("set T makes %d records, want 5", got)
	}
}

func TestExample25(t *testing.T) {
	tables := compile(t, []Site{site(1, "https :443:test.x cert=W"), site(2, "https :443:other.x cert=W")}, nil, Options{})
	for _, sni := range []string{"", "test.x", "other.x", "unknown.x"} {
		if got := certificate(tables, "10.0.0.9:443", sni); got != "D1.7 W" {
			t.Errorf("with %q: %s", sni, got)
		}
	}
	if got := route(tables, "10.0.0.9:443", HTTPS, "other.x"); got != "D2.3 S2" {
		t.Errorf("site: %s", got)
	}
}

func TestExample26(t *testing.T) {
	sites := []Site{site(1, "https :443:test.x cert=W"), site(2, "https :443:other.x cert=Z")}
	tables, findings, err := Compile(sites, nil, Options{FirstWins: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := certificate(tables, "10.0.0.9:443", ""); got != "D1.7 W" {
		t.Errorf("certificate: %s", got)
	}
	if got := route(tables, "10.0.0.9:443", HTTPS, "other.x"); got != "D2.3 S2" {
		t.Errorf("site: %s", got)
	}
	if !hasFinding(findings, Warning, CodeCertificateConflict, `site 1 "S1"`, `site 2 "S2"`, `"W"`, `"Z"`, "first one wins") {
		t.Errorf("findings: %v", findings)
	}
	if _, _, err := Compile(sites, nil, Options{}); err == nil {
		t.Error("without first_wins there is no error")
	}
}

func TestExample27(t *testing.T) {
	sites := []Site{site(1, "https :443: cert=W", "http :80:one.x"), site(2, "https :443: cert=Z", "http :80:two.x")}
	tables, findings, err := Compile(sites, nil, Options{FirstWins: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := certificate(tables, "10.0.0.9:443", "any.x"); got != "D1.7 W" {
		t.Errorf("certificate: %s", got)
	}
	if got := route(tables, "10.0.0.9:443", HTTPS, "any.x"); got != "D2.7 S1" {
		t.Errorf("site: %s", got)
	}
	if got := route(tables, "10.0.0.9:80", HTTP, "two.x"); got != "D2.8 -" {
		t.Errorf("the other binding of the stopped site: %s", got)
	}
	if s, ok := tables.State(1); !ok || !s.Started {
		t.Errorf("state of site 1: %+v, %v", s, ok)
	}
	if s, ok := tables.State(2); !ok || s.Started || s.Code != 0x800700B7 || s.Reason == "" {
		t.Errorf("state of site 2: %+v, %v", s, ok)
	}
	if !hasFinding(findings, Warning, CodeDuplicateBinding, `site 1 "S1"`, `site 2 "S2"`, "*:443:", "0x800700B7") {
		t.Errorf("findings: %v", findings)
	}
}

func TestExample28(t *testing.T) {
	sites := []Site{site(1, "https 10.0.0.1:443:a cert=X flags=1"), site(2, "https 10.0.0.2:443:a cert=Y flags=1")}
	_, findings, err := Compile(sites, nil, Options{})
	var ce *ConflictError
	if !errors.As(err, &ce) || len(ce.Findings) != 1 {
		t.Fatalf("error %v, want one conflict", err)
	}
	if !hasFinding(findings, Error, CodeCertificateConflict, "10.0.0.1:443:a", "10.0.0.2:443:a", "record a:443", `"X"`, `"Y"`) {
		t.Errorf("findings: %v", findings)
	}
	sites[1] = site(2, "https 10.0.0.2:443:a cert=X flags=1")
	tables := compile(t, sites, nil, Options{})
	if got := certificate(tables, "10.0.0.2:443", "a"); got != "D1.2 X" || tables.RecordSlots() != 1 {
		t.Errorf("with one certificate: %s of %d records", got, tables.RecordSlots())
	}
	if got := route(tables, "10.0.0.2:443", HTTPS, "a"); got != "D2.2 S2" {
		t.Errorf("site: %s", got)
	}
}
