package caddyiis_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

const (
	composed   = "b\u00fccher.test"
	decomposed = "bu\u0308cher.test"
	aLabel     = "xn--bcher-kva.test"
)

// storeIIS is an iis option with a central store and one site for each host.
func storeIIS(t *testing.T, port int, store string, hosts ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(certificates(t, "default.test"))
	fmt.Fprintf(&b, "central_store %s\nendpoint *:%d {\ncertificate default.test\n}\n", store, port)
	for i, host := range hosts {
		fmt.Fprintf(&b, "site %d Site%[1]d {\nbinding https *:%d:%s {\nsni\ncentral_store\n}\nrespond \"{iis.site.id} {iis.certificate}\"\n}\n", i+1, port, host)
	}
	return b.String()
}

// findings are the findings that the running Caddy has.
func findings(t *testing.T, s *ts.Server) []adminapi.Finding {
	t.Helper()
	var found adminapi.Page[adminapi.Finding]
	s.AdminJSON("/iis/check", &found)
	return found.Items
}

// finding returns the finding with a code whose message holds all the texts.
func finding(t *testing.T, s *ts.Server, code string, texts ...string) *adminapi.Finding {
	t.Helper()
next:
	for _, f := range findings(t, s) {
		for _, text := range texts {
			if !strings.Contains(f.Message+f.Fix, text) {
				continue next
			}
		}
		if f.Code == code {
			return &f
		}
	}
	return nil
}

// TestCentralStoreInternationalNames: the file of an international name is found
// in Unicode, as IIS has it, and as clients send it.
func TestCentralStoreInternationalNames(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	put := func(file string, serial int64, name string) {
		replace(t, filepath.Join(dir, file), issue(t, serial, nil, name).pfx(t, "secret"))
	}
	put(composed+".pfx", 1, aLabel)
	put("_."+composed+".pfx", 2, "*."+aLabel)
	put("xn--4ca.test.pfx", 3, "xn--4ca.test")
	put("both-\u00e4.test.pfx", 4, "unicode.test")
	put("xn--both--kra.test.pfx", 5, "alabel.test")
	s := startIIS(t, storeIIS(t, port, dir+" {\npassword secret\n}", decomposed, "www.B\u00dcCHER.test", "\u00e4.test", "both-\u00e4.test", "fehlt-\u00fc.test"))
	for sni, want := range map[string][2]string{
		aLabel:                  {aLabel, "1 " + composed + ".pfx"},
		"www." + aLabel:         {"*." + aLabel, "2 _." + composed + ".pfx"},
		"xn--4ca.test":          {"xn--4ca.test", "3 xn--4ca.test.pfx"},
		"xn--both--kra.test":    {"unicode.test", "4 both-\u00e4.test.pfx"},
		"xn--fehlt--8ya.test":   {"default.test", "5 default.test"},
		"xn--bucher-xyd.test":   {"default.test", ""}, // another name: what the decomposed one would be unmapped
		"xn--www-gp6j.fehlt.de": {"default.test", ""},
	} {
		for _, proto := range protocols {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Proto: proto})
			if err != nil || answer.Subject() != want[0] || want[1] != "" && answer.Body != want[1] {
				t.Errorf("%s %s: got %v, %v; want %v", proto, sni, answer, err, want)
			}
		}
	}
	if finding(t, s, "not-in-central-store", "fehlt-\u00fc.test.pfx", "xn--fehlt--8ya.test.pfx") == nil {
		t.Errorf("no finding names both files: %+v", findings(t, s))
	}
	for _, typed := range []string{composed, decomposed, "B\u00dcCHER.test"} {
		var x adminapi.Explanation
		s.AdminJSON("/iis/explain?local="+at("127.0.0.1", port)+"&host="+typed+"&sni="+typed, &x)
		if x.Request == nil || x.Request.Site != 1 || x.SNI != aLabel {
			t.Errorf("explain %q: %+v", typed, x)
		}
	}
}

// TestManagedInternationalSubject: a subject in decomposed form is the name that
// browsers ask for.
func TestManagedInternationalSubject(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, fmt.Sprintf("certificate idn {\nsubjects other.test %s *.%s\nissuer internal\n}\nsite 1 A {\nbinding https *:%d: {\ncertificate idn\n}\nrespond a\n}",
		decomposed, decomposed, port))
	for sni, want := range map[string]string{aLabel: aLabel, "www." + aLabel: "*." + aLabel} {
		leaf, err := ts.Handshake(at("127.0.0.1", port), sni)
		if err != nil || ts.Subject(leaf) != want {
			t.Errorf("%s: got %s, %v; want %s", sni, ts.Subject(leaf), err, want)
		}
	}
}

// TestOrdinaryInternationalHost: Caddy takes a host as it is written, and what no
// browser asks for is pointed out.
func TestOrdinaryInternationalHost(t *testing.T) {
	port := ts.FreePort(t)
	config := fmt.Sprintf("{\nhttp_port %[1]d\niis {\nsite 1 A {\nserver_bindings :%[1]d:a.test\nrespond a\n}\n}\n}\nhttp://%%s:%[1]d {\nrespond ordinary\n}\n", port)
	s := ts.Start(t, fmt.Sprintf(config, decomposed))
	if finding(t, s, "host-not-as-browsers-write-it", "xn--bucher-xyd.test", aLabel) == nil {
		t.Errorf("no finding: %+v", findings(t, s))
	}
	if err := s.Load(fmt.Sprintf(config, composed)); err != nil {
		t.Fatal(err)
	}
	if f := finding(t, s, "host-not-as-browsers-write-it"); f != nil {
		t.Errorf("a finding about a right name: %+v", f)
	}
	exchange{name: "ordinary", request: ts.Request{Addr: at("127.0.0.1", port), Host: aLabel, Plain: true}, body: "ordinary"}.check(t)
}

// TestCentralStoreMisnamed: a file with a name that is not looked for is pointed
// out, and only that.
func TestCentralStoreMisnamed(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	needs.CaseSensitive(t, dir)
	for i, file := range []string{"WWW.Example.test.PFX", "_.Below.test.pfx", decomposed + ".pfx"} {
		replace(t, filepath.Join(dir, file), issue(t, int64(i+1), nil, "x.test").pfx(t, "secret"))
	}
	s := startIIS(t, storeIIS(t, port, dir+" {\npassword secret\n}", "www.example.test", "shop.below.test", composed, "nothing.test"))
	for host, file := range map[string][2]string{
		"www.example.test": {"WWW.Example.test.PFX", "www.example.test.pfx"},
		"shop.below.test":  {"_.Below.test.pfx", "_.below.test.pfx"},
		aLabel:             {decomposed + ".pfx", composed + ".pfx or " + aLabel + ".pfx"},
	} {
		if finding(t, s, "not-in-central-store", "no file for "+host, fmt.Sprintf("but %q", file[0]), fmt.Sprintf("rename %q to %s", file[0], file[1])) == nil {
			t.Errorf("no finding about %s: %+v", host, findings(t, s))
		}
	}
	if f := finding(t, s, "not-in-central-store", "no file for nothing.test"); f == nil || strings.Contains(f.Message, "but") {
		t.Errorf("the finding about nothing.test: %+v", f)
	}
}

// TestCentralStoreIsWatchedLikeOthers: certificates of the store have findings and
// an expiry like others, sites and placeholders name their files, and what the
// store does is counted.
func TestCentralStoreIsWatchedLikeOthers(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	put := func(name string, serial int64, edit func(*x509.Certificate)) {
		replace(t, filepath.Join(dir, name+".pfx"), issue(t, serial, edit, name).pfx(t, "secret"))
	}
	now := time.Now().Truncate(time.Second)
	expired := now.Add(-24 * time.Hour)
	put("good.test", 1, nil)
	put("expired.test", 2, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-1000*time.Hour), expired })
	put("early.test", 3, func(c *x509.Certificate) { c.NotBefore = now.Add(48 * time.Hour) })
	put("client.test", 4, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	put("nobodys.test", 5, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-1000*time.Hour), expired.Add(-time.Hour) })
	weak := issue(t, 6, nil, "weak.test")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := *weak.leaf
	der, err := x509.CreateCertificate(rand.Reader, &template, weak.issuer, key.Public(), weak.issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := pkcs12.Modern.Encode(key, leaf, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "weak.test.pfx"), alone)

	s := startIIS(t, storeIIS(t, port, dir+" {\npassword secret\nentries 50\nrate 5\ntimeout 5s\npoll 1s\n}", "good.test", "expired.test", "early.test", "client.test", "weak.test"))
	for code, host := range map[string]string{
		"certificate-expired": "expired.test", "certificate-not-yet-valid": "early.test",
		"certificate-not-for-servers": "client.test", "certificate-weak-key": "weak.test", "certificate-chain-incomplete": "weak.test",
	} {
		if f := finding(t, s, code, host+".pfx"); f == nil || f.Site == 0 {
			t.Errorf("%s of %s: %+v", code, host, f)
		}
	}
	if f := finding(t, s, "certificate-expired", "nobodys"); f != nil {
		t.Errorf("a file that nobody has asked for: %+v", f)
	}
	for i, host := range []string{"good.test", "expired.test", "nobodys.test"} {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: host, Host: "good.test"})
		if err != nil || answer.Subject() != host || answer.Body != "1 "+host+".pfx" {
			t.Errorf("%d %s: got %v, %v", i, host, answer, err)
		}
	}
	if f := finding(t, s, "certificate-expired", "nobodys.test.pfx"); f == nil {
		t.Error("an expired file that serves has no finding")
	}
	want := fmt.Sprintf("%.9e", float64(expired.Add(-time.Hour).Unix()))
	if got := metric(t, s, "caddy_iis_certificate_expiry_timestamp_seconds", `certificate="(central store)"`); !sameNumber(got, want) {
		t.Errorf("expiry %s, want %s", got, want)
	}
	var list adminapi.Page[adminapi.Certificate]
	s.AdminJSON("/iis/certificates", &list)
	store := list.Items[0]
	if store.Store == nil || store.Store.Certificates != 3 || store.Store.Hits == 0 {
		t.Fatalf("the store is shown as %+v", store)
	}
	for _, leaf := range store.Current {
		sites := 1
		if leaf.File == "nobodys.test.pfx" {
			sites = 0
		}
		if leaf.SiteCount != sites || leaf.File != leaf.Subjects[0]+".pfx" {
			t.Errorf("file %q has %d sites, want %d", leaf.File, leaf.SiteCount, sites)
		}
	}
	// 5 new names a second and 50 at once are looked for.
	for i := range 80 {
		if _, err := ts.Handshake(at("127.0.0.1", port), fmt.Sprintf("n%d.d%d.test", i, i)); err != nil {
			t.Fatal(err)
		}
	}
	_, body := s.Admin(http.MethodGet, "/metrics", "")
	for _, name := range []string{"hits_total", "misses_total", "limited_total", "accesses_total", "certificates", "reachable"} {
		if value := line(body, "caddy_iis_central_store_"+name+" "); value == "" || value == "0" {
			t.Errorf("%s is %q", name, value)
		}
	}
	if value := line(body, "caddy_iis_central_store_timeouts_total "); value != "0" {
		t.Errorf("timeouts are %q", value)
	}
	// A file that is replaced has its findings without a load.
	put("good.test", 7, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-1000*time.Hour), now.Add(24*time.Hour) })
	waitFor(t, "the finding about the new file", func() bool {
		return len(ts.Logs.Lines("good.test.pfx", "expires on")) > 0
	})
}

// line returns what stands behind the beginning of a line.
func line(text, begin string) string {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, begin); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func sameNumber(a, b string) bool {
	var x, y float64
	if _, err := fmt.Sscan(a, &x); err != nil {
		return false
	}
	if _, err := fmt.Sscan(b, &y); err != nil {
		return false
	}
	return x == y
}

// encryptedKey returns the private key encrypted with a password.
func (i *issued) encryptedKey(t *testing.T, password string) []byte {
	t.Helper()
	needs.OpenSSL(t)
	cmd := exec.Command("openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:"+password)
	cmd.Stdin = bytes.NewReader(i.key)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPasswordFileRotates: a file and the file with its password are rotated one
// after the other, in either order, and the new certificate serves without a load.
func TestPasswordFileRotates(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	password := func(n int) string { return fmt.Sprintf("password %d", n) }
	in := func(name string) string { return filepath.Join(dir, name) }
	kinds := []struct {
		name   string
		write  func(serial int64, password string)
		secret string
	}{
		{"pfx.test", func(serial int64, password string) {
			replace(t, in("a.pfx"), issue(t, serial, nil, "pfx.test").pfx(t, password))
		}, in("pfx.password")},
		{"pem.test", func(serial int64, password string) {
			next := issue(t, serial, nil, "pem.test")
			replace(t, in("a.key"), next.encryptedKey(t, password))
			replace(t, in("a.pem"), next.cert)
		}, in("pem.password")},
		{"store.test", func(serial int64, password string) {
			if err := os.MkdirAll(in("store"), 0o700); err != nil {
				t.Fatal(err)
			}
			replace(t, in("store/store.test.pfx"), issue(t, serial, nil, "store.test").pfx(t, password))
		}, in("store.password")},
	}
	for _, k := range kinds {
		replace(t, k.secret, []byte(password(1)+"\n"))
		k.write(1, password(1))
	}
	config := func(extra string) string {
		return iisConfig(fmt.Sprintf(`%[3]s
			certificate pfx %[1]s/a.pfx {
				password {file.%[1]s/pfx.password}
			}
			certificate pem pem {
				certificate %[1]s/a.pem
				key %[1]s/a.key
				password {file.%[1]s/pem.password}
			}
			central_store %[1]s/store {
				password {file.%[1]s/store.password}
				poll 300ms
			}
			site 1 PFX {
				binding https *:%[2]d:pfx.test {
					sni
					certificate pfx
				}
				respond pfx
			}
			site 2 PEM {
				binding https *:%[2]d:pem.test {
					sni
					certificate pem
				}
				respond pem
			}
			site 3 Store {
				binding https *:%[2]d:store.test {
					sni
					central_store
				}
				respond store
			}`, dir, port, extra))
	}
	s := ts.Start(t, config(""))
	serial := func(name string) int64 {
		leaf, err := ts.Handshake(at("127.0.0.1", port), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return leaf.SerialNumber.Int64()
	}
	rotate := func(k int, serialNumber int64, passwordFirst bool) {
		kind, next := kinds[k], password(int(serialNumber))
		first, second := func() { kind.write(serialNumber, next) }, func() { replace(t, kind.secret, []byte(next+"\n")) }
		if passwordFirst {
			first, second = second, first
		}
		complaints := len(ts.Logs.Lines("wrong password"))
		first()
		waitFor(t, kind.name+": a complaint in between", func() bool { return len(ts.Logs.Lines("wrong password")) > complaints })
		if got := serial(kind.name); got != serialNumber-1 {
			t.Errorf("%s: in between, %d serves", kind.name, got)
		}
		second()
		waitFor(t, kind.name+": the new certificate", func() bool { return serial(kind.name) == serialNumber })
	}
	for k := range kinds {
		if got := serial(kinds[k].name); got != 1 {
			t.Fatalf("%s: %d serves", kinds[k].name, got)
		}
		rotate(k, 2, false)
		rotate(k, 3, true)
	}
	// A load that finds everything there looks at the passwords as well.
	for k := range kinds {
		replace(t, kinds[k].secret, []byte(password(4)))
		kinds[k].write(4, password(4))
	}
	if err := s.Load(config("sni_missing reject")); err != nil {
		t.Fatal(err)
	}
	for k := range kinds {
		waitFor(t, kinds[k].name+": the certificate of the load", func() bool { return serial(kinds[k].name) == 4 })
	}
	if logged := ts.Logs.String(); strings.Contains(logged, password(2)) || strings.Contains(logged, password(4)) {
		t.Error("a password is in the log")
	}
}

// TestTrustPoolRotates: the authorities of client certificates that stand in files
// are followed, without a load; what is broken changes nothing; a ticket of a
// client whose authority is gone is worth nothing.
func TestTrustPoolRotates(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	file, leaves := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaves")
	if err := os.Mkdir(leaves, 0o700); err != nil {
		t.Fatal(err)
	}
	pemOf := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	a, b := first.client(t), second.client(t)
	replace(t, file, pemOf(first.cert.Raw))
	replace(t, filepath.Join(leaves, "a.pem"), pemOf(a.Certificate[0]))
	s := startIIS(t, certificates(t, "ca.test", "leaf.test", "open.test")+fmt.Sprintf(`
		site 1 CA {
			binding https *:%[1]d:ca.test {
				sni
				certificate ca.test
				client_auth {
					mode require_and_verify
					trust_pool file %[2]s
				}
			}
			respond ca
		}
		site 2 Leaf {
			binding https *:%[1]d:leaf.test {
				sni
				certificate leaf.test
				client_auth {
					mode require
					verifier leaf {
						folder %[3]s
					}
				}
			}
			respond leaf
		}
		site 3 Open {
			binding https *:%[1]d:open.test {
				sni
				certificate open.test
			}
			respond open
		}`, port, file, leaves))
	config := &tls.Config{InsecureSkipVerify: true}
	request := func(name string, client tls.Certificate, cache tls.ClientSessionCache, version uint16) (*ts.Answer, error) {
		cfg := config.Clone()
		cfg.Certificates = []tls.Certificate{client}
		cfg.ClientSessionCache, cfg.MaxVersion = cache, version
		return ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: name, TLS: cfg})
	}
	gets := func(name string, client tls.Certificate) bool {
		answer, err := request(name, client, nil, 0)
		return err == nil && answer.Status == 200
	}
	caches := map[uint16]tls.ClientSessionCache{tls.VersionTLS12: tls.NewLRUClientSessionCache(8), tls.VersionTLS13: tls.NewLRUClientSessionCache(8)}
	for version, cache := range caches {
		for range 2 {
			if answer, err := request("ca.test", a, cache, version); err != nil || answer.Status != 200 {
				t.Fatalf("the first authority: %v, %v", answer, err)
			}
		}
	}
	if gets("ca.test", b) || !gets("leaf.test", a) || gets("leaf.test", b) {
		t.Fatal("the wrong clients are let in")
	}
	kept := ts.NewClient(ts.Request{Addr: at("127.0.0.1", port), SNI: "open.test"})
	defer kept.Close()
	open := exchange{name: "kept", request: ts.Request{Addr: at("127.0.0.1", port), SNI: "open.test"}, cert: "open.test", body: "open"}
	open.onKept(t, kept)

	replace(t, file, []byte("-----BEGIN CERTIFICATE-----\nbroken"))
	waitFor(t, "a complaint", func() bool {
		return len(ts.Logs.Lines("cannot reload authorities of client certificates", "ca.pem")) == 1
	})
	if !gets("ca.test", a) || gets("ca.test", b) {
		t.Error("a broken file has changed who is let in")
	}
	if finding(t, s, "client-authority-file-broken", "ca.pem") == nil {
		t.Errorf("the findings are %+v", findings(t, s))
	}
	replace(t, file, pemOf(second.cert.Raw))
	waitFor(t, "the second authority", func() bool { return gets("ca.test", b) })
	if gets("ca.test", a) {
		t.Error("the authority that is gone still counts")
	}
	for version, cache := range caches {
		if answer, err := request("ca.test", a, cache, version); err == nil && answer.Status == 200 {
			t.Errorf("%s: a ticket of before is let in: %v", tls.VersionName(version), answer)
		}
	}
	replace(t, filepath.Join(leaves, "b.pem"), pemOf(b.Certificate[0]))
	waitFor(t, "a file that came", func() bool { return gets("leaf.test", b) })
	if err := os.Remove(filepath.Join(leaves, "a.pem")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a file that went", func() bool { return !gets("leaf.test", a) })
	replace(t, filepath.Join(leaves, "b.pem"), pemOf(a.Certificate[0]))
	waitFor(t, "a file that changed", func() bool { return gets("leaf.test", a) && !gets("leaf.test", b) })
	open.onKept(t, kept)
	if kept.Dials() != 1 {
		t.Errorf("connections to other sites were closed: %d dials", kept.Dials())
	}
}
