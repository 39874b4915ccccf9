package caddyiis_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// otherServer is a server that is no Caddy: one certificate for everybody, and
// a redirect.
func otherServer(t *testing.T) string {
	certFile, keyFile := ts.PEM(t, "old", "www.contoso.test")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.RedirectHandler("/default.aspx", http.StatusFound))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// verified is what verify has written: the connections and their summary.
type verified struct {
	cli.Summary
	comparisons []*cli.Comparison
}

func verify(t *testing.T, s *session, args ...string) (verified, int) {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append([]string{"verify", "--json", "--address", s.AdminAddr()}, args...)
	code := caddyiis.RunCommand(&out, &errOut, args...)
	return readVerified(t, out.String()), code
}

func readVerified(t *testing.T, out string) verified {
	t.Helper()
	var v verified
	ended := false
	for line := range strings.Lines(out) {
		var l struct {
			Comparison *cli.Comparison `json:"comparison"`
			Summary    *cli.Summary    `json:"summary"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || ended || (l.Comparison == nil) == (l.Summary == nil) {
			t.Fatalf("line %q of %s: %v", line, out, err)
		}
		if ended = l.Summary != nil; ended {
			v.Summary = *l.Summary
		} else {
			v.comparisons = append(v.comparisons, l.Comparison)
		}
	}
	return v
}

// reasonsAt returns the reasons of the connections to a port by https.
func (v verified) reasonsAt(port int) []string {
	var all []string
	for _, c := range v.comparisons {
		if c.Scheme != "https" || !strings.HasSuffix(c.Endpoint, fmt.Sprintf(":%d", port)) {
			continue
		}
		for _, r := range c.Reasons {
			all = append(all, string(r.Class)+": "+r.Message)
		}
	}
	return all
}

// of returns what came of the connections with a host's name.
func (v verified) of(scheme, host string) *cli.Comparison {
	for _, c := range v.comparisons {
		if c.Scheme == scheme && c.Host == host && (scheme == "http" || c.SNI == host) {
			return c
		}
	}
	return &cli.Comparison{Class: "none"}
}

// TestVerifyAgainst: every kind of difference to another server is found.
func TestVerifyAgainst(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	other := fmt.Sprintf(":%d=%s", s.httpsPort, otherServer(t))
	v, code := verify(t, s, "--against", other, "--roots", "internal")
	if code != cli.ExitDiffers || v.Differ != 4 || v.Total != 10 || v.Broken != 0 {
		t.Errorf("exit code %d, %+v; want 1, 4 of 10", code, v.Summary)
	}
	for _, d := range []string{"the other server has certificate ", "answers with status 302 Found, this one with status 200", "redirects to /default.aspx, this one to nowhere"} {
		if n := strings.Count(strings.Join(v.reasonsAt(s.httpsPort), "\n"), d); n < 3 {
			t.Errorf("%q: %d times in %q", d, n, v.reasonsAt(s.httpsPort))
		}
	}
}

// TestVerifyNothing: what cannot be reached is no difference.
func TestVerifyNothing(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	nobody := fmt.Sprintf("127.0.0.1:%d", s.freePort)
	for _, c := range []struct{ flag, want string }{
		{"--against", "the other server cannot be reached at " + nobody + ": " + ts.Nobody() + " (--against says where it is)"},
		{"--server", "nothing could be found out, since no connection could be made: " + nobody + ": " + ts.Nobody() + " (--server says where this server is reached)"},
	} {
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, "verify", "--address", s.AdminAddr(), c.flag, nobody, c.flag, "127.0.0.2="+nobody)
		if code != cli.ExitNotAsked || errOut.String() != "Error: "+c.want+"\n" {
			t.Errorf("%s: exit code %d, %s%s", c.flag, code, out.String(), errOut.String())
		}
	}
}

// TestVerifyServer: a server that does not do what the tables say is found.
func TestVerifyServer(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, c := range []struct{ address, want string }{
		{otherServer(t), "differs: certificate "}, // which no browser takes either
		{fmt.Sprintf("127.0.0.1:%d", s.httpPort), "broken: the handshake fails"},
		{fmt.Sprintf("127.0.0.1:%d", s.freePort), "broken: nothing answers"},
		{silentServer(t), "broken: the handshake fails (nothing came within 300ms)"},
	} {
		v, code := verify(t, s, "--roots", "internal", "--timeout", "300ms", "--server", fmt.Sprintf(":%d=%s", s.httpsPort, c.address))
		reasons := v.reasonsAt(s.httpsPort)
		found := slices.ContainsFunc(reasons, func(r string) bool { return strings.HasPrefix(r, c.want) })
		if code != cli.ExitBroken || v.Differ+v.Broken != 4 || len(reasons) < 4 || !found {
			t.Errorf("%s: exit code %d, %+v, %q; want %q", c.address, code, v.Summary, reasons, c.want)
		}
	}
}

// TestVerifyGivesUp: a silent server with many names costs a few timeouts, not one for
// each.
func TestVerifyGivesUp(t *testing.T) {
	port := ts.FreePort(t)
	var bindings strings.Builder
	for i := range 200 {
		fmt.Fprintf(&bindings, ":%d:host%d.contoso.test ", port, i)
	}
	s := &session{Server: startIIS(t, "site 1 {\nserver_bindings "+bindings.String()+"\nrespond ok\n}")}
	v, code := verify(t, s, "--timeout", "100ms", "--parallel", "4", "--give-up", "6", "--server", silentServer(t))
	tried := 0
	for _, c := range v.comparisons {
		if !c.Got.NotTried {
			tried++
		}
	}
	// Those that were on their way are not called back.
	if code != cli.ExitBroken || v.Total != 201 || tried < 6 || tried > 6+4 || v.Unknown != 201-tried {
		t.Errorf("exit code %d, %d tried, %+v", code, tried, v.Summary)
	}
	if v, _ = verify(t, s, "--give-up", "0", "--timeout", "10ms", "--parallel", "100", "--server", silentServer(t)); v.Broken != 201 {
		t.Errorf("with --give-up 0: %+v", v.Summary)
	}
}

// TestVerifyClasses: each world has its class, its exit code and its cause.
func TestVerifyClasses(t *testing.T) {
	port, securePort, nobody := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	good, goodKey := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	expired, expiredKey := ts.PEMValid(t, -48*time.Hour, -24*time.Hour, "www.contoso.test")
	early, earlyKey := ts.PEMValid(t, time.Hour, 2*time.Hour, "www.contoso.test")
	other, otherKey := ts.PEM(t, "shop.contoso.test", "shop.contoso.test")
	paths := filepath.Join(t.TempDir(), "paths.txt")
	if err := os.WriteFile(paths, []byte("\ufeff# what is right\r\nhttp://www.contoso.test/ 404\r\n/missing 404\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secure := func(cert, key string) string {
		return fmt.Sprintf("certificate c %q %q\nsite 1 {\nsecure_bindings :%d:www.contoso.test\ncertificate c\nrespond ok\n}", cert, key, securePort)
	}
	plain := func(body string) string {
		return fmt.Sprintf("site 1 {\nserver_bindings :%d:www.contoso.test\n%s\n}", port, body)
	}
	for _, c := range []struct {
		name, iis string
		args      []string
		class     cli.Class
		code      int
		cause     string
	}{
		{"an answer", plain("respond ok"), nil, cli.ClassExpected, 0, ""},
		{"a redirect", plain("redir https://www.contoso.test/"), nil, cli.ClassExpected, 0, ""},
		{"offline", plain("offline"), nil, cli.ClassExpected, 0, ""},
		{"require_ssl", plain(fmt.Sprintf("secure_bindings :%d:\ncertificate c\nrequire_ssl", securePort)) + fmt.Sprintf("\ncertificate c %q %q", good, goodKey), []string{"--roots", good}, cli.ClassExpected, 0, ""},
		{"dead upstream", plain(fmt.Sprintf("reverse_proxy 127.0.0.1:%d", nobody)), nil, cli.ClassBroken, 2, "status 502 Bad Gateway"},
		{"error of the application", plain("respond oops 500"), nil, cli.ClassBroken, 2, "status 500 Internal Server Error"},
		{"unavailable", plain("respond oops 503"), nil, cli.ClassBroken, 2, "status 503 Service Unavailable"},
		{"abort", plain("abort"), nil, cli.ClassBroken, 2, "no answer: the connection was closed"},
		{"not found", plain("respond oops 404"), nil, cli.ClassUnknown, 4, "status 404 Not Found"},
		{"not allowed", plain("respond oops 401"), nil, cli.ClassUnknown, 4, "status 401 Unauthorized"},
		{"not found, which is right", plain("respond oops 404"), []string{"--paths", paths}, cli.ClassExpected, 0, ""},
		{"found, which is wrong", plain("respond ok"), []string{"--paths", paths}, cli.ClassDiffers, 1, "status 200 OK instead of status 404 Not Found"},
		{"broken, which is wrong", plain("respond oops 500"), []string{"--paths", paths}, cli.ClassBroken, 2, "status 500 Internal Server Error instead of status 404 Not Found"},
		{"certificate that clients trust", secure(good, goodKey), []string{"--roots", good}, cli.ClassExpected, 0, ""},
		{"certificate of nobody", secure(good, goodKey), nil, cli.ClassBroken, 2, `browsers refuse the certificate: its issuer "www.contoso.test" is not trusted`},
		{"expired", secure(expired, expiredKey), []string{"--roots", expired}, cli.ClassBroken, 2, "browsers refuse the certificate: certificate-expired"},
		{"not yet valid", secure(early, earlyKey), []string{"--roots", early}, cli.ClassBroken, 2, "browsers refuse the certificate: certificate-not-yet-valid"},
		{"for another name", secure(other, otherKey), []string{"--roots", other}, cli.ClassBroken, 2, "browsers refuse the certificate: it is for other names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &session{Server: startIIS(t, c.iis)}
			v, code := verify(t, s, c.args...)
			scheme := "http"
			if !strings.Contains(c.iis, "server_bindings") {
				scheme = "https"
			}
			got := v.of(scheme, "www.contoso.test")
			cause := ""
			if len(v.Causes) > 0 {
				cause = v.Causes[0].Cause
			}
			if code != c.code || got.Class != c.class || cause != c.cause {
				t.Errorf("exit code %d, %s, %+v; want %d, %s, %q", code, got.Class, v.Causes, c.code, c.class, c.cause)
			}
			if c.class != cli.ClassExpected && (v.Causes[0].Example == "" || v.Causes[0].Count != len(v.causedBy(c.cause))) {
				t.Errorf("%+v", v.Causes)
			}
		})
	}
}

// causedBy returns the comparisons with a cause.
func (v verified) causedBy(cause string) []*cli.Comparison {
	var list []*cli.Comparison
	for _, c := range v.comparisons {
		for _, r := range c.Reasons {
			if r.Cause == cause {
				list = append(list, c)
			}
		}
	}
	return list
}

// TestVerifyAgreed: what cannot be judged is right if the other server does the same.
func TestVerifyAgreed(t *testing.T) {
	port := ts.FreePort(t)
	for status, want := range map[int]int{http.StatusNotFound: cli.ExitOK, http.StatusBadGateway: cli.ExitBroken} {
		s := &session{Server: startIIS(t, fmt.Sprintf("site 1 {\nserver_bindings :%d:\nrespond \"\" %d\n}", port, status))}
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		if v, code := verify(t, s, "--against", other.Listener.Addr().String()); code != want {
			t.Errorf("%d: exit code %d, %+v", status, code, v.Summary)
		}
		other.Close()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifyMissing: a certificate that is not there breaks the names that it is for,
// and not the rule that refuses names of nobody.
func TestVerifyMissing(t *testing.T) {
	port := ts.FreePort(t)
	dir := t.TempDir()
	s := &session{Server: startIIS(t, fmt.Sprintf(`
		central_store %q
		site 1 {
			binding https *:%d:www.contoso.test {
				flags 3
			}
			respond ok
		}`, dir, port))}
	v, code := verify(t, s)
	if c := v.of("https", "www.contoso.test"); code != cli.ExitBroken || c.Class != cli.ClassBroken || c.Reasons[0].Cause != "the handshake is refused: the central store has no certificate for the name" {
		t.Errorf("exit code %d, %+v", code, c)
	}
}

// TestVerifyListen: connections that two endpoints have in common are made once.
func TestVerifyListen(t *testing.T) {
	port := ts.FreePort(t)
	s := &session{Server: startIIS(t, fmt.Sprintf(`
		listen 127.0.0.1
		site 1 {
			server_bindings 127.0.0.1:%[1]d:a.contoso.test :%[1]d:b.contoso.test
			respond ok
		}`, port))}
	v, code := verify(t, s)
	seen := make(map[string]int)
	for _, c := range v.comparisons {
		seen[c.Address+" "+c.Host]++
	}
	at := fmt.Sprintf("127.0.0.1:%d ", port)
	if want := map[string]int{at + "a.contoso.test": 1, at + "b.contoso.test": 1, at + "caddy-iis-verify.invalid": 1}; code != 0 || !maps.Equal(seen, want) {
		t.Errorf("exit code %d, %v, want %v", code, seen, want)
	}
}

// TestVerifyNotServed: bindings at which nothing listens are broken, and sites that are
// stopped by an error differ; those that somebody has stopped are not asked for.
func TestVerifyNotServed(t *testing.T) {
	port, other := ts.FreePort(t), ts.FreePort(t)
	configured := func(more string) string {
		return fmt.Sprintf(`
		conflicts first_wins
		listen 127.0.0.1
		site 1 {
			server_bindings 127.0.0.1:%d:a.contoso.test
			respond ok
		}
		site 2 Off {
			autostart off
			server_bindings :%d:off.contoso.test
			respond ok
		}
		%s`, port, other, more)
	}
	for what, c := range map[string]struct {
		site, host, cause string
		class             cli.Class
		code              int
	}{
		"nothing wrong": {"", "a.contoso.test", "", cli.ClassExpected, 0},
		"left out by listen": {
			fmt.Sprintf("server_bindings 127.0.0.2:%d:b.contoso.test", port), "b.contoso.test",
			"nothing listens: the listen option leaves this address out", cli.ClassBroken, cli.ExitBroken,
		},
		"stopped by an error": {
			fmt.Sprintf("server_bindings 127.0.0.1:%d:a.contoso.test", port), "a.contoso.test",
			"a site is stopped, and was to start", cli.ClassDiffers, cli.ExitDiffers,
		},
	} {
		t.Run(what, func(t *testing.T) {
			if c.site != "" {
				c.site = "site 3 {\n" + c.site + "\nrespond ok\n}"
			}
			v, code := verify(t, &session{Server: startIIS(t, configured(c.site))})
			got := v.of("http", c.host)
			if code != c.code || got.Class != c.class || c.cause != "" && got.Reasons[0].Cause != c.cause {
				t.Errorf("exit code %d, %+v", code, got)
			}
			if off := v.of("http", "off.contoso.test"); off.Class != "none" {
				t.Errorf("%+v", off)
			}
		})
	}
}

// TestVerifyProtocols: HTTP/2 and HTTP/3 are spoken, and where the configuration leaves
// them out they must not be.
func TestVerifyProtocols(t *testing.T) {
	port := ts.FreePort(t)
	cert, key := ts.PEM(t, "contoso.test", "www.contoso.test", "old.contoso.test")
	s := &session{Server: startIIS(t, fmt.Sprintf(`
		certificate c %q %q
		site 1 {
			binding https *:%[3]d:www.contoso.test {
				sni
				certificate c
			}
			binding https *:%[3]d:old.contoso.test {
				flags 21
				certificate c
			}
			respond "{http.request.proto}"
			@two protocol http/2+
			respond @two 403
		}`, cert, key, port))}
	v, code := verify(t, s, "--roots", cert, "--protocols", "h3,h1,h2")
	got := make(map[string]string)
	for _, c := range v.comparisons {
		if c.SNI == c.Host && c.Host != "caddy-iis-verify.invalid" {
			got[c.Host+" "+c.Protocol] = fmt.Sprint(c.Class, " ", c.Got.Status)
		}
	}
	if want := map[string]string{
		"www.contoso.test h1": "expected 200", "www.contoso.test h2": "unknown 403", "www.contoso.test h3": "unknown 403",
		"old.contoso.test h1": "expected 200", "old.contoso.test h2": "expected 0", "old.contoso.test h3": "expected 0",
	}; code != cli.ExitUnknown || !maps.Equal(got, want) {
		t.Errorf("exit code %d, %v, want %v, %+v", code, got, want, v.Causes)
	}
	// A server that speaks what it should not.
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	v, _ = verify(t, s, "--protocols", "h2", "--server", srv.Listener.Addr().String())
	if c := v.of("https", "old.contoso.test"); c.Class != cli.ClassDiffers || c.Reasons[0].Message != "the server speaks h2, which the configuration leaves out" {
		t.Errorf("%+v", c)
	}
}

// TestVerifyInterrupted: Ctrl-C shows what was found out before.
func TestVerifyInterrupted(t *testing.T) {
	needs.Signals(t)
	port := ts.FreePort(t)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := self.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}))
	defer hangs.Close()
	s := &session{Server: startIIS(t, fmt.Sprintf(`
		site 1 {
			server_bindings :%[1]d:a.contoso.test
			respond ok
		}
		site 2 {
			server_bindings :%[1]d:b.contoso.test :%[1]d:c.contoso.test
			reverse_proxy %[2]s
		}`, port, hangs.Listener.Addr()))}
	v, code := verify(t, s, "--parallel", "1", "--timeout", "1m")
	if code != cli.ExitNotAsked || !v.Interrupted || v.Total != 4 || v.Expected != 2 || len(v.comparisons) != 2 {
		t.Errorf("exit code %d, %+v, %d lines", code, v.Summary, len(v.comparisons))
	}
}

// TestVerifyRefusal: handshakes that the configuration refuses are to be
// refused.
func TestVerifyRefusal(t *testing.T) {
	port := ts.FreePort(t)
	s := &session{httpsPort: port, Server: ts.Start(t, fmt.Sprintf(`{
		iis {
			unknown_host abort
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 {
				binding https *:%d:*.contoso.test {
					sni
					certificate wildcard
				}
				respond "main"
			}
		}
	}`, port))}
	v, code := verify(t, s, "--roots", "internal")
	if code != cli.ExitOK || v.Total != 3 {
		t.Errorf("exit code %d, %d connections, %q", code, v.Total, v.reasonsAt(port))
	}
	refused := 0
	for _, c := range v.comparisons {
		if c.Got.Refused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d handshakes are refused, want those without name and with an unknown one", refused)
	}
	if v, _ = verify(t, s, "--server", otherServer(t)); !strings.Contains(strings.Join(v.reasonsAt(port), "\n"), "was to be refused") {
		t.Errorf("got %q", v.reasonsAt(port))
	}
}

// TestVerifyDemands: what sites demand of a connection is known beforehand.
func TestVerifyDemands(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := &session{httpPort: httpPort, httpsPort: httpsPort, Server: ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 {
				server_bindings :%[1]d:redirect.contoso.test
				secure_bindings :%[2]d:redirect.contoso.test
				certificate wildcard
				require_ssl redirect
				misdirected strict
				respond "redirect"
			}
			site 2 {
				server_bindings :%[1]d:only.contoso.test
				binding https *:%[2]d:only.contoso.test {
					sni
					client_auth {
						mode require
					}
				}
				certificate wildcard
				require_ssl
				respond "only"
			}
		}
	}`, httpPort, httpsPort))}
	v, code := verify(t, s, "--roots", "internal")
	if code != cli.ExitUnknown || v.Total != 7 || v.Unknown != 1 {
		t.Errorf("exit code %d, %d connections, %q", code, v.Total, v.reasonsAt(httpsPort))
	}
	statuses := make(map[string]int)
	for _, c := range v.comparisons {
		statuses[c.Scheme+" "+c.SNI+" "+c.Host] = c.Got.Status
		if want := map[bool]cli.Class{true: cli.ClassUnknown, false: cli.ClassExpected}[c.SNI == "only.contoso.test"]; c.Class != want {
			t.Errorf("%+v", c)
		}
	}
	cert, key := ts.PEM(t, "client")
	v, code = verify(t, s, "--roots", "internal", "--cert", cert, "--key", key)
	if c := v.of("https", "only.contoso.test"); code != cli.ExitOK || c.Class != cli.ClassExpected || c.Got.Status != http.StatusOK {
		t.Errorf("with a client certificate: exit code %d, %+v", code, c)
	}
	for request, want := range map[string]int{
		"http  redirect.contoso.test":                       301,
		"http  only.contoso.test":                           403,
		"https redirect.contoso.test redirect.contoso.test": 200,
		"https only.contoso.test only.contoso.test":         0,
	} {
		if got := statuses[request]; got != want {
			t.Errorf("%s: %d, want %d", request, got, want)
		}
	}
	for _, c := range []struct {
		query  string
		status int
		code   string
	}{
		{"sni=redirect.contoso.test", 0, ""},
		{"host=redirect.contoso.test", 421, adminapi.ProblemDemand},
		{"sni=only.contoso.test", 0, ""},
	} {
		var x adminapi.Explanation
		s.AdminJSON(fmt.Sprintf("/iis/explain?local=127.0.0.1:%d&%s", httpsPort, c.query), &x)
		found := c.code == ""
		for _, p := range x.Problems {
			found = found || p.Code == c.code
		}
		if x.Request.Status != c.status || !found {
			t.Errorf("%s: %+v, %+v", c.query, x.Request, x.Problems)
		}
	}
}
