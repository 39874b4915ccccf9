//go:build unix

package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// autoServer serves hosts with a certificate source, by bindings with SNI or in the form
// of IIS 6, in which all server names come to one record, and returns its address.
func autoServer(t testing.TB, source string, sni bool, hosts int) (*ts.Server, string) {
	t.Helper()
	port := ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	raw, err := s.Adapt(iisConfig("certificate auto {\n" + source + "\n}\ndefaults {\nrespond ok\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	sites := make(map[string]any, hosts)
	for i := range hosts {
		site := map[string]any{"certificate": "auto"}
		if sni {
			site["bindings"] = []any{map[string]any{"protocol": "https", "binding": fmt.Sprintf("*:%d:%s", port, siteHost(i)), "flags": 1}}
		} else {
			site["secure_bindings"] = []string{fmt.Sprintf(":%d:%s", port, siteHost(i))}
		}
		sites[fmt.Sprint(i+1)] = site
	}
	cfg["apps"].(map[string]any)["iis"].(map[string]any)["sites"] = sites
	if raw, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadJSON(withoutLogging(t, raw)); err != nil {
		t.Fatal(err)
	}
	return s, at("127.0.0.1", port)
}

// TestAutoUnknownNames: a flood of names that nobody has leaves nothing behind.
func TestAutoUnknownNames(t *testing.T) {
	s, addr := autoServer(t, "for_bindings\non_demand\nissuer internal", false, 10)
	for i := range 10 {
		if _, err := ts.Handshake(addr, siteHost(i)); err != nil {
			t.Fatal(err)
		}
	}
	look := func() (c adminapi.Certificate) {
		s.AdminJSON("/iis/certificates/auto", &c)
		return c
	}
	before, files, goroutines := look(), stored(t, s), settle()
	for range 2000 {
		if _, err := ts.Connect(ts.Request{Addr: addr, SNI: randomName()}); !ts.IsReset(err) {
			t.Fatalf("not refused: %v", err)
		}
	}
	after := look()
	if !reflect.DeepEqual(after.ForBindings, before.ForBindings) || len(after.Failures) > 0 {
		t.Errorf("before %+v, after %+v, %+v", before.ForBindings, after.ForBindings, after.Failures)
	}
	if now := stored(t, s); !slices.Equal(now, files) {
		t.Errorf("in storage: %q", now)
	}
	if now := settle(); now > goroutines+5 {
		t.Errorf("%d goroutines, before %d", now, goroutines)
	}
}

func randomName() string {
	return strings.ToLower(fmt.Sprintf("%x.s%d.w1.test", rand.Uint64(), rand.IntN(10)))
}

// BenchmarkAutoRefused refuses handshakes for names that nobody has, where the table
// refuses them and where the certificate has none. The processor time is that of client
// and server.
func BenchmarkAutoRefused(b *testing.B) {
	shared := "subjects *.w0.test *.w1.test *.w2.test *.w3.test"
	for _, run := range []struct {
		name, source string
		sni          bool
	}{
		{"sni/shared", shared, true},
		{"sni/on_demand", "for_bindings\non_demand", true},
		{"iis6/ahead", "for_bindings\nrate 1 1h", false},
		{"iis6/on_demand", "for_bindings\non_demand", false},
	} {
		b.Run(run.name, func(b *testing.B) {
			_, addr := autoServer(b, run.source+"\nissuer internal", run.sni, 10_000)
			benchmarkCPU(b, func() {
				if _, err := ts.Connect(ts.Request{Addr: addr, SNI: randomName()}); !ts.IsReset(err) {
					b.Errorf("not refused: %v", err)
				}
			})
		})
	}
}

// BenchmarkAutoAgain makes handshakes with a certificate in memory, and with one of
// subjects.
func BenchmarkAutoAgain(b *testing.B) {
	for _, mode := range []string{"subjects *.w0.test *.w1.test *.w2.test *.w3.test", "for_bindings\non_demand"} {
		b.Run(strings.Fields(mode)[0], func(b *testing.B) {
			_, addr := autoServer(b, mode+"\nissuer internal", false, 100)
			for i := range 100 {
				if _, err := ts.Handshake(addr, siteHost(i)); err != nil {
					b.Fatal(err)
				}
			}
			var i atomic.Int64
			benchmarkCPU(b, func() {
				if _, err := ts.Handshake(addr, siteHost(int(i.Add(1)%100))); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkAutoFirst makes the first handshakes of hosts, which have their certificates
// made by Caddy's internal authority, and tells their median.
func BenchmarkAutoFirst(b *testing.B) {
	_, addr := autoServer(b, "for_bindings\non_demand\nissuer internal", false, 100_000)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if _, err := ts.Handshake(addr, siteHost(i)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}

// BenchmarkAutoLoad loads 100,000 sites with certificates of their own on demand, and
// with a shared one.
func BenchmarkAutoLoad(b *testing.B) {
	for _, mode := range []string{"subjects *.w0.test *.w1.test *.w2.test *.w3.test", "for_bindings\non_demand"} {
		b.Run(strings.Fields(mode)[0], func(b *testing.B) {
			for b.Loop() {
				autoServer(b, mode+"\nissuer internal", false, 100_000)
				runtime.GC()
			}
		})
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkCPU reports the processor time of an operation.
func benchmarkCPU(b *testing.B, do func()) {
	b.Helper()
	start := cpuTime(b)
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}
