package caddyiis_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// authority issues client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) client(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// clientAuth is the JSON of a client_authentication that requires the
// authority's certificates.
func (a *authority) clientAuth(mode string) map[string]any {
	return map[string]any{
		"ca":   map[string]any{"provider": "inline", "trusted_ca_certs": []string{base64.StdEncoding.EncodeToString(a.cert.Raw)}},
		"mode": mode,
	}
}

// guarded is a server with a site that demands client certificates beside
// sites that do not.
type guarded struct {
	*ts.Server
	ca                 *authority
	good, bad          tls.Certificate
	addr, other, plain string
	json               []byte
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	port, otherPort, plainPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	g := &guarded{
		ca:   newAuthority(t, "right"),
		addr: fmt.Sprintf("127.0.0.1:%d", port), other: fmt.Sprintf("127.0.0.1:%d", otherPort), plain: fmt.Sprintf("127.0.0.1:%d", plainPort),
	}
	g.good, g.bad = g.ca.client(t), newAuthority(t, "wrong").client(t)
	g.Server = ts.Start(t, "{\n}\n")
	raw, err := g.Adapt(fmt.Sprintf(`{
		http_port %[3]d
		https_port %[1]d
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			endpoint *:%[1]d {
				certificate wildcard
			}
			site 1 Open {
				server_bindings :%[3]d:open.contoso.test
				secure_bindings :%[1]d:open.contoso.test
				respond "open"
			}
			site 2 Guarded {
				server_bindings :%[3]d:guarded.contoso.test
				binding https *:%[1]d:guarded.contoso.test {
					sni
					certificate wildcard
				}
				respond "guarded"
			}
			site 3 Other {
				secure_bindings :%[2]d:guarded.contoso.test
				certificate wildcard
				respond "other port"
			}
			site 4 NoH2 {
				binding https *:%[1]d:noh2.contoso.test {
					sni
					certificate wildcard
					disable_http2
					disable_quic
				}
				respond "noh2"
			}
		}
	}
	ordinary.test {
		tls internal
		respond "ordinary"
	}`, port, otherPort, plainPort))
	if err != nil {
		t.Fatal(err)
	}
	g.json = editJSON(t, raw, func(cfg map[string]any) {
		site := cfg["apps"].(map[string]any)["iis"].(map[string]any)["sites"].(map[string]any)["2"].(map[string]any)
		site["require_client_certificate"] = true
		site["require_ssl"] = "on"
		site["bindings"].([]any)[0].(map[string]any)["tls"] = map[string]any{"client_authentication": g.ca.clientAuth("require_and_verify")}
	})
	if err := g.LoadJSON(g.json); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the ordinary certificate", func() bool {
		cert, err := ts.Handshake(g.addr, "ordinary.test")
		return err == nil && cert.VerifyHostname("ordinary.test") == nil
	})
	return g
}

func editJSON(t *testing.T, raw []byte, edit func(map[string]any)) []byte {
	t.Helper()
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	edit(cfg)
	out, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func with(cert tls.Certificate) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}
}

// keptOut fails the test if the answer is the guarded site's.
func keptOut(t *testing.T, what string, answer *ts.Answer, err error) {
	t.Helper()
	if err == nil && strings.Contains(answer.Body, "guarded") {
		t.Errorf("%s: got in: %d %q", what, answer.Status, answer.Body)
	}
}

func TestClientCertificateIsRequired(t *testing.T) {
	g := startGuarded(t)
	for _, proto := range []string{"h1", "h2", "h3"} {
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "guarded.contoso.test", Proto: proto, TLS: with(g.good)})
		if err != nil || answer.Body != "guarded" {
			t.Errorf("%s with the right certificate: %+v, %v", proto, answer, err)
		}
		for what, config := range map[string]*tls.Config{"no certificate": {InsecureSkipVerify: true}, "a certificate of another authority": with(g.bad)} {
			answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "guarded.contoso.test", Proto: proto, TLS: config})
			if err == nil {
				t.Errorf("%s with %s: the handshake was not refused: %d %q", proto, what, answer.Status, answer.Body)
			}
		}
	}
	answer, err := ts.Do(ts.Request{Addr: g.plain, Host: "guarded.contoso.test", Plain: true})
	if err != nil || answer.Status != 403 || !strings.Contains(answer.Body, "403.4") || answer.Header.Get("X-IIS-Substatus") != "4" {
		t.Errorf("over http: %+v, %v", answer, err)
	}
}

// TestNoWayAround tries the ways around a site's client authentication.
func TestNoWayAround(t *testing.T) {
	g := startGuarded(t)
	for _, proto := range []string{"h1", "h2", "h3"} {
		for _, config := range []*tls.Config{{InsecureSkipVerify: true}, with(g.bad)} {
			for _, sni := range []string{"open.contoso.test", "noh2.contoso.test", "ordinary.test", "unknown.test", ""} {
				for _, host := range []string{"guarded.contoso.test", "GUARDED.Contoso.Test", "guarded.contoso.test:8443", "guarded.contoso.test."} {
					answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: sni, Host: host, Proto: proto, TLS: config})
					keptOut(t, fmt.Sprintf("%s, server name %q, Host %q", proto, sni, host), answer, err)
				}
			}
		}
	}
	t.Run("421 says why", func(t *testing.T) {
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "open.contoso.test", Host: "guarded.contoso.test"})
		if err != nil || answer.Status != http.StatusMisdirectedRequest {
			t.Errorf("got %+v, %v", answer, err)
		}
	})
	t.Run("coalescing", func(t *testing.T) {
		for _, proto := range []string{"h2", "h3"} {
			request := ts.Request{Addr: g.addr, SNI: "open.contoso.test", Proto: proto}
			client := ts.NewClient(request)
			defer client.Close()
			for range 3 {
				request.Host = "open.contoso.test"
				if answer, err := client.Do(request); err != nil || answer.Body != "open" {
					t.Fatalf("%s: %+v, %v", proto, answer, err)
				}
				request.Host = "guarded.contoso.test"
				answer, err := client.Do(request)
				keptOut(t, proto, answer, err)
			}
		}
	})
	t.Run("absolute form and X-Forwarded-Host", func(t *testing.T) {
		for _, head := range []string{
			"GET https://guarded.contoso.test/ HTTP/1.1\r\nHost: open.contoso.test\r\n",
			"GET http://guarded.contoso.test/ HTTP/1.1\r\nHost: open.contoso.test\r\n",
			"GET / HTTP/1.1\r\nHost: open.contoso.test\r\nX-Forwarded-Host: guarded.contoso.test\r\n",
			"GET / HTTP/1.0\r\nHost: guarded.contoso.test\r\n",
		} {
			conn, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "open.contoso.test"})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "%sConnection: close\r\n\r\n", head)
			var answer bytes.Buffer
			_, _ = answer.ReadFrom(conn)
			conn.Close()
			if strings.Contains(answer.String(), "guarded") {
				t.Errorf("%q got in:\n%s", head, answer.String())
			}
		}
	})
}

// TestNoResumptionIntoGuardedSite: a ticket from a site that asks for nothing
// opens no site that does.
func TestNoResumptionIntoGuardedSite(t *testing.T) {
	g := startGuarded(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, from := range []string{g.addr, g.other} {
			name := "open.contoso.test"
			if from == g.other {
				name = "guarded.contoso.test"
			}
			cache := tls.NewLRUClientSessionCache(8)
			get := func(addr, sni, host string) (string, bool, error) {
				// Tickets are kept by server name: one config for both names.
				config := &tls.Config{InsecureSkipVerify: true, ServerName: sni, ClientSessionCache: renamed{cache}, MaxVersion: version, MinVersion: version}
				conn, err := tls.Dial("tcp", addr, config)
				if err != nil {
					return "", false, err
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
				var answer bytes.Buffer
				_, err = answer.ReadFrom(conn)
				return answer.String(), conn.ConnectionState().DidResume, err
			}
			if _, _, err := get(from, name, name); err != nil {
				t.Fatal(err)
			}
			if _, resumed, err := get(from, name, name); err != nil || !resumed {
				t.Errorf("%s: the open site does not resume: %v, %v", tls.VersionName(version), resumed, err)
			}
			answer, _, err := get(g.addr, "guarded.contoso.test", "guarded.contoso.test")
			if err == nil && strings.Contains(answer, "guarded") {
				t.Errorf("%s: a ticket from %s got in:\n%s", tls.VersionName(version), from, answer)
			}
			answer, _, err = get(g.addr, "open.contoso.test", "guarded.contoso.test")
			if err == nil && strings.Contains(answer, "guarded") {
				t.Errorf("%s: a resumed connection got in:\n%s", tls.VersionName(version), answer)
			}
		}
	}
}

// renamed is a session cache that offers each ticket to every server.
type renamed struct{ tls.ClientSessionCache }

func (r renamed) Get(string) (*tls.ClientSessionState, bool) { return r.ClientSessionCache.Get("any") }

func (r renamed) Put(_ string, state *tls.ClientSessionState) { r.ClientSessionCache.Put("any", state) }

// TestChangeBetweenHandshakeAndRequest: a connection made when a site was open
// is no way in when it asks for certificates, and the other way round nothing
// breaks.
func TestChangeBetweenHandshakeAndRequest(t *testing.T) {
	g := startGuarded(t)
	open := editJSON(t, g.json, func(cfg map[string]any) {
		site := cfg["apps"].(map[string]any)["iis"].(map[string]any)["sites"].(map[string]any)["2"].(map[string]any)
		delete(site, "require_client_certificate")
		delete(site["bindings"].([]any)[0].(map[string]any), "tls")
	})
	if err := g.LoadJSON(open); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"h1", "h2", "h3"} {
		request := ts.Request{Addr: g.addr, SNI: "guarded.contoso.test", Proto: proto}
		client := ts.NewClient(request)
		defer client.Close()
		if answer, err := client.Do(request); err != nil || answer.Body != "guarded" {
			t.Fatalf("%s: the site is open now: %+v, %v", proto, answer, err)
		}
		if err := g.LoadJSON(g.json); err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		keptOut(t, proto+" on the connection made before", answer, err)
		if err := g.LoadJSON(open); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuardedPortServesOthers: what must go on working beside the guarded site.
func TestGuardedPortServesOthers(t *testing.T) {
	g := startGuarded(t)
	for _, proto := range []string{"h1", "h2", "h3"} {
		for _, c := range []struct{ sni, host, body string }{
			{"", "open.contoso.test", "open"},
			{"open.contoso.test", "", "open"},
			{"unknown.test", "open.contoso.test", "open"},
			{"open.contoso.test", "ordinary.test", "ordinary"},
			{"ordinary.test", "open.contoso.test", "open"},
		} {
			answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: c.sni, Host: c.host, Proto: proto})
			if err != nil || answer.Body != c.body {
				t.Errorf("%s %+v: %+v, %v", proto, c, answer, err)
			}
		}
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "guarded.contoso.test", Host: "open.contoso.test", Proto: proto, TLS: with(g.good)})
		if err != nil || answer.Body != "open" {
			t.Errorf("%s: an open site on a connection with client certificate: %+v, %v", proto, answer, err)
		}
	}
	// A site whose flags only switch protocols off is there for clients that
	// do not use them, and not for others.
	for _, c := range []struct {
		proto, sni string
		status     int
	}{{"h1", "", 200}, {"h1", "noh2.contoso.test", 200}, {"h2", "", 421}, {"h2", "open.contoso.test", 421}, {"h3", "", 421}} {
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: c.sni, Host: "noh2.contoso.test", Proto: c.proto})
		if err != nil || answer.Status != c.status {
			t.Errorf("without HTTP/2: %+v: %+v, %v", c, answer, err)
		}
	}
}

// TestMisdirectedWords: strict and allow.
func TestMisdirectedWords(t *testing.T) {
	g := startGuarded(t)
	for word, want := range map[string]int{"strict": 421, "allow": 200, "secure": 200} {
		raw := editJSON(t, g.json, func(cfg map[string]any) {
			cfg["apps"].(map[string]any)["iis"].(map[string]any)["misdirected"] = word
		})
		if err := g.LoadJSON(raw); err != nil {
			t.Fatal(err)
		}
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "unknown.test", Host: "open.contoso.test", Proto: "h2"})
		if err != nil || answer.Status != want {
			t.Errorf("%s: %+v, %v; want %d", word, answer, err, want)
		}
		// A site that demands a certificate does so whatever the word is.
		answer, err = ts.Do(ts.Request{Addr: g.addr, SNI: "open.contoso.test", Host: "guarded.contoso.test", Proto: "h2"})
		keptOut(t, word, answer, err)
	}
}

// TestCertificateOfAnotherAuthority: a certificate that another site asked for
// and verified is none for this site, even where misdirected allows all.
func TestCertificateOfAnotherAuthority(t *testing.T) {
	g := startGuarded(t)
	other := newAuthority(t, "other")
	for _, word := range []string{"allow", "secure"} {
		raw := editJSON(t, g.json, func(cfg map[string]any) {
			iis := cfg["apps"].(map[string]any)["iis"].(map[string]any)
			iis["misdirected"] = word
			site := iis["sites"].(map[string]any)["4"].(map[string]any)
			site["bindings"].([]any)[0].(map[string]any)["tls"] = map[string]any{"client_authentication": other.clientAuth("require_and_verify")}
		})
		if err := g.LoadJSON(raw); err != nil {
			t.Fatal(err)
		}
		config := with(other.client(t))
		answer, err := ts.Do(ts.Request{Addr: g.addr, SNI: "noh2.contoso.test", TLS: config})
		if err != nil || answer.Body != "noh2" {
			t.Fatalf("the other site: %+v, %v", answer, err)
		}
		answer, err = ts.Do(ts.Request{Addr: g.addr, SNI: "noh2.contoso.test", Host: "guarded.contoso.test", TLS: config})
		keptOut(t, word, answer, err)
	}
}

// TestLegacyTLS: old versions are off unless a binding turns them on, and that
// is a finding.
func TestLegacyTLS(t *testing.T) {
	modern, legacy := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate rsa {
				subjects any.test
				issuer internal
				key_type rsa2048
			}
			site 1 {
				binding https *:%[1]d: {
					certificate rsa
				}
				respond "modern"
			}
			site 2 {
				binding https *:%[2]d: {
					certificate rsa
					legacy_tls
				}
				respond "legacy"
			}
		}
	}`, modern, legacy))
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA} {
			config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: []uint16{suite}}
			answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", legacy), TLS: config})
			if err != nil || answer.Body != "legacy" {
				t.Errorf("%s, %s with legacy_tls: %+v, %v", tls.VersionName(version), tls.CipherSuiteName(suite), answer, err)
			}
			_, err = ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", modern), TLS: config})
			if (err == nil) != (version == tls.VersionTLS13) {
				t.Errorf("%s, %s without legacy_tls: %v", tls.VersionName(version), tls.CipherSuiteName(suite), err)
			}
		}
	}
	waitFor(t, "the finding", func() bool { return len(ts.Logs.Lines("TLS 1.0 and 1.1, which are broken, are on")) == 1 })
	if finding(t, s, "legacy-tls") == nil {
		t.Errorf("the findings are %+v", findings(t, s))
	}
}

// TestEveryBindingAsks: a site that requires certificates must ask for them on
// each https binding, and gives nothing away over http.
func TestEveryBindingAsks(t *testing.T) {
	g := startGuarded(t)
	site := func(cfg map[string]any) map[string]any {
		return cfg["apps"].(map[string]any)["iis"].(map[string]any)["sites"].(map[string]any)["2"].(map[string]any)
	}
	_, port, _ := net.SplitHostPort(g.addr)
	err := g.LoadJSON(editJSON(t, g.json, func(cfg map[string]any) {
		site(cfg)["secure_bindings"] = []string{":" + port + ":second.contoso.test"}
		site(cfg)["certificate"] = "wildcard"
	}))
	if err == nil || !strings.Contains(err.Error(), "second.contoso.test does not ask clients for a certificate") {
		t.Errorf("a second way in without asking: %v", err)
	}
	if err := g.LoadJSON(editJSON(t, g.json, func(cfg map[string]any) { delete(site(cfg), "require_ssl") })); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: g.plain, Host: "guarded.contoso.test", Plain: true})
	if err != nil || answer.Status != 403 {
		t.Errorf("over http: %+v, %v", answer, err)
	}
}

// TestGuardedAddress: client authentication of the endpoint of one address
// holds for every request that comes there, whatever its connection was made
// for, and before or after it was configured.
func TestGuardedAddress(t *testing.T) {
	g := startGuarded(t)
	_, port, _ := net.SplitHostPort(g.addr)
	open := ts.Request{Addr: g.addr, SNI: "open.contoso.test"}
	kept := ts.NewClient(open)
	defer kept.Close()
	if answer, err := kept.Do(open); err != nil || answer.Body != "open" {
		t.Fatalf("%+v, %v", answer, err)
	}
	err := g.LoadJSON(editJSON(t, g.json, func(cfg map[string]any) {
		endpoints := cfg["apps"].(map[string]any)["iis"].(map[string]any)["endpoints"].(map[string]any)
		endpoints["127.0.0.1:"+port] = map[string]any{"certificate": "wildcard", "tls": map[string]any{"client_authentication": g.ca.clientAuth("require_and_verify")}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	deny := func(what string, answer *ts.Answer, err error) {
		t.Helper()
		if err == nil && answer.Body == "open" {
			t.Errorf("%s: got in", what)
		}
	}
	answer, err := kept.Do(open)
	deny("a connection from before", answer, err)
	answer, err = ts.Do(ts.Request{Addr: g.addr, SNI: "ordinary.test", Host: "open.contoso.test"})
	deny("a connection for an ordinary site", answer, err)
	answer, err = ts.Do(ts.Request{Addr: g.addr, SNI: "open.contoso.test", TLS: with(g.good)})
	if err != nil || answer.Body != "open" {
		t.Errorf("with a certificate: %+v, %v", answer, err)
	}
	answer, err = ts.Do(ts.Request{Addr: "127.0.0.2:" + port, SNI: "open.contoso.test"})
	if err != nil || answer.Body != "open" {
		t.Errorf("at another address: %+v, %v", answer, err)
	}
}

// TestChallengeOnGuardedBinding: an authority that validates a name by
// TLS-ALPN-01 has no client certificate.
func TestChallengeOnGuardedBinding(t *testing.T) {
	g := startGuarded(t)
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "guarded.contoso.test", NextProtos: []string{acmez.ACMETLS1Protocol}})
	// No challenge is under way, so there is no certificate for it; what
	// counts is that the challenge handler answers, and not the client
	// authentication.
	err = client.Handshake()
	if err == nil || strings.Contains(err.Error(), "certificate required") {
		t.Errorf("got %v", err)
	}
	if lines := ts.Logs.Lines("tls-alpn challenge", "guarded.contoso.test"); len(lines) == 0 {
		t.Error("the challenge handler was not asked")
	}
}

// TestRedirectWithoutHost: HTTP/1.0 need not say where to redirect to.
func TestRedirectWithoutHost(t *testing.T) {
	plain, secure := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate any {
				subjects any.test
				issuer internal
			}
			site 1 {
				server_bindings :%d:
				secure_bindings :%d:
				certificate any
				require_ssl redirect
			}
		}
	}`, plain, secure))
	answer, err := ts.Raw(fmt.Sprintf("127.0.0.1:%d", plain), "GET /x HTTP/1.0\r\n\r\n")
	if err != nil || !strings.Contains(answer, "403.4") || strings.Contains(answer, "Location:") {
		t.Errorf("got %q, %v", answer, err)
	}
	answer, err = ts.Raw(fmt.Sprintf("127.0.0.1:%d", plain), "GET /x HTTP/1.0\r\nHost: any.test\r\n\r\n")
	if err != nil || !strings.Contains(answer, fmt.Sprintf("Location: https://any.test:%d/x", secure)) {
		t.Errorf("got %q, %v", answer, err)
	}
}
