package caddyiis_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// certificateJSON is a certificate as a request has it.
func certificateJSON(c *issued) string {
	raw, _ := json.Marshal(adminapi.NewCertificate{Certificate: string(c.cert), Key: string(c.key)})
	return string(raw)
}

// keyFile makes a key for private keys, and the word that names it.
func keyFile(t *testing.T) (path, word string) {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	path = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, "certificate_key {file." + path + "}"
}

// sni is the document of a site with an https binding by name, and a certificate.
func (l *live) sni(host, certificate string) string {
	return fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:%s","flags":1,"certificate":%q}]}`, l.secure, host, certificate)
}

// leaf checks which certificate a host gets.
func (l *live) leaf(host string, want *issued) {
	l.t.Helper()
	leaf, err := ts.Handshake(at("127.0.0.1", l.secure), host)
	if err != nil || !leaf.Equal(want.leaf) {
		l.t.Errorf("%s: got %v, %v, want serial number %v", host, leaf, err, want.leaf.SerialNumber)
	}
}

// TestCertificatesAsData: a certificate that is put serves a site that names it, is
// replaced and deleted without a load, and is there after a restart. Its key is shown
// nowhere, and is encrypted in the file.
func TestCertificatesAsData(t *testing.T) {
	_, word := keyFile(t)
	l := startLive(t, word, "")
	first, second := issue(t, 10, nil, "shop.test"), issue(t, 11, nil, "shop.test")
	l.refused(422, "PUT", "sites/10", l.sni("shop.test", "shop"), `certificate "shop" is not configured`)
	w := l.want(201, "PUT", "certificates/shop", certificateJSON(first))
	if w.Certificate != "shop" || w.ETag == "" || !w.Serves {
		t.Errorf("answer %+v", w)
	}
	if status := l.ask("GET", "sites?revision="+w.Revision+"&wait=5s", "", nil); status != 200 {
		t.Errorf("the revision of a certificate is not served: %d", status)
	}
	l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	l.leaf("shop.test", first)

	cache := tls.NewLRUClientSessionCache(4)
	request := ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "shop.test", TLS: &tls.Config{}}
	resumed := func(want bool, by *issued) {
		t.Helper()
		answer, err := offering(cache, tls.VersionTLS13, request)
		if err != nil || answer.State.DidResume != want || !answer.State.PeerCertificates[0].Equal(by.leaf) {
			t.Errorf("resumed %v, %v, want %v", answer != nil && answer.State.DidResume, err, want)
		}
	}
	resumed(false, first)
	resumed(true, first)
	again := l.want(200, "PUT", "certificates/shop", certificateJSON(first))
	if again.ETag != w.ETag || again.Revision == w.Revision {
		t.Errorf("the same again: %+v, before %+v", again, w)
	}
	l.want(200, "PUT", "certificates/shop", certificateJSON(second))
	l.leaf("shop.test", second)
	resumed(false, second)
	resumed(true, second)

	var shown adminapi.Certificate
	if l.ask("GET", "certificates/shop", "", &shown) != 200 || shown.KeptIn != "bolt" || shown.PEM != string(second.cert) || shown.ETag == "" || shown.UsedBy.SiteCount != 1 {
		t.Errorf("shown as %+v", shown)
	}
	if status := l.ask("GET", "certificates/shop", "", nil, "If-None-Match", shown.ETag); status != 304 {
		t.Errorf("with its ETag: %d", status)
	}
	raw, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"certificates", "certificates/shop", "revisions", "export", "sites/10", "check"} {
		_, answer := l.Admin(http.MethodGet, "/iis/"+path, "")
		raw = append(raw, answer...)
	}
	block := strings.Split(string(second.key), "\n")[1]
	for _, secret := range []string{"PRIVATE KEY", block, block[:40]} {
		if strings.Contains(string(raw), secret) || len(ts.Logs.Lines(secret)) > 0 {
			t.Errorf("the private key is to be seen: %q", secret)
		}
	}

	e := l.refused(409, "DELETE", "certificates/shop", "", "site 10")
	if e.Code != "certificate-in-use" || len(e.Sites) != 1 || e.Sites[0] != 10 {
		t.Errorf("refused with %+v", e)
	}
	// Also a site that names it and has no binding yet that would use it.
	l.want(201, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:later.test"],"certificate":"shop","autostart":false}`, l.plain))
	if e := l.refused(409, "DELETE", "certificates/shop", "", "site 11"); len(e.Sites) != 2 {
		t.Errorf("used by %v", e.Sites)
	}
	l.want(204, "DELETE", "sites/11", "")
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.leaf("shop.test", second)
	if err := l.Load(l.config("log_sni")); err != nil {
		t.Fatal(err)
	}
	l.leaf("shop.test", second)
	l.want(204, "DELETE", "sites/10", "")
	l.want(204, "DELETE", "certificates/shop", "")
	if status := l.ask("GET", "certificates/shop", "", nil); status != 404 {
		t.Errorf("after DELETE: %d", status)
	}
	l.refused(404, "DELETE", "certificates/shop", "", "no certificate shop")
}

// TestCertificatesRevert: the log has certificates, and takes them back.
func TestCertificatesRevert(t *testing.T) {
	_, word := keyFile(t)
	l := startLive(t, word, "")
	first, second := issue(t, 20, nil, "shop.test"), issue(t, 21, nil, "shop.test")
	l.want(201, "PUT", "certificates/shop", certificateJSON(first), "Iis-Actor", "panel")
	l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	l.want(200, "PUT", "certificates/shop", certificateJSON(second))
	var log adminapi.Page[adminapi.Revision]
	l.ask("GET", "revisions", "", &log)
	if len(log.Items) != 3 || log.Items[0].Changes[0].Certificate != "shop" || log.Items[0].Changes[0].ID != 0 ||
		!strings.Contains(string(log.Items[0].Changes[0].Before), "BEGIN CERTIFICATE") || !strings.Contains(log.Items[2].By, "panel") {
		t.Fatalf("the log is %+v", log.Items)
	}
	l.want(200, "POST", "revisions/3/revert", "")
	l.leaf("shop.test", first)
	l.refused(409, "POST", "revisions/1/revert", "", "site 10")
	l.want(204, "DELETE", "sites/10", "")
	l.want(200, "POST", "revisions/1/revert", "")
	if status := l.ask("GET", "certificates/shop", "", nil); status != 404 {
		t.Errorf("after the first revision is taken back: %d", status)
	}
	// Revision 6 has deleted it.
	l.want(200, "POST", "revisions/6/revert", "")
	l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	l.leaf("shop.test", first)
}

// TestCertificatesRevertEncrypts: what is taken back out of a log that was written when
// keys were plain is encrypted, and refused where there is no key for that.
func TestCertificatesRevertEncrypts(t *testing.T) {
	l := startLive(t, "plain_keys", "")
	first, second := issue(t, 22, nil, "shop.test"), issue(t, 23, nil, "shop.test")
	l.want(201, "PUT", "certificates/shop", certificateJSON(first))
	l.want(200, "PUT", "certificates/shop", certificateJSON(second))
	with := func(word string) string { return strings.Replace(l.config(""), "plain_keys", word, 1) }
	if err := l.Load(with("")); err != nil {
		t.Fatal(err)
	}
	l.refused(422, "POST", "revisions/2/revert", "", "certificate_key")
	outdated := func() *adminapi.Finding { return finding(t, l.Server, "certificate-key-outdated", "shop") }
	_, word := keyFile(t)
	if err := l.Load(with(word)); err != nil {
		t.Fatal(err)
	}
	if outdated() == nil {
		t.Error("no finding about a key that is plain")
	}
	l.want(200, "POST", "revisions/2/revert", "")
	if f := outdated(); f != nil {
		t.Errorf("a finding about a key that is encrypted: %+v", f)
	}
	l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	l.leaf("shop.test", first)
	table, err := sites.ReadBolt(l.file)
	if err != nil {
		t.Fatal(err)
	}
	row, there, err := table.Certificate("shop")
	if err = errors.Join(err, table.Close()); err != nil || !there || strings.Contains(string(row.Document), "plain") {
		t.Errorf("kept as %s, %v", row.Document, err)
	}
}

// TestCertificatesDuringLoad: a certificate that is put while a configuration is loaded,
// which could not decrypt the one before, serves in that one too, with the site that
// waited for it.
func TestCertificatesDuringLoad(t *testing.T) {
	_, before := keyFile(t)
	_, after := keyFile(t)
	l := startLive(t, before, "")
	c := issue(t, 41, nil, "a.test")
	l.want(201, "PUT", "certificates/a", certificateJSON(c))
	l.want(201, "PUT", "sites/10", l.sni("a.test", "a"))
	config := strings.Replace(l.config(""), before, after, 1)
	if err := l.Restart(config); err != nil {
		t.Fatal(err)
	}
	raw, err := l.Adapt(strings.Replace(config, "iis {", "iis {\nlog_sni", 1))
	if err != nil {
		t.Fatal(err)
	}
	finish := loadBlocked(t, l.Server, raw)
	l.want(200, "PUT", "certificates/a", certificateJSON(c))
	l.leaf("a.test", c)
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	l.leaf("a.test", c)
	for _, code := range []string{"certificate-held-back", "site-held-back"} {
		if f := finding(t, l.Server, code); f != nil {
			t.Errorf("%+v", f)
		}
	}
}

// TestCertificatesRefused: conditions, kinds of bodies and what is no certificate.
func TestCertificatesRefused(t *testing.T) {
	_, word := keyFile(t)
	l := startLive(t, word, "")
	over := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) } // which is a finding
	c, other := issue(t, 30, over, "a.test"), issue(t, 31, nil, "a.test")
	put := func(given adminapi.NewCertificate) string {
		raw, _ := json.Marshal(given)
		return string(raw)
	}
	for body, want := range map[string]string{
		put(adminapi.NewCertificate{Certificate: string(c.cert), Key: string(other.key)}): "",
		put(adminapi.NewCertificate{Certificate: string(c.cert)}):                         "private key",
		put(adminapi.NewCertificate{PFX: c.pfx(t, "right"), Password: "wrong"}):           "password",
		put(adminapi.NewCertificate{PFX: c.pfx(t, "right")}):                              "password",
		put(adminapi.NewCertificate{PFX: c.pfx(t, "right"), Key: "x", Password: "right"}): "excludes",
		put(adminapi.NewCertificate{Certificate: "nothing", Key: string(c.key)}):          "",
		`{"certificate":1}`:                     "",
		`{"crt":"x"}`:                           "crt",
		`{}`:                                    "PEM",
		"":                                      "",
		certificateJSON(c) + certificateJSON(c): "more than one",
		certificateJSON(c) + "}":                "more than one",
	} {
		l.refused(422, "PUT", "certificates/a", body, want)
	}
	l.refused(415, "PUT", "certificates/a", "x", "content type", "Content-Type", "text/plain")
	l.refused(413, "PUT", "certificates/a", strings.Repeat("x", 16<<20+1), "more than")
	for _, name := range []string{"..", "-a", "a%2Fb", "a%00b", "(bolt)", strings.Repeat("a", 129), "*.a.test", "b%C3%BCcher"} {
		if status := l.ask("PUT", "certificates/"+name, certificateJSON(c), nil); status < 400 || status >= 500 {
			t.Errorf("name %q: %d", name, status)
		}
	}
	l.refused(409, "PUT", "certificates/wild.test", certificateJSON(c), "one of the configuration")
	l.want(405, "PATCH", "certificates/a", certificateJSON(c))

	l.want(412, "PUT", "certificates/a", certificateJSON(c), "If-Match", "*")
	l.want(200, "PUT", "certificates/a?dry_run=1", certificateJSON(c))
	if status := l.ask("GET", "certificates/a", "", nil); status != 404 {
		t.Errorf("after dry_run: %d", status)
	}
	w := l.want(201, "PUT", "certificates/a", certificateJSON(c), "If-None-Match", "*", "Idempotency-Key", "k1")
	again := l.want(201, "PUT", "certificates/a", certificateJSON(c), "If-None-Match", "*", "Idempotency-Key", "k1")
	if len(w.Findings) == 0 || !reflect.DeepEqual(again, w) {
		t.Errorf("with the same key: %+v, before %+v", again, w)
	}
	l.want(422, "PUT", "certificates/a", certificateJSON(other), "Idempotency-Key", "k1")
	if e := l.refused(412, "PUT", "certificates/a", certificateJSON(other), "somebody has changed it", "If-None-Match", "*"); e.ETag != w.ETag || e.Revision != w.Revision {
		t.Errorf("it does not tell what is there: %+v", e)
	}
	l.want(412, "DELETE", "certificates/a", "", "If-Match", `"x:1"`)
	l.want(200, "PUT", "certificates/a", certificateJSON(other), "If-Match", w.ETag)
	l.want(412, "PUT", "certificates/a", certificateJSON(c), "If-Match", w.ETag)
	l.want(200, "PUT", "certificates/a", string(c.cert)+string(c.key), "Content-Type", "application/x-pem-file")
	l.want(200, "PUT", "certificates/a", string(other.pfx(t, "")), "Content-Type", "application/x-pkcs12")
	l.want(200, "PUT", "certificates/a", put(adminapi.NewCertificate{PFX: c.pfx(t, "right"), Password: "right"}))
	expired := issue(t, 32, over, "b.test")
	l.want(201, "PUT", "sites/10", l.sni("b.test", "a"))
	w = l.want(200, "PUT", "certificates/a", certificateJSON(expired))
	if len(w.Findings) == 0 || w.Findings[0].Code != "certificate-expired" {
		t.Errorf("findings %+v", w.Findings)
	}
	w = l.want(200, "PUT", "certificates/a", certificateJSON(c))
	if len(w.Findings) == 0 || w.Findings[len(w.Findings)-1].Code != "certificate-name-mismatch" || w.Findings[len(w.Findings)-1].Site != 10 {
		t.Errorf("findings %+v", w.Findings)
	}
	if f := finding(t, l.Server, "certificate-name-mismatch", "b.test"); f == nil {
		t.Error("no finding about the name")
	}
}

// TestCertificatesNeedKey: a source without key keeps none, a wrong key is said, and a
// load with it refused.
func TestCertificatesNeedKey(t *testing.T) {
	l := startLive(t, "", "")
	c := issue(t, 40, nil, "a.test")
	l.refused(422, "PUT", "certificates/a", certificateJSON(c), "plain_keys")
	_, right := keyFile(t)
	_, wrong := keyFile(t)
	with := func(word string) string {
		return strings.Replace(l.config(""), l.file+"\" {", l.file+"\" {\n"+word+"\n", 1)
	}
	if err := l.Load(with(right)); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "certificates/a", certificateJSON(c))
	l.want(201, "PUT", "sites/10", l.sni("a.test", "a"))
	if err := l.Load(with(wrong)); err == nil || !strings.Contains(err.Error(), "encrypted with another key") {
		t.Fatalf("a load with the wrong key: %v", err)
	}
	if err := l.Load(l.config("")); err == nil {
		t.Fatal("a load without the key is not refused")
	}
	if err := l.Load(strings.Replace(with(right), "template page", "certificate a {\nsubjects x.test\nissuer internal\n}\ntemplate page", 1)); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Fatalf("a load with a certificate of the same name: %v", err)
	}
	l.leaf("a.test", c)
	if err := l.Restart(with(wrong)); err != nil {
		t.Fatal(err)
	}
	if finding(t, l.Server, "certificate-held-back", `"a"`, "another key") == nil || finding(t, l.Server, "site-held-back", "site 10") == nil {
		t.Errorf("findings %+v", findings(t, l.Server))
	}
	var shown adminapi.Certificate
	if l.ask("GET", "certificates/a", "", &shown) != 200 || !strings.Contains(shown.Error, "another key") {
		t.Errorf("shown as %+v", shown)
	}
	l.refused(409, "DELETE", "certificates/a", "", "site 10")
	// The new key first, the old one still opens; putting it again encrypts it anew.
	rotated := strings.TrimPrefix(right, "certificate_key ")
	if err := l.Load(with(wrong + " " + rotated)); err != nil {
		t.Fatal(err)
	}
	l.leaf("a.test", c)
	if finding(t, l.Server, "certificate-key-outdated", ": a") == nil {
		t.Errorf("findings %+v", findings(t, l.Server))
	}
	l.want(200, "PUT", "certificates/a", certificateJSON(c))
	if err := l.Restart(with(wrong)); err != nil {
		t.Fatal(err)
	}
	l.leaf("a.test", c)
	for word, want := range map[string]string{
		"certificate_key secret":               "placeholder",
		"certificate_key {env.NOT_THERE}":      "certificate_key",
		right + "\nplain_keys":                 "exclude each other",
		"certificate_key {file./etc/hostname}": "openssl rand",
	} {
		if err := l.Load(with(word)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// TestCertificatesHeldSite: a site that waits for its certificate serves as soon as that
// is there.
func TestCertificatesHeldSite(t *testing.T) {
	l := startLive(t, "plain_keys", "")
	c := issue(t, 50, nil, "a.test")
	l.want(201, "PUT", "certificates/a", certificateJSON(c))
	l.want(201, "PUT", "sites/10", l.sni("a.test", "a"))
	l.ask("POST", "changes", "[]", nil)
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.leaf("a.test", c)
	// Sites of the configuration may not name it: they come before sources are open.
	err := l.Load(l.config("site 2 {\nbinding https *:443:b.test {\nsni\ncertificate a\n}\n}"))
	if err == nil || !strings.Contains(err.Error(), `certificate "a" is not configured`) {
		t.Errorf("a site of the configuration: %v", err)
	}
}

// TestCertificatesKill: whenever the process is killed, what was acknowledged is served.
func TestCertificatesKill(t *testing.T) {
	p := &program{t: t, home: t.TempDir()}
	port, plain, admin := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	_, word := keyFile(t)
	file := filepath.Join(p.home, "Caddyfile")
	config := fmt.Sprintf("{\nadmin 127.0.0.1:%d\niis {\nsites_from bolt %q {\n%s\nallow {\nports %d\n}\n}\nsite 1 ready {\nserver_bindings :%d:\nrespond ok\n}\n}\n}\n",
		admin, filepath.Join(p.home, "sites.db"), word, port, plain)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	certs := make([]string, 30)
	for i := range certs {
		certs[i] = certificateJSON(issue(t, int64(1000+i), nil, "a.test"))
	}
	send := func(path, body string) bool {
		return acknowledges(admin, http.MethodPut, path, body)
	}
	var acknowledged atomic.Int64
	acknowledged.Store(-1)
	for round := range 3 {
		kill := p.run(fmt.Sprintf("http://127.0.0.1:%d/", plain), admin, "--config", file, "--adapter", "caddyfile")
		if before := acknowledged.Load(); before >= 0 {
			leaf, err := ts.Handshake(at("127.0.0.1", port), "a.test")
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if got := leaf.SerialNumber.Int64() - 1000; got != before%30 && got != (before+1)%30 {
				t.Errorf("round %d: number %d serves, and %d was acknowledged", round, got, before%30)
			}
		} else {
			if !send("certificates/a", certs[29]) || !send("sites/10", fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:a.test","flags":1,"certificate":"a"}]}`, port)) {
				t.Fatal("the first changes are refused")
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := acknowledged.Load() + 1; send("certificates/a", certs[n%30]); n++ {
				acknowledged.Store(n)
			}
		}()
		waitFor(t, "changes", func() bool { return acknowledged.Load() > int64(round+2) })
		time.Sleep(time.Duration(7*round) * time.Millisecond) // any moment is right
		kill()
		<-done
	}
}

// TestCertificateCommands: add, replace, remove, and an export that reads the file while
// Caddy has it open.
func TestCertificateCommands(t *testing.T) {
	key, word := keyFile(t)
	l := startLive(t, word, "")
	dir := t.TempDir()
	first, second := issue(t, 60, nil, "shop.test"), issue(t, 61, nil, "shop.test")
	first.write(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	replace(t, file("second.pfx"), second.pfx(t, "swordfish"))
	replace(t, file("password"), []byte("swordfish\n"))
	replace(t, file("wrong"), []byte("trout"))
	run := func(code int, want string, args ...string) {
		t.Helper()
		if out, errOut := l.run(code, append([]string{"certificates"}, args...)...); !strings.Contains(out+errOut, want) {
			t.Errorf("%v: want %q:\n%s%s", args, want, out, errOut)
		}
	}
	run(0, "added", "add", "shop", file("site.pem"), file("site.key"))
	l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	l.leaf("shop.test", first)
	run(0, "added", "add", "shop", file("site.pem"), file("site.key")) // as it is already
	run(1, "replace it", "add", "shop", file("second.pfx"), "--password-file", file("password"))
	run(1, "password", "replace", "shop", file("second.pfx"), "--password-file", file("wrong"))
	run(1, "add it", "replace", "other", file("site.pem"), file("site.key"))
	run(1, "stands alone", "add", "other", file("site.pem"), file("second.pfx"))
	run(0, "replaced", "replace", "shop", file("second.pfx"), "--password-file", file("password"))
	l.leaf("shop.test", second)
	run(1, "site 10", "remove", "shop")
	run(0, "SITES")

	export := []string{"export", "shop", "--file", l.file, "--password-file", file("password"), "--pfx", file("out.pfx")}
	run(1, "another key", export...)
	other, _ := keyFile(t)
	run(1, "another key", append(export, "--key-file", other)...)
	run(1, "no certificate nothing", append([]string{"export", "nothing"}, append(export[2:], "--key-file", key)...)...)
	if _, err := os.Stat(file("out.pfx")); err == nil {
		t.Error("there is a file of an export that failed")
	}
	run(0, "with its private key", append(export, "--key-file", key)...)
	run(1, "is there already", append(export, "--key-file", key)...)
	info, err := os.Stat(file("out.pfx"))
	if err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("the file is %v, %v", info, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(l.file), ".sites-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
	data, err := os.ReadFile(file("out.pfx"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certfile.PFX(data, certfile.Options{Password: "swordfish"})
	if err != nil || !cert.Leaf.Equal(second.leaf) {
		t.Errorf("the file has %v, %v", cert, err)
	}
	l.want(204, "DELETE", "sites/10", "")
	run(0, "removed", "remove", "shop")
	run(1, "no certificate shop", "remove", "shop")
}

// sitesOnly is a source whose table keeps no certificates.
type sitesOnly struct{ sites.Bolt }

func init() { caddy.RegisterModule(new(sitesOnly)) }

// CaddyModule returns the Caddy module information.
func (*sitesOnly) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.sites.test_sites_only", New: func() caddy.Module { return new(sitesOnly) }}
}

// Address returns the file.
func (s *sitesOnly) Address() string { return "only " + s.Bolt.Address() }

// Open opens the file.
func (s *sitesOnly) Open(ctx context.Context) (sites.Table, error) {
	table, err := s.Bolt.Open(ctx)
	return struct{ sites.Table }{table}, err
}

// TestSourceWithoutCertificates: a kind of source that keeps sites only is passed over,
// says so when it is named, and takes no key.
func TestSourceWithoutCertificates(t *testing.T) {
	dir := t.TempDir()
	config := func(words string) string {
		return fmt.Sprintf("sites_from test_sites_only %q {\nname plain\n%s\n}\nsites_from bolt %q {\nplain_keys\n}", filepath.Join(dir, "a.db"), words, filepath.Join(dir, "b.db"))
	}
	l := &live{t: t, Server: startIIS(t, config(""))}
	c := certificateJSON(issue(t, 90, nil, "a.test"))
	l.refused(422, "PUT", "certificates/a?source=plain", c, "keeps no certificates")
	if w := l.want(201, "PUT", "certificates/a", c); w.Source != "bolt" {
		t.Errorf("kept in %s", w.Source)
	}
	if err := l.Load(iisConfig(config("plain_keys"))); err == nil || !strings.Contains(err.Error(), "keeps no certificates") {
		t.Errorf("a key for it: %v", err)
	}
}
