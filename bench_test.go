package caddyiis_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// configOfSites is the configuration of n sites on one port that share wildcard
// certificates and defaults.
func configOfSites(b *testing.B, s *ts.Server, n, port int) []byte {
	b.Helper()
	raw, err := s.Adapt(`{
		iis {
			certificate wildcard {
				subjects *.w0.test *.w1.test *.w2.test *.w3.test
				issuer internal
			}
			defaults {
				respond "{iis.site.id}"
			}
		}
	}`)
	if err != nil {
		b.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		b.Fatal(err)
	}
	delete(cfg, "logging") // debug logs would be measured
	sites := make(map[string]any, n)
	for i := range n {
		sites[fmt.Sprint(i+1)] = map[string]any{
			"secure_bindings": []string{fmt.Sprintf(":%d:%s", port, siteHost(i))}, "certificate": "wildcard",
		}
	}
	cfg["apps"].(map[string]any)["iis"].(map[string]any)["sites"] = sites
	if raw, err = json.Marshal(cfg); err != nil {
		b.Fatal(err)
	}
	return raw
}

func siteHost(i int) string { return fmt.Sprintf("s%d.w%d.test", i, i%4) }

func benchmarkSites(b *testing.B, run func(b *testing.B, n int, addr string)) {
	for _, n := range []int{1, 10_000, 100_000} {
		b.Run(fmt.Sprintf("sites=%d", n), func(b *testing.B) {
			port := ts.FreePort(b)
			s := ts.Start(b, "{\n}\n")
			if err := s.LoadJSON(configOfSites(b, s, n, port)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			run(b, n, fmt.Sprintf("127.0.0.1:%d", port))
		})
	}
}

// BenchmarkRequests makes requests for random sites on kept connections.
func BenchmarkRequests(b *testing.B) {
	benchmarkSites(b, func(b *testing.B, n int, addr string) {
		b.RunParallel(func(pb *testing.PB) {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: siteHost(0)}}
			defer transport.CloseIdleConnections()
			for pb.Next() {
				i := rand.IntN(n)
				req, _ := http.NewRequest(http.MethodGet, "https://"+addr+"/", nil)
				req.Host = siteHost(i)
				resp, err := transport.RoundTrip(req)
				if err != nil {
					b.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(body) != fmt.Sprint(i+1) {
					b.Errorf("site %d answered %q", i+1, body)
					return
				}
			}
		})
	})
}

// BenchmarkHandshakes makes full TLS 1.3 handshakes: with the name of a random
// site, without name, with an unknown name.
func BenchmarkHandshakes(b *testing.B) {
	benchmarkSites(b, func(b *testing.B, n int, addr string) {
		names := []func() string{
			func() string { return siteHost(rand.IntN(n)) },
			func() string { return "" },
			func() string { return fmt.Sprintf("x%d.unknown.test", rand.IntN(1<<30)) },
		}
		kind := 0
		for b.Loop() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: names[kind%len(names)]()})
			if err := client.Handshake(); err != nil {
				b.Fatal(err)
			}
			client.Close()
			kind++
		}
	})
}
