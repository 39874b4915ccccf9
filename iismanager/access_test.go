package iismanager

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestAdmit is the whole rule of who may see the page.
func TestAdmit(t *testing.T) {
	here, there := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	local := claim{remote: here, local: here, host: "localhost"}
	with := func(c claim, change func(*claim)) claim {
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		policy policy
		claim  claim
		who    string // empty: refused
	}{
		{"nothing is known", policy{}, claim{}, ""},
		{"somebody from elsewhere", policy{}, claim{remote: there, local: there, host: "example.com"}, ""},
		{"a user", policy{}, claim{user: "alice", remote: there, local: there, host: "example.com"}, "alice"},
		{"a user behind a proxy", policy{}, claim{user: "alice", remote: here, local: here, host: "example.com", forwarded: true}, "alice"},
		{"a certificate", policy{}, claim{certificate: "bob"}, "bob"},
		{"the header of a trusted proxy", policy{authHeader: true}, claim{header: "carol", trusted: true}, "carol"},
		{"the header of anybody", policy{authHeader: true}, claim{header: "carol"}, ""},
		{"a header that was not asked for", policy{}, claim{header: "carol", trusted: true}, ""},
		{"a trusted proxy without a user", policy{authHeader: true}, claim{trusted: true}, ""},
		{"this machine", policy{}, local, "local"},
		{"this machine, IPv6", policy{}, claim{remote: netip.IPv6Loopback(), local: netip.IPv6Loopback(), host: "[::1]"}, "local"},
		{"another remote address", policy{}, with(local, func(c *claim) { c.remote = there }), ""},
		{"no remote address", policy{}, with(local, func(c *claim) { c.remote = netip.Addr{} }), ""},
		{"another local address", policy{}, with(local, func(c *claim) { c.local = there }), ""},
		{"no local address", policy{}, with(local, func(c *claim) { c.local = netip.Addr{} }), ""},
		{"a host that DNS leads here", policy{}, with(local, func(c *claim) { c.host = "attacker.example" }), ""},
		{"no host", policy{}, with(local, func(c *claim) { c.host = "" }), ""},
		{"a host that looks local", policy{}, with(local, func(c *claim) { c.host = "localhost.attacker.example" }), ""},
		{"a trusted proxy on this machine", policy{}, with(local, func(c *claim) { c.trusted = true }), ""},
		{"a proxy on this machine that names no user", policy{authHeader: true}, with(local, func(c *claim) { c.trusted = true }), ""},
		{"one that is not trusted", policy{authHeader: true}, with(local, func(c *claim) { c.header = "carol" }), ""},
		{"this machine, where a proxy names users", policy{authHeader: true}, local, ""},
		{"a proxy on this machine", policy{}, with(local, func(c *claim) { c.forwarded = true }), ""},
		{"insecure", policy{insecure: true}, claim{remote: there, local: there, host: "example.com"}, "anonymous"},
		{"insecure, and a user", policy{insecure: true}, claim{user: "alice"}, "alice"},
		{"insecure does not believe a header", policy{insecure: true, authHeader: true}, claim{header: "carol"}, "anonymous"},
	} {
		t.Run(test.name, func(t *testing.T) {
			who, ok := test.policy.admit(test.claim)
			if ok != (test.who != "") || who.Name != test.who {
				t.Errorf("%+v, %v: expected %q", who, ok, test.who)
			}
		})
	}
}

// TestClaimOf: what is read from a request, and what is not believed.
func TestClaimOf(t *testing.T) {
	request := func(change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://localhost:8080/sites", nil)
		r.RemoteAddr = "127.0.0.1:50000"
		change(r)
		ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
		ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
		ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{})
		return r.WithContext(ctx)
	}
	allowed := func(r *http.Request) bool {
		_, ok := policy{}.admit(claimOf(r, "", nil))
		return ok
	}
	browser := func(r *http.Request) {
		for _, name := range []string{
			"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie", "DNT", "Iis-Part", "Origin",
			"Pragma", "Priority", "Referer", "Sec-CH-UA", "Sec-Fetch-Site", "Sec-GPC", "TE", "Upgrade-Insecure-Requests", "User-Agent",
		} {
			r.Header.Set(name, "x")
		}
	}
	if !allowed(request(browser)) {
		t.Fatal("a browser on this machine is refused")
	}
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Forwarded", "Via", "X-Real-IP", "x-forwarded-port",
		"X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Original-For",
		"X_Forwarded_For", "X-Forward-For", "X-Scheme", "X-Request-Id", "X-Amzn-Trace-Id", "Client-IP", "Forwarded-For", "Remote-User", "Proxy-Client-IP",
		"Proxy-Connection", "WL-Proxy-Client-IP", "CDN-Loop", "CF-Ray", "Fastly-Client-IP", "Front-End-Https", "SSL-Client-Cert", "Max-Forwards",
	} {
		if allowed(request(func(r *http.Request) { r.Header.Set(name, "") })) {
			t.Errorf("a request with %s is allowed", name)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"HTTP/1.0":        func(r *http.Request) { r.ProtoMinor = 0 },
		"a unix socket":   func(r *http.Request) { r.RemoteAddr = "@" },
		"a foreign host":  func(r *http.Request) { r.Host = "attacker.example:8080" },
		"a foreign peer":  func(r *http.Request) { r.RemoteAddr = "[2001:db8::1]:50000" },
		"a header of his": func(r *http.Request) { r.Host = "example.com"; r.Header.Set("Remote-User", "root") },
	} {
		if allowed(request(change)) {
			t.Errorf("a request with %s is allowed", name)
		}
	}
	if allowed(request(func(*http.Request) {}).WithContext(context.Background())) {
		t.Error("a request on an unknown address is allowed")
	}

	twice := request(func(r *http.Request) { r.Header["Remote-User"] = []string{"alice", "root"} })
	if c := claimOf(twice, "Remote-User", nil); c.header != "" {
		t.Errorf("two headers: %q is believed", c.header)
	}
	trusted := request(func(r *http.Request) { r.Header.Set("Remote-User", "alice") })
	caddyhttp.SetVar(trusted.Context(), caddyhttp.TrustedProxyVarKey, true)
	if c := claimOf(trusted, "Remote-User", nil); c.header != "alice" || !c.trusted {
		t.Errorf("%+v", c)
	}
	user := request(func(*http.Request) {})
	user.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", "bob")
	if c := claimOf(user, "", nil); c.user != "bob" {
		t.Errorf("%+v", c)
	}
}

// TestCertifiedBy: a client certificate counts if the handshake has verified it and an
// authority of the page has issued it.
func TestCertifiedBy(t *testing.T) {
	ours, theirs := authority(t, "Ours"), authority(t, "Theirs")
	alice, mallory := issued(t, ours, "alice"), issued(t, theirs, "mallory")
	request := func(state *tls.ConnectionState) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = state
		return r
	}
	list := []*x509.Certificate{ours.cert}
	for name, test := range map[string]struct {
		state *tls.ConnectionState
		who   string
	}{
		"http":                       {nil, ""},
		"none":                       {&tls.ConnectionState{}, ""},
		"not verified":               {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{alice, ours.cert}}, ""},
		"ours":                       {&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{alice, ours.cert}}}, "alice"},
		"for another site":           {&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{mallory, theirs.cert}}}, ""},
		"the authority itself":       {&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{ours.cert}}}, ""},
		"verified by two, one of us": {&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{alice, theirs.cert}, {alice, ours.cert}}}, "alice"},
	} {
		if who := certifiedBy(request(test.state), list); who != test.who {
			t.Errorf("%s: %q, expected %q", name, who, test.who)
		}
	}
	if who := certifiedBy(request(&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{alice, ours.cert}}}), nil); who != "" {
		t.Errorf("without authorities %q is known", who)
	}
}

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func authority(t *testing.T, name string) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return issuer{sign(t, template, template, key, key), key}
}

func issued(t *testing.T, by issuer, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return sign(t, template, by.cert, key, by.key)
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
