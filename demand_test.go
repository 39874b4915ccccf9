package caddyiis_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// file writes the authority's certificate to a file.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asking is a server with sites that ask their clients for certificates in
// every way there is, all on one port and with one certificate.
type asking struct {
	*ts.Server
	addr        string
	own, others *authority
}

// The names of the sites tell what they ask for.
const (
	plainSite    = "plain.test"
	optionalSite = "optional.test" // verify_if_given
	alikeSite    = "alike.test"    // as optional, with other settings for the rest
	demandSite   = "demand.test"   // verify_if_given, and the site demands one
	othersSite   = "others.test"   // verify_if_given, of another authority
	requestSite  = "request.test"  // request
	requireSite  = "require.test"  // require
	verifySite   = "verify.test"   // require_and_verify
	curveSite    = "curve.test"    // a curve that no client prefers
	alpnSite     = "alpn.test"     // HTTP/2 alone
)

func startAsking(t *testing.T) *asking {
	t.Helper()
	port := ts.FreePort(t)
	a := &asking{addr: at("127.0.0.1", port), own: newAuthority(t, "own"), others: newAuthority(t, "others")}
	pool := func(of *authority) string { return fmt.Sprintf("trust_pool file %q", of.file(t)) }
	own := pool(a.own)
	certFile, keyFile := ts.PEM(t, "all.test", "*.test")
	iis := fmt.Sprintf("certificate all %q %q\nsite 1 {\nbinding https *:%d: {\ncertificate all\n}\nrespond default\n}\n", certFile, keyFile, port)
	for i, site := range []struct{ host, tls, demand string }{
		{host: plainSite},
		{host: optionalSite, tls: "client_auth {\nmode verify_if_given\n" + own + "\n}"},
		{host: alikeSite, tls: "disable_tls13\nclient_auth {\nmode verify_if_given\n" + own + "\n}"},
		{host: demandSite, tls: "client_auth {\nmode verify_if_given\n" + own + "\n}\nalpn h2 http/1.1 other", demand: "require_client_certificate"},
		{host: othersSite, tls: "client_auth {\nmode verify_if_given\n" + pool(a.others) + "\n}"},
		{host: requestSite, tls: "client_auth {\nmode request\n}"},
		{host: requireSite, tls: "client_auth {\nmode require\n}"},
		{host: verifySite, tls: "client_auth {\nmode require_and_verify\n" + own + "\n}"},
		{host: curveSite, tls: "curves secp521r1"},
		{host: alpnSite, tls: "alpn h2"},
	} {
		iis += fmt.Sprintf("site %d {\nbinding https *:%d:%s {\nsni\ncertificate all\n%s\n}\n%s\nrespond %s\n}\n", i+2, port, site.host, site.tls, site.demand, site.host)
	}
	a.Server = startIIS(t, iis)
	return a
}

// TestClientsAreAskedAgain: a client that was never asked for the certificate
// that a site asks for is told to come again, and is not served as nobody.
// One without server name cannot do better, and is served as far as the site
// serves clients without certificate.
func TestClientsAreAskedAgain(t *testing.T) {
	a := startAsking(t)
	good, wrong := a.own.client(t), a.others.client(t)
	const misdirected, forbidden = 421, 403
	for _, c := range []struct {
		sni, host string
		cert      *tls.Certificate
		status    int // 0: 200
	}{
		// Not asked, and the client can come again with the host as name.
		{sni: plainSite, host: optionalSite, status: misdirected},
		{sni: plainSite, host: demandSite, status: misdirected},
		{sni: plainSite, host: othersSite, status: misdirected},
		{sni: plainSite, host: requestSite, status: misdirected},
		{sni: plainSite, host: requireSite, status: misdirected},
		{sni: plainSite, host: verifySite, status: misdirected},
		{sni: "unknown.test", host: optionalSite, status: misdirected},
		// Asked under these very names.
		{sni: optionalSite, host: optionalSite},
		{sni: optionalSite, host: optionalSite, cert: &good},
		{sni: demandSite, host: demandSite, status: forbidden},
		{sni: demandSite, host: demandSite, cert: &good},
		// Asked by the same authorities' names, under other settings.
		{sni: optionalSite, host: demandSite, status: forbidden},
		{sni: optionalSite, host: demandSite, cert: &good},
		{sni: demandSite, host: optionalSite},
		// Asked for the certificate of somebody else.
		{sni: othersSite, host: optionalSite, status: misdirected},
		{sni: othersSite, host: optionalSite, cert: &wrong, status: misdirected},
		{sni: optionalSite, host: requestSite, status: misdirected},
		{sni: optionalSite, host: requestSite, cert: &good},
		{sni: optionalSite, host: verifySite, status: misdirected},
		{sni: optionalSite, host: verifySite, cert: &good},
		{sni: requestSite, host: optionalSite, cert: &good},
		// Nothing is asked of them.
		{sni: optionalSite, host: plainSite},
		{sni: verifySite, host: plainSite, cert: &good},
		// Without server name.
		{host: optionalSite},
		{host: othersSite},
		{host: requestSite},
		{host: demandSite, status: forbidden},
		{host: requireSite, status: misdirected},
		{host: verifySite, status: misdirected},
		{host: plainSite},
		// Other settings that make another connection.
		{sni: plainSite, host: curveSite, status: misdirected},
		{sni: curveSite, host: curveSite},
	} {
		r := ts.Request{Addr: a.addr, SNI: c.sni, Host: c.host}
		what := "without certificate"
		if c.cert != nil {
			r.TLS = with(*c.cert)
			what = "with a certificate"
		}
		e := exchange{name: what, request: r, status: c.status, cert: "*.test", body: c.host}
		if c.status != 0 {
			e.body = ""
		}
		e.checkAll(t)
	}
	exchange{name: "HTTP/1.1 where only HTTP/2 is offered", request: ts.Request{Addr: a.addr, SNI: plainSite, Host: alpnSite}, status: misdirected, cert: "*.test"}.check(t)
	exchange{name: "HTTP/2 where only HTTP/2 is offered", request: ts.Request{Addr: a.addr, SNI: plainSite, Host: alpnSite, Proto: "h2"}, cert: "*.test", body: alpnSite}.check(t)
}

// TestReusedConnectionIsAskedAgain: what a browser does, which has one HTTP/2
// or HTTP/3 connection for two sites of a certificate, and a client certificate.
func TestReusedConnectionIsAskedAgain(t *testing.T) {
	a := startAsking(t)
	for _, proto := range []string{"h2", "h3"} {
		for _, host := range []string{optionalSite, demandSite} {
			r := ts.Request{Addr: a.addr, SNI: plainSite, Proto: proto, TLS: with(a.own.client(t))}
			client := ts.NewClient(r)
			defer client.Close()
			exchange{name: "first", request: r, cert: "*.test", body: plainSite}.onKept(t, client)
			r.Host = host
			exchange{name: "reused", request: r, status: 421, cert: "*.test"}.onKept(t, client)
			r.SNI = host
			exchange{name: "again", request: r, cert: "*.test", body: host}.check(t)
		}
	}
}

// TestRecordInPlaceOfAnother: where a record has no certificate for a name, the central
// store no file or an authority has not answered yet, clients of the name get the
// endpoint's record with its settings. They are not told to come again on a connection
// that they can never get; what the site asks of clients still holds.
func TestRecordInPlaceOfAnother(t *testing.T) {
	port := ts.FreePort(t)
	own := newAuthority(t, "own")
	client := own.client(t)
	trust := fmt.Sprintf("client_auth {\nmode require_and_verify\ntrust_pool file %q\n}\n", own.file(t))
	config := certificates(t, "endpoint.test") + fmt.Sprintf("central_store %q\nendpoint *:%d {\ncertificate endpoint.test\n}\n", t.TempDir(), port) +
		"certificate later {\nsubjects later.test strict.test\nissuer acme {\ndir https://127.0.0.1:1/directory\n}\n}\n"
	for i, site := range []string{
		"binding https *:%d:store.test {\ncentral_store\ndisable_http2\ndisable_quic\ndisable_tls13\n}\nrespond store",
		"binding https *:%d:later.test {\nsni\ncertificate later\ndisable_http2\ndisable_quic\ndisable_tls13\n}\nrespond later",
		"binding https *:%d:strict.test {\nsni\ncertificate later\n" + trust + "}\nrespond strict",
		"binding https *:%d:\nrespond any",
	} {
		config += fmt.Sprintf("site %d {\n"+site+"\n}\n", i+1, port)
	}
	startIIS(t, config)
	for host, body := range map[string]string{"store.test": "store", "nofile.test": "any", "later.test": "later"} {
		for _, sni := range []string{"", host, "store.test"} { // the host first that the store was never asked for
			e := exchange{name: "its own connection", request: ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Host: host}, cert: "endpoint.test", body: body}
			e.checkAll(t)
		}
	}
	exchange{name: "a demand", request: ts.Request{Addr: at("127.0.0.1", port), SNI: "strict.test", TLS: with(client)}, status: 421, cert: "endpoint.test"}.checkAll(t)
	// A record with the store's own settings is no way to the host that has stricter ones.
	strictPort := ts.FreePort(t)
	startIIS(t, certificates(t, "endpoint.test", "sni.test")+fmt.Sprintf("central_store %q\nendpoint *:%[2]d {\ncertificate endpoint.test\n"+trust+"}\n"+
		"site 1 {\nbinding https *:%[2]d:store.test {\ncentral_store\n}\nrespond store\n}\nsite 2 {\nbinding https *:%[2]d:sni.test {\nsni\ncertificate sni.test\n}\nrespond sni\n}\n", t.TempDir(), strictPort))
	exchange{name: "from another record", request: ts.Request{Addr: at("127.0.0.1", strictPort), SNI: "sni.test", Host: "store.test"}, status: 421, cert: "sni.test"}.checkAll(t)
	exchange{name: "its own", request: ts.Request{Addr: at("127.0.0.1", strictPort), SNI: "store.test", TLS: with(client)}, cert: "endpoint.test", body: "store"}.checkAll(t)
}

// TestShadowedClientAuth: the record of an address serves all its clients, and asks them
// for nothing. What a binding with sni asks of its own clients there is not given up.
func TestShadowedClientAuth(t *testing.T) {
	port := ts.FreePort(t)
	own := newAuthority(t, "own")
	for _, ip := range []string{"*", "127.0.0.2"} {
		s := startIIS(t, certificates(t, "endpoint.test", "own.test")+fmt.Sprintf(
			"endpoint 127.0.0.2:%[1]d {\ncertificate endpoint.test\n}\nsite 1 {\nbinding https %[2]s:%[1]d:own.test {\nsni\ncertificate own.test\nclient_auth {\nmode require_and_verify\ntrust_pool file %[3]q\n}\n}\nrespond own\n}\n",
			port, ip, own.file(t)))
		exchange{name: ip, request: ts.Request{Addr: at("127.0.0.2", port), SNI: "own.test"}, status: 421, cert: "endpoint.test"}.checkAll(t)
		var x adminapi.Explanation
		s.AdminJSON(fmt.Sprintf("/iis/explain?local=127.0.0.2:%d&sni=own.test", port), &x)
		if x.Request == nil || x.Request.Status != 421 {
			t.Errorf("%s: explain tells %+v", ip, x.Request)
		}
	}
}

// TestHostIsAnAddress: clients of an address send no server name, so that what others
// meet who send unknown names is not what these are told to come again for.
func TestHostIsAnAddress(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, certificates(t, "a.test")+fmt.Sprintf(
		"central_store %q\nendpoint *:%[2]d {\ncertificate a.test\nprotocols tls1.3\n}\nsite 1 {\nbinding https *:%[2]d:store.test {\ncentral_store\nclient_auth {\nmode require\n}\n}\nrespond store\n}\nsite 2 {\nbinding https *:%[2]d:\nrespond any\n}\nsite 3 {\nbinding https *:%[2]d:sni.test {\nsni\ncertificate a.test\n}\nrespond sni\n}\n",
		t.TempDir(), port))
	for _, sni := range []string{"", "sni.test"} {
		exchange{name: "address", request: ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Host: "127.0.0.1"}, cert: "a.test", body: "any"}.checkAll(t)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	exchange{name: "below the endpoint's version", request: ts.Request{Addr: at("127.0.0.1", port), SNI: "sni.test", Host: "127.0.0.1", TLS: old}, status: 421, cert: "a.test"}.check(t)
}

// TestExplainSaysWhatTrafficGets: each server name with each host, over HTTP/2
// and without client certificate, gets the status that explain tells.
func TestExplainSaysWhatTrafficGets(t *testing.T) {
	a := startAsking(t)
	names := []string{plainSite, optionalSite, alikeSite, demandSite, othersSite, requestSite, requireSite, verifySite, curveSite, alpnSite, "", "unknown.test"}
	statuses := make(map[int]int)
	for _, sni := range names {
		client := ts.NewClient(ts.Request{Addr: a.addr, SNI: sni, Proto: "h2"})
		for _, host := range names {
			if host == "" {
				continue
			}
			answer, err := client.Do(ts.Request{Addr: a.addr, SNI: sni, Host: host})
			if sni == requireSite || sni == verifySite {
				if err == nil {
					t.Errorf("%s: got in without a certificate: %v", sni, answer)
				}
				continue
			}
			if err != nil {
				t.Fatalf("SNI %q, Host %q: %v", sni, host, err)
			}
			var x adminapi.Explanation
			a.AdminJSON(fmt.Sprintf("/iis/explain?local=%s&sni=%s&host=%s", a.addr, sni, host), &x)
			want := answer.Status
			if want == 200 {
				want = 0 // the site's routes decide
			}
			if x.Request == nil || x.Request.Status != want || (x.Request.Reason == "") != (want == 0) {
				t.Errorf("SNI %q, Host %q: the answer is %d, explain tells %+v", sni, host, answer.Status, x.Request)
			}
			statuses[answer.Status]++
		}
		client.Close()
	}
	for _, status := range []int{200, 403, 421} {
		if statuses[status] == 0 {
			t.Errorf("nothing got %d: %v", status, statuses)
		}
	}
}
