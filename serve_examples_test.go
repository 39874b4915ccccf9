package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// The worked examples of tables D1 and D2 on real connections. They are written
// with the addresses and ports of the tables' documentation; onLoopback says
// where these are here.

// exampleDefaults has sites answer with their ids.
const exampleDefaults = `
	defaults {
		respond {iis.site.id}
	}
`

const exampleH = `
	site 1 {
		server_bindings *:80:
	}
	site 2 {
		server_bindings *:80:www.contoso.com
	}
	site 3 {
		server_bindings 10.0.0.5:80:
	}
	site 4 {
		server_bindings 10.0.0.5:80:api.contoso.com
	}
	site 5 {
		server_bindings *:80:*.contoso.com
	}
`

const exampleT1 = `
	site 1 {
		binding https *:443: {
			certificate D
		}
	}
`

const exampleT2 = `
	site 2 {
		binding https *:443:www.contoso.com {
			sni
			certificate A
		}
	}
`

// exampleT35 is what remains of set T without the central store.
const exampleT35 = `
	site 3 {
		binding https 10.0.0.5:443:pay.contoso.com {
			certificate E
		}
	}
	site 5 {
		binding https *:443:*.contoso.com {
			sni
			certificate W
		}
	}
`

// stopped is a site's text with the site stopped.
func stopped(site string) string { return strings.Replace(site, "{", "{\nautostart off", 1) }

func onLoopback(text string, port int) string {
	return strings.NewReplacer(
		"10.0.0.9", "127.0.0.1", "10.0.0.5", "127.0.0.2", "10.0.0.1", "127.0.0.1", "10.0.0.2", "127.0.0.2",
		":80", fmt.Sprintf(":%d", port), ":443", fmt.Sprintf(":%d", port),
	).Replace(text)
}

func TestServeExamplesOfRouting(t *testing.T) {
	port := ts.FreePort(t)
	only2 := "site 2 {\nserver_bindings *:80:www.contoso.com\n}"
	for _, set := range []struct {
		name, sites string
		examples    []exchange
	}{
		{"H", exampleH, []exchange{
			{name: "1", request: ts.Request{Addr: "10.0.0.9:80", Host: "www.contoso.com"}, body: "2"},
			{name: "2", request: ts.Request{Addr: "10.0.0.5:80", Host: "www.contoso.com"}, body: "2"},
			{name: "3", request: ts.Request{Addr: "10.0.0.5:80", Host: "other.org"}, body: "3"},
			{name: "4", request: ts.Request{Addr: "10.0.0.9:80", Host: "other.org"}, body: "1"},
			{name: "5", request: ts.Request{Addr: "10.0.0.5:80", Host: "api.contoso.com"}, body: "4"},
			{name: "6", request: ts.Request{Addr: "10.0.0.9:80", Host: "api.contoso.com"}, body: "5"},
			{name: "7", request: ts.Request{Addr: "10.0.0.5:80", Host: "shop.contoso.com"}, body: "5"},
			{name: "10", request: ts.Request{Addr: "10.0.0.9:80", Host: "WWW.Contoso.COM:8080"}, body: "2"},
			{name: "14", request: ts.Request{Addr: "10.0.0.9:80", Host: "http://www.contoso.com/x"}, status: 400},
			// IPv6 addresses have no bindings of their own in this set.
			{name: "1 over IPv6", request: ts.Request{Addr: "[::1]:80", Host: "www.contoso.com"}, body: "2"},
			{name: "4 over IPv6", request: ts.Request{Addr: "[::1]:80", Host: "other.org"}, body: "1"},
		}},
		{"H, S2 stopped", strings.Replace(exampleH, "site 2 {", "site 2 {\nautostart off", 1), []exchange{
			{name: "8", request: ts.Request{Addr: "10.0.0.9:80", Host: "www.contoso.com"}, body: "5"},
		}},
		{"H, S2 offline", strings.Replace(exampleH, "site 2 {", "site 2 {\noffline", 1), []exchange{
			{name: "9", request: ts.Request{Addr: "10.0.0.9:80", Host: "www.contoso.com"}, status: 503, body: "<h1>Service Unavailable</h1>"},
			{name: "9, another host", request: ts.Request{Addr: "10.0.0.9:80", Host: "shop.contoso.com"}, body: "5"},
		}},
		{"only S2", only2, []exchange{
			{name: "12", request: ts.Request{Addr: "10.0.0.9:80", Host: "www.contoso.com."}, status: 400, body: "<h1>Bad Request - Invalid Hostname</h1>"},
			{name: "13", request: ts.Request{Addr: "10.0.0.9:80", Host: "other.org"}, status: 400, body: "<h1>Bad Request - Invalid Hostname</h1>"},
			{name: "1", request: ts.Request{Addr: "10.0.0.9:80", Host: "www.contoso.com"}, body: "2"},
		}},
	} {
		t.Run(set.name, func(t *testing.T) {
			startIIS(t, onLoopback(set.sites, port)+exampleDefaults)
			for _, e := range set.examples {
				e.name = "example " + e.name
				e.request.Plain = true
				e.request.Addr = onLoopback(e.request.Addr, port)
				if e.name == "example 14" {
					// net/http clients send no such header.
					host := e.request.Host
					answer, err := ts.Raw(e.request.Addr, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
					if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 400 Bad Request") {
						t.Errorf("%v: got %q, %v; want status 400", e, answer, err)
					}
					continue
				}
				e.check(t)
			}
			if set.name != "H" {
				return
			}
			answer, err := ts.Raw(at("127.0.0.1", port), "GET http://www.contoso.com/ HTTP/1.1\r\nHost: other.org\r\nConnection: close\r\n\r\n")
			if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(answer, "\r\n\r\n2") {
				t.Errorf("example 11: got %q, %v; want the answer of site 2", answer, err)
			}
		})
	}
}

func TestServeExamplesOfTLS(t *testing.T) {
	port := ts.FreePort(t)
	setT := exampleT1 + exampleT2 + exampleT35
	for _, set := range []struct {
		name, config string
		examples     []exchange
		refused      []exchange
	}{
		{"T", setT, []exchange{
			{name: "15", request: ts.Request{Addr: "10.0.0.9:443", SNI: "www.contoso.com"}, cert: "A", body: "2"},
			{name: "16", request: ts.Request{Addr: "10.0.0.5:443", SNI: "www.contoso.com"}, cert: "E", body: "2"},
			{name: "19", request: ts.Request{Addr: "10.0.0.9:443", SNI: "unknown.org"}, cert: "D", body: "1"},
			{name: "20", request: ts.Request{Addr: "10.0.0.9:443", Host: "www.contoso.com"}, cert: "D", body: "2"},
			{name: "20, other case", request: ts.Request{Addr: "10.0.0.9:443", SNI: "WWW.contoso.COM"}, cert: "A", body: "2"},
			{name: "22, first stream", request: ts.Request{Addr: "10.0.0.9:443", SNI: "shop.contoso.com"}, cert: "W", body: "5"},
			{name: "22, second stream", request: ts.Request{Addr: "10.0.0.9:443", SNI: "shop.contoso.com", Host: "www.contoso.com"}, cert: "W", body: "2"},
		}, nil},
		{"T minus T1", exampleT2 + exampleT35, []exchange{
			{name: "21, with SNI", request: ts.Request{Addr: "10.0.0.9:443", SNI: "www.contoso.com"}, cert: "A", body: "2"},
			{name: "21, another address", request: ts.Request{Addr: "10.0.0.5:443", Host: "www.contoso.com"}, cert: "E", body: "2"},
		}, []exchange{
			{name: "21", request: ts.Request{Addr: "10.0.0.9:443"}},
			{name: "21, unknown SNI", request: ts.Request{Addr: "10.0.0.9:443", SNI: "unknown.org"}},
		}},
		{"T plus [::]:443", setT + "endpoint [::]:443 {\ncertificate V6\n}", []exchange{
			{name: "23, IPv6", request: ts.Request{Addr: "[::1]:443", Host: "www.contoso.com"}, cert: "V6", body: "2"},
			{name: "23, IPv4", request: ts.Request{Addr: "10.0.0.9:443", Host: "www.contoso.com"}, cert: "D", body: "2"},
			{name: "23, IPv6, any host", request: ts.Request{Addr: "[::1]:443", Host: "other.org"}, cert: "V6", body: "1"},
			{name: "23, IPv6 with SNI", request: ts.Request{Addr: "[::1]:443", SNI: "www.contoso.com"}, cert: "A", body: "2"},
		}, nil},
		{"T, T2 stopped", exampleT1 + stopped(exampleT2) + exampleT35, []exchange{
			{name: "24", request: ts.Request{Addr: "10.0.0.9:443", SNI: "www.contoso.com"}, cert: "A", body: "5"},
		}, nil},
		// The only flags-0 record is a stopped site's: it serves the others.
		{"T, T1 stopped", stopped(exampleT1) + exampleT2 + exampleT35, []exchange{
			{name: "24, T1 stopped", request: ts.Request{Addr: "10.0.0.9:443", Host: "www.contoso.com"}, cert: "D", body: "2"},
			{name: "24, T1 stopped, unknown host", request: ts.Request{Addr: "10.0.0.9:443", SNI: "unknown.org"}, cert: "D", status: 400, body: "Invalid Hostname"},
		}, nil},
	} {
		t.Run(set.name, func(t *testing.T) {
			startIIS(t, certificates(t, "A", "D", "E", "W", "V6")+onLoopback(set.config, port)+exampleDefaults)
			for _, e := range set.examples {
				e.name = "example " + e.name
				e.request.Addr = onLoopback(e.request.Addr, port)
				e.checkAll(t)
			}
			for _, e := range set.refused {
				for _, e.request.Proto = range protocols {
					e.request.Addr = onLoopback(e.request.Addr, port)
					refused(t, "example "+e.name, e.request)
				}
			}
		})
	}
	t.Run("one connection", func(t *testing.T) {
		startIIS(t, certificates(t, "A", "D", "E", "W")+onLoopback(setT, port)+exampleDefaults)
		for _, proto := range []string{"h2", "h3"} {
			request := ts.Request{Addr: at("127.0.0.1", port), SNI: "shop.contoso.com", Proto: proto}
			client := ts.NewClient(request)
			exchange{name: "example 22", request: request, cert: "W", body: "5"}.onKept(t, client)
			request.Host = "www.contoso.com"
			exchange{name: "example 22", request: request, cert: "W", body: "2"}.onKept(t, client)
			if n := client.Dials(); n != 1 {
				t.Errorf("example 22: %s: %d connections, want 1", proto, n)
			}
			client.Close()
		}
	})
}

// TestServeExamplesOfConflicts: what happens on loading bindings that contradict
// each other.
func TestServeExamplesOfConflicts(t *testing.T) {
	port := ts.FreePort(t)
	oneCertificate := "site 1 {\nsecure_bindings :443:test.x\ncertificate W\n}\nsite 2 {\nsecure_bindings :443:other.x\ncertificate W\n}\n"
	twoCertificates := strings.Replace(oneCertificate, "other.x\ncertificate W", "other.x\ncertificate Z", 1)
	sameBinding := "site 1 {\nsecure_bindings :443:\ncertificate W\n}\nsite 2 {\nsecure_bindings :443:\ncertificate W\n}\n"
	sameName := `
		site 1 {
			binding https 10.0.0.1:443:a {
				sni
				certificate W
			}
		}
		site 2 {
			binding https 10.0.0.2:443:a {
				sni
				certificate Z
			}
		}
	`
	certs := certificates(t, "W", "Z")
	config := func(iis string) string { return iisConfig(certs + onLoopback(iis, port) + exampleDefaults) }
	s := ts.Start(t, config(oneCertificate))
	for _, sni := range []string{"", "test.x", "other.x", "unknown.x"} {
		exchange{name: "example 25", request: ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Host: "other.x"}, cert: "W", body: "2"}.checkAll(t)
	}

	refusedLoad(t, s, "example 26 without first_wins", config(twoCertificates), "site 1", "site 2", `"W"`, `"Z"`)
	refusedLoad(t, s, "example 27 without first_wins", config(sameBinding), "site 1", "site 2", fmt.Sprintf("*:%d:", port))
	refusedLoad(t, s, "example 28", config(sameName), "site 1", "site 2", fmt.Sprintf("a:%d", port), `"W"`, `"Z"`)

	ts.Logs.Reset()
	if err := s.Load(config("conflicts first_wins\n" + twoCertificates)); err != nil {
		t.Fatalf("example 26: %v", err)
	}
	for _, sni := range []string{"", "test.x", "other.x"} {
		exchange{name: "example 26", request: ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Host: "other.x"}, cert: "W", body: "2"}.checkAll(t)
	}
	waitFor(t, "the warning of example 26", func() bool {
		return len(ts.Logs.Lines(`"level":"warn"`, "certificate-conflict", "site 2")) == 1
	})

	ts.Logs.Reset()
	if err := s.Load(config("conflicts first_wins\n" + sameBinding)); err != nil {
		t.Fatalf("example 27: %v", err)
	}
	exchange{name: "example 27", request: ts.Request{Addr: at("127.0.0.1", port), SNI: "any.x"}, cert: "W", body: "1"}.checkAll(t)
	waitFor(t, "the warning of example 27", func() bool {
		return len(ts.Logs.Lines(`"level":"warn"`, "duplicate-binding", "site 2", "0x800700B7")) == 1
	})
}
