package caddyiis_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// autoSite is a site with https bindings on a port, in the form of IIS 6: they share
// the record of the port, which all server names come to.
func autoSite(port int, hosts ...string) string {
	var bindings strings.Builder
	for _, host := range hosts {
		fmt.Fprintf(&bindings, " :%d:%s", port, host)
	}
	return "site 1 S {\nsecure_bindings" + bindings.String() + "\ncertificate auto\nrespond ok\n}\n"
}

// subjectOf is the certificate that a client gets, empty if it is refused.
func subjectOf(port int, name string) string {
	leaf, err := ts.Handshake(at("127.0.0.1", port), name)
	if err != nil {
		return ""
	}
	return ts.Subject(leaf)
}

// findingsOf lists the messages of findings of a code.
func findingsOf(s *ts.Server, code string) []string {
	var findings adminapi.Page[adminapi.Finding]
	s.AdminJSON("/iis/check", &findings)
	var messages []string
	for _, f := range findings.Items {
		if f.Code == code {
			messages = append(messages, f.Message)
		}
	}
	return messages
}

// TestAutoOnlyNames: what looks like a host and is none has no certificate.
func TestAutoOnlyNames(t *testing.T) {
	port := ts.FreePort(t)
	s := startIIS(t, "certificate auto {\nfor_bindings\non_demand\nissuer internal\ndefault default.test\n}\n"+autoSite(port, "www.test", "*.wild.test"))
	for _, name := range []string{"www.test:1", fmt.Sprintf("www.test:%d", port), "www_test", "a.wild.test", "*.wild.test", "*.test", "x.www.test", strings.Repeat("a.", 120) + "www.test"} {
		if got := subjectOf(port, name); got != "default.test" && got != "" {
			t.Errorf("%s: got the certificate of %s", name, got)
		}
	}
	if got := subjectOf(port, "WWW.test"); got != "www.test" {
		t.Errorf("www.test: got %q", got)
	}
	names := slices.DeleteFunc(stored(t, s), func(name string) bool { return name == "www.test" || name == "default.test" })
	if len(names) > 0 {
		t.Errorf("certificates were issued for %s", names)
	}
}

// TestAutoAtAddresses: the record of a server name serves at all addresses of its port,
// also where its binding is for one of them, as it does with other certificates.
func TestAutoAtAddresses(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, certificates(t, "other.test")+fmt.Sprintf(`certificate auto {
		for_bindings
		on_demand
		issuer internal
	}
	site 1 {
		binding https 127.0.0.1:%[1]d:www.test {
			sni
			certificate auto
		}
		binding https *:%[1]d:other.test {
			sni
			certificate other.test
		}
		respond ok
	}`, port))
	for _, ip := range []string{"127.0.0.2", "127.0.0.1"} {
		if leaf, err := ts.Handshake(at(ip, port), "www.test"); err != nil || ts.Subject(leaf) != "www.test" {
			t.Errorf("at %s: %v, %v", ip, ts.Subject(leaf), err)
		}
	}
}

// TestAutoPause: the pause after a failure outlives loads of the configuration and
// other names that come into memory meanwhile.
func TestAutoPause(t *testing.T) {
	port := ts.FreePort(t)
	config := func(respond string) string {
		return iisConfig("certificate auto {\nfor_bindings\non_demand\ncapacity 1\nissuer acme {\ndir https://127.0.0.1:1/none\n}\nmax_wait 5s\n}\n" +
			strings.ReplaceAll(autoSite(port, "a.example.com", "b.example.com"), "respond ok", respond))
	}
	s := ts.Start(t, config("respond one"))
	for i := range 3 {
		for _, name := range []string{"a.example.com", "b.example.com"} {
			if got := subjectOf(port, name); got != "" {
				t.Errorf("%s: got %s", name, got)
			}
		}
		if err := s.Load(config(fmt.Sprintf("respond %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a.example.com", "b.example.com"} {
		if lines := ts.Logs.Lines("no certificate for a host of a binding", name); len(lines) != 1 {
			t.Errorf("%s: %d attempts", name, len(lines))
		}
	}
	if found := findingsOf(s, "certificate-not-obtained"); len(found) != 2 {
		t.Errorf("findings after loads: %q", found)
	}
}

// TestAutoPolicies: hosts that a policy of the tls app has as subjects get theirs from
// its issuers, the others from the policy for all names, and those that cannot have
// a public certificate from Caddy's own authority.
func TestAutoPolicies(t *testing.T) {
	port := ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	raw, err := s.Adapt(iisConfig("certificate auto {\nfor_bindings\non_demand\n}\n" + autoSite(port, "a.int.example.com", "b.example.com", "c.localhost")))
	if err != nil {
		t.Fatal(err)
	}
	policy := func(issuer map[string]any, subjects ...string) map[string]any {
		p := map[string]any{"issuers": []any{issuer}}
		if len(subjects) > 0 {
			p["subjects"] = subjects
		}
		return p
	}
	load := func(policies ...any) {
		t.Helper()
		if err := s.LoadJSON(editJSON(t, raw, func(cfg map[string]any) {
			cfg["apps"].(map[string]any)["tls"] = map[string]any{"automation": map[string]any{"policies": policies}}
		})); err != nil {
			t.Fatal(err)
		}
	}
	internal := map[string]any{"module": "internal", "lifetime": "6h"}
	acme := map[string]any{"module": "acme", "ca": "https://127.0.0.1:1/other"}
	load(policy(internal, "*.int.example.com"), policy(acme))
	for name, want := range map[string]string{"a.int.example.com": "a.int.example.com", "b.example.com": "", "c.localhost": "c.localhost"} {
		if got := subjectOf(port, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	leaf, err := ts.Handshake(at("127.0.0.1", port), "a.int.example.com")
	if err != nil || leaf.NotAfter.Sub(leaf.NotBefore) > 7*time.Hour {
		t.Errorf("the settings of the policy's issuer do not hold: %v", err)
	}
	if len(ts.Logs.Lines("127.0.0.1:1/other", "b.example.com")) == 0 {
		t.Error("the issuer of the policy for all names was not asked")
	}
	// A policy for all names that comes first is the one, as in Caddy.
	load(policy(internal), policy(acme, "b.example.com"))
	if got := subjectOf(port, "b.example.com"); got != "b.example.com" {
		t.Errorf("b.example.com: got %q", got)
	}
}

// TestAutoPermission: names below a wildcard host have a certificate if a permission
// module says so, and nothing is kept of others.
func TestAutoPermission(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]int)
	permission := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("domain")
		mu.Lock()
		asked[name]++
		mu.Unlock()
		if !strings.HasPrefix(name, "good") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer permission.Close()
	port := ts.FreePort(t)
	config := func(extra string) string {
		return iisConfig("certificate auto {\nfor_bindings\non_demand\nissuer internal\n" + extra + "\n}\n" + autoSite(port, "www.wild.test", "*.wild.test"))
	}
	s := ts.Start(t, config("permission http "+permission.URL))
	for range 2 {
		for name, want := range map[string]string{
			"good1.wild.test": "good1.wild.test", "bad.wild.test": "", "good.deep.wild.test": "",
			"www.wild.test": "www.wild.test", "good.test": "", "wild.test": "",
		} {
			if got := subjectOf(port, name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
	mu.Lock()
	if asked["good1.wild.test"] != 1 || asked["bad.wild.test"] == 0 || len(asked) != 2 {
		t.Errorf("asked about %v", asked)
	}
	mu.Unlock()
	if names := stored(t, s); len(names) != 2 {
		t.Errorf("certificates of %q", names)
	}
	if found := findingsOf(s, "certificate-not-obtained"); len(found) != 0 {
		t.Errorf("names that clients choose are remembered: %q", found)
	}
	// What was permitted is not without the module.
	if err := s.Load(config("")); err != nil {
		t.Fatal(err)
	}
	if got := subjectOf(port, "good1.wild.test"); got != "" {
		t.Errorf("without permission: got %q", got)
	}
}

// nameServer answers for names with addresses, and returns where it listens.
func nameServer(t *testing.T, names map[string]string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if ip, known := names[strings.TrimSuffix(q.Name.String(), ".")]; !known {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// TestAutoCheckDNS: hosts that do not lead here are not ordered ahead, and that is
// said; a client that comes all the same gets its certificate.
func TestAutoCheckDNS(t *testing.T) {
	server := nameServer(t, map[string]string{"here.test": "127.0.0.1", "balancer.test": "192.0.2.7", "elsewhere.test": "198.51.100.9"})
	port := ts.FreePort(t)
	s := startIIS(t, "certificate auto {\nfor_bindings\nissuer internal\ncheck_dns 192.0.2.7 {\nresolvers "+server+"\n}\n}\n"+
		autoSite(port, "here.test", "balancer.test", "elsewhere.test", "nobody.test"))
	waitFor(t, "the names that lead here", func() bool { return len(stored(t, s)) == 2 })
	waitFor(t, "the findings", func() bool { return len(findingsOf(s, "certificate-not-ordered")) == 2 })
	want := []string{
		`certificate "auto" is not ordered ahead for elsewhere.test: it has the address 198.51.100.9 in DNS, which is none of this machine's`,
		`certificate "auto" is not ordered ahead for nobody.test: it has no address in DNS`,
	}
	if got := findingsOf(s, "certificate-not-ordered"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if names := stored(t, s); slices.Contains(names, "elsewhere.test") || slices.Contains(names, "nobody.test") {
		t.Errorf("ordered ahead: %q", names)
	}
	if got := subjectOf(port, "elsewhere.test"); got != "elsewhere.test" {
		t.Errorf("a client got %q", got)
	}
}

// TestAutoTold: what is done for the hosts of bindings is counted and told, by the API,
// the metrics and the commands, with failures in the words of the issuer.
func TestAutoTold(t *testing.T) {
	certFile, keyFile := ts.PEM(t, "www.test", "www.test")
	port, other := ts.FreePort(t), ts.FreePort(t)
	config := func(extra string) string {
		return iisConfig(fmt.Sprintf(`certificate file %q %q
			certificate auto {
				for_bindings
				on_demand
				default default.test
				issuer internal
			}
			certificate refused {
				for_bindings
				on_demand
				issuer acme {
					dir https://127.0.0.1:1/none
				}
			}
			site 1 {
				secure_bindings :%[3]d:here.test :%[3]d:never.test
				binding https *:%[4]d:www.test {
					sni
					certificate file
				}
				binding https *:%[4]d:other.test {
					sni
					certificate file
				}
				binding https *:%[4]d:fails.example.com {
					sni
					certificate refused
				}
				certificate auto
				respond ok%[5]s
			}`, certFile, keyFile, port, other, extra))
	}
	s := ts.Start(t, config(""))
	for range 3 {
		if got := subjectOf(port, "here.test"); got != "here.test" {
			t.Fatalf("got %q", got)
		}
	}
	if got := subjectOf(other, "fails.example.com"); got != "" {
		t.Fatalf("got %q", got)
	}
	told := func() {
		t.Helper()
		var site adminapi.Site
		s.AdminJSON("/iis/sites/1", &site)
		got := make(map[string]adminapi.Binding)
		for _, b := range site.Bindings {
			got[b.Binding[strings.LastIndex(b.Binding, ":")+1:]] = b
		}
		for host, want := range map[string]struct {
			by           string
			covers       string
			ends, renews bool
			failed       string
		}{
			"here.test":         {"caddy", "yes", true, true, ""},
			"never.test":        {"caddy", "", false, false, ""},
			"www.test":          {"file", "yes", true, false, ""},
			"other.test":        {"file", "no", true, false, ""},
			"fails.example.com": {"caddy", "", false, false, ts.Nobody()},
		} {
			b := got[host]
			covers := ""
			if b.Covers != nil {
				covers = map[bool]string{true: "yes", false: "no"}[*b.Covers]
			}
			if b.RenewedBy != want.by || covers != want.covers || (b.NotAfter != nil) != want.ends || (b.Renews != nil) != want.renews ||
				(b.Error != "") != (want.failed != "") || !strings.Contains(b.Error, want.failed) {
				t.Errorf("%s: %+v", host, b)
			}
		}
		if b := got["here.test"]; b.Renews == nil || b.Renews.Before(time.Now()) || b.Renews.After(*b.NotAfter) {
			t.Errorf("here.test is renewed at %v", b.Renews)
		}
		var c adminapi.Certificate
		s.AdminJSON("/iis/certificates/auto", &c)
		if f := c.ForBindings; f == nil || f.Certificates != 1 || f.Hits < 2 || f.Reads != 2 || f.Orders != 2 || len(f.Failures) != 0 {
			t.Errorf("auto: %+v", f)
		}
		var r adminapi.Certificate
		s.AdminJSON("/iis/certificates/refused", &r)
		if len(r.Failures) != 1 || r.Failures[0].Host != "fails.example.com" || !strings.Contains(r.Failures[0].Error, ts.Nobody()) || r.Failures[0].Again == nil ||
			r.ForBindings.Failures["no_authority"] != 1 || r.ForBindings.Orders != 1 {
			t.Errorf("refused: %+v, %+v", r.Failures, r.ForBindings)
		}
		_, metrics := s.Admin("GET", "/metrics", "")
		for _, line := range []string{
			`caddy_iis_binding_certificates{certificate="auto"} 1`,
			`caddy_iis_certificate_failing_hosts{certificate="auto"} 0`,
			`caddy_iis_certificate_failing_hosts{certificate="refused"} 1`,
			`caddy_iis_binding_certificate_reads_total{certificate="auto"} 2`,
			`caddy_iis_binding_certificate_orders_total{certificate="auto"} 2`,
			`caddy_iis_binding_certificate_failures_total{certificate="refused",reason="no_authority"} 1`,
			`caddy_iis_binding_certificate_failures_total{certificate="auto",reason="dns"} 0`,
		} {
			if !strings.Contains(metrics, line+"\n") {
				t.Errorf("the metrics lack %s", line)
			}
		}
	}
	told()
	command := func(args ...string) string {
		var out, errOut bytes.Buffer
		caddyiis.RunCommand(&out, &errOut, append(args, "--address", s.AdminAddr())...)
		return strings.Join(strings.Fields(out.String()), " ") + errOut.String()
	}
	for _, want := range []string{
		fmt.Sprintf("1 *:%d:here.test auto yes", port), fmt.Sprintf("1 *:%d:never.test auto caddy", port),
		fmt.Sprintf("1 *:%d:www.test file yes", other), fmt.Sprintf("1 *:%d:other.test file no", other),
		fmt.Sprintf("1 *:%d:fails.example.com refused caddy", other), ts.Nobody(),
	} {
		if got := command("check", "--no-probe", "--bindings"); !strings.Contains(got, want) {
			t.Errorf("check does not say %q: %s", want, got)
		}
	}
	if got := command("certificates"); !strings.Contains(got, `Certificate "auto": 1 in memory;`) || !strings.Contains(got, "1 failures: no authority fails.example.com at ") {
		t.Errorf("certificates: %s", got)
	}
	// Counters, failures and what is in memory go on over loads.
	if err := s.Load(config("2")); err != nil {
		t.Fatal(err)
	}
	if got := subjectOf(port, "here.test"); got != "here.test" {
		t.Fatalf("got %q", got)
	}
	told()
}

// TestAutoRate: what is ordered ahead is ordered at the rate.
func TestAutoRate(t *testing.T) {
	port := ts.FreePort(t)
	start := time.Now()
	s := startIIS(t, "certificate auto {\nfor_bindings\nissuer internal\nrate 2 1s\n}\n"+autoSite(port, "a.test", "b.test", "c.test", "d.test", "e.test"))
	waitFor(t, "all names", func() bool { return len(stored(t, s)) == 5 })
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("5 orders at 2 a second took %v", took)
	}
}

// TestAutoCapacityAhead: ahead, all hosts are obtained, and as many are in memory as
// may be.
func TestAutoCapacityAhead(t *testing.T) {
	port := ts.FreePort(t)
	s := startIIS(t, "certificate auto {\nfor_bindings\nissuer internal\ncapacity 2\n}\n"+autoSite(port, "a.test", "b.test", "c.test", "d.test", "e.test"))
	waitFor(t, "all names", func() bool { return len(stored(t, s)) == 5 })
	for _, name := range []string{"a.test", "b.test", "c.test", "d.test", "e.test"} {
		if got := subjectOf(port, name); got != name {
			t.Errorf("%s: got %q", name, got)
		}
	}
	var list adminapi.Page[adminapi.Certificate]
	s.AdminJSON("/iis/certificates", &list)
	if len(list.Items) != 1 || len(list.Items[0].Current) != 2 {
		t.Errorf("in memory: %+v", list.Items)
	}
}
