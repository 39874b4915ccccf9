package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestRefusalsByEndpoint: each reason of a refusal is counted at the endpoint
// that the client came to, and so are the clients whom reject would lock out.
func TestRefusalsByEndpoint(t *testing.T) {
	first, second, third := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	config := func(options string) string {
		return "log_sni\n" + certificates(t, "D", "E") + fmt.Sprintf(`
			certificate pending {
				subjects pending.test
				issuer acme https://127.0.0.1:1/directory
			}
			endpoint *:%[1]d {
				certificate D
				%[4]s
			}
			endpoint 127.0.0.2:%[1]d {
				certificate E
				sni_unmatched reject
			}
			endpoint *:%[3]d {
				certificate pending
			}
			site 1 {
				binding https *:%[1]d:www.test {
					sni
					certificate E
				}
				binding https *:%[1]d:bad.test {
					sni
					reject
				}
				binding https *:%[1]d:tcp.test {
					sni
					certificate E
					disable_quic
				}
				binding https *:%[2]d:www.test {
					sni
					certificate E
				}
				certificate D
				respond served
			}`, first, second, third, options)
	}
	s := startIIS(t, config(""))
	connect := func(n int, ip string, port int, sni, proto string) {
		for range n {
			_, _ = ts.Connect(ts.Request{Addr: at(ip, port), SNI: sni, Proto: proto})
		}
	}
	connect(2, "127.0.0.1", first, "", "h1")
	connect(3, "127.0.0.1", first, "unknown.test", "h3")
	connect(1, "127.0.0.1", first, "www.test", "h1")
	connect(1, "127.0.0.1", first, "bad.test", "h1")
	connect(1, "127.0.0.1", first, "tcp.test", "h3")
	connect(1, "127.0.0.2", first, "", "h1")
	connect(2, "127.0.0.2", first, "unknown.test", "h1")
	connect(1, "127.0.0.1", second, "", "h1")
	connect(1, "127.0.0.1", second, "unknown.test", "h3")
	connect(1, "127.0.0.1", third, "", "h1")
	check := func(want, name, endpoint string, port int, label string) {
		t.Helper()
		labels := []string{fmt.Sprintf(`port="%d"`, port), fmt.Sprintf(`endpoint="%s:%d"`, endpoint, port), label}
		if got := metric(t, s, name, labels...); got != want {
			t.Errorf("%s %q: got %q, want %q", name, labels, got, want)
		}
	}
	const refusals, fallbacks = "caddy_iis_refused_handshakes_total", "caddy_iis_fallback_handshakes_total"
	check("2", fallbacks, "0.0.0.0", first, `server_name="missing"`)
	check("3", fallbacks, "0.0.0.0", first, `server_name="unmatched"`)
	check("1", fallbacks, "127.0.0.2", first, `server_name="missing"`)
	check("", fallbacks, "127.0.0.2", first, `server_name="unmatched"`)
	check("1", refusals, "0.0.0.0", first, `reason="rejected"`)
	check("1", refusals, "0.0.0.0", first, `reason="no_quic"`)
	check("2", refusals, "127.0.0.2", first, `reason="name_unmatched"`)
	check("2", refusals, "0.0.0.0", second, `reason="no_record"`)
	check("1", refusals, "0.0.0.0", third, `reason="no_certificate"`)
	check("", refusals, "0.0.0.0", first, `reason="name_missing"`)
	if got := metric(t, s, refusals, `reason="no_record"`, fmt.Sprintf(`port="%d"`, first)); got != "" {
		t.Errorf("no record at the first port: %s", got)
	}

	if err := s.Load(iisConfig(config("sni_missing reject"))); err != nil {
		t.Fatal(err)
	}
	connect(4, "127.0.0.1", first, "", "h1")
	check("4", refusals, "0.0.0.0", first, `reason="name_missing"`)
	// What is gone from the configuration is gone from the labels.
	without := strings.Replace(config(""), fmt.Sprintf("127.0.0.2:%d", first), fmt.Sprintf("127.0.0.3:%d", first), 1)
	if err := s.Load(iisConfig(without)); err != nil {
		t.Fatal(err)
	}
	check("", refusals, "127.0.0.2", first, "")
	check("", fallbacks, "127.0.0.2", first, "")
	check("4", refusals, "0.0.0.0", first, `reason="name_missing"`)
}

// TestServerNamesAreLogged: with log_sni, and then only, there is a sample of
// lines that tell which names clients send that nobody has, and what becomes of
// them. The names are bounded and printable, whatever clients send.
func TestServerNamesAreLogged(t *testing.T) {
	port := ts.FreePort(t)
	config := func(options string) string {
		return iisConfig(options + certificates(t, "D") + fmt.Sprintf(`
			endpoint *:%[1]d {
				certificate D
			}
			site 1 {
				binding https *:%[1]d:known.test {
					sni
					certificate D
				}
				binding https *:%[1]d:bad.test {
					sni
					reject
				}
			}`, port))
	}
	connect := func(sni string) { _, _ = ts.Connect(ts.Request{Addr: at("127.0.0.1", port), SNI: sni}) }
	ts.Logs.Reset()
	s := ts.Start(t, config(""))
	connect("unknown.test")
	if lines := ts.Logs.Logger("iis.sni"); len(lines) > 0 {
		t.Errorf("logged without log_sni: %v", lines)
	}
	began := time.Now()
	if err := s.Load(config("log_sni\n")); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 300)
	sent := []string{"known.test", "unknown.test", "", "bad.test", "evil\n\x1b[31m\"quoted\"\u202e.test", long}
	for _, name := range sent {
		connect(name)
	}
	want := [][3]string{
		{"unknown.test", "served", "name_unmatched"},
		{"", "served", "name_missing"},
		{"bad.test", "refused", "rejected"},
		{`evil\n\x1b[31m\"quoted\"\u202e.test`, "served", "name_unmatched"},
		{long[:253] + "...", "served", "name_unmatched"},
	}
	var lines []ts.Entry
	waitFor(t, "the lines", func() bool {
		lines = ts.Logs.Logger("iis.sni")
		return len(lines) >= len(want)
	})
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for i, line := range lines {
		got := [3]string{fmt.Sprint(line["server_name"]), fmt.Sprint(line["result"]), fmt.Sprint(line["reason"])}
		if got != want[i] || line["endpoint"] != fmt.Sprintf("0.0.0.0:%d", port) || line["remote_ip"] != "127.0.0.1" {
			t.Errorf("line %d: %v, want %q", i, line, want[i])
		}
	}
	// A flood leaves a sample, and what it left out is told.
	for range 40 {
		connect("flood.test")
	}
	count, leftOut := 0, 0.0
	for _, line := range ts.Logs.Logger("iis.sni") {
		if line["reason"] == "name_unmatched" {
			count++
			leftOut += line["left_out"].(float64)
		}
	}
	if most := 10 + int(time.Since(began)/time.Second) + 1; count < 10 || count > most {
		t.Errorf("%d lines for 43 names (%v left out), want 10 to %d", count, leftOut, most)
	}
}
