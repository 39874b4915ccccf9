package iishttp

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"pgregory.net/rapid"
)

func init() {
	guardModules["iis_dynamic_ip_security"] = func() caddyhttp.MiddlewareHandler { return new(DynamicIPSecurity) }
}

// from is a request of a client that came by a connection from elsewhere.
func from(t testing.TB, remote, client string) *http.Request {
	t.Helper()
	r := received(t, "/")
	r.RemoteAddr = remote
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
	return r
}

// TestTooManyAtATime: requests of one client in flight are counted, also when a handler
// panics, and IPv6 clients by their network.
func TestTooManyAtATime(t *testing.T) {
	for _, c := range []struct{ words, first, second, want string }{
		{"", "192.0.2.1:1", "192.0.2.1:2", "403.501"},
		{"", "192.0.2.1:1", "192.0.2.2:2", "-"},
		{"", "192.0.2.1:1", "[::ffff:192.0.2.1]:2", "403.501"},
		{"", "[2001:db8::1]:1", "[2001:db8::2]:1", "403.501"},
		{"", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "-"},
		{"", "192.0.2.1:1", "nobody", "403.501"},
		{"logging_only", "192.0.2.1:1", "192.0.2.1:2", "-"},
		{"logging_only", "192.0.2.1:1", "nobody", "-"},
		{"proxy_mode", "192.0.2.1:1", "192.0.2.1:2", "-"},
		{"deny_action not_found", "192.0.2.1:1", "192.0.2.1:2", "404.501"},
		{"deny_action unauthorized", "192.0.2.1:1", "192.0.2.1:2", "401.501"},
	} {
		h := guard(t, "iis_dynamic_ip_security {\nmax_concurrent 1\n"+c.words+"\n}")
		func() {
			defer func() { _ = recover() }()
			_ = h.ServeHTTP(httptest.NewRecorder(), from(t, c.first, "198.51.100.1"), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
				if got := answerOf(h, from(t, c.second, "198.51.100.2")); got != c.want {
					t.Errorf("%+v: got %s", c, got)
				}
				panic(http.ErrAbortHandler)
			}))
		}()
		if got := answerOf(h, from(t, c.first, "198.51.100.1")); got != "-" {
			t.Errorf("%+v: when the first one has ended: got %s", c, got)
		}
	}
}

// TestClientTableOfManyBusy: any number of clients with requests in flight does not make
// the table forget those that have none, nor the other way round.
func TestClientTableOfManyBusy(t *testing.T) {
	table := newClientTable(1, 2, time.Hour)
	now := time.Unix(1000, 0)
	address := func(i uint32) netip.Addr {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+i)
		return netip.AddrFrom4(a)
	}
	const busy = 2 * clientShards * mostIdle
	for i := range uint32(busy) {
		table.enter(address(i), now)
	}
	idle := netip.MustParseAddr("192.0.2.1")
	for range 2 {
		table.enter(idle, now)
		table.leave(idle, now)
	}
	for i := range uint32(100) { // more of them
		table.enter(address(busy+i), now)
	}
	if got := table.enter(idle, now); got != tooOften {
		t.Errorf("the client without a request in flight is forgotten: %d", got)
	}
	table.leave(idle, now)
	for i := range uint32(busy) {
		if got := table.enter(address(i), now); got != tooManyAtATime {
			t.Fatalf("client %d with a request in flight is forgotten: %d", i, got)
		}
		table.leave(address(i), now)
		table.leave(address(i), now)
	}
	known, counted := 0, 0
	for i := range table.shards {
		known, counted = known+len(table.shards[i].known), counted+table.shards[i].idle
	}
	if known > clientShards*mostIdle+100 || counted > clientShards*mostIdle {
		t.Errorf("%d clients are known, %d of them idle", known, counted)
	}
}

func TestTooOften(t *testing.T) {
	h := guard(t, "iis_dynamic_ip_security {\nmax_requests 2 1h\n}")
	var got []string
	for range 4 {
		got = append(got, answerOf(h, from(t, "192.0.2.1:1", "")))
	}
	got = append(got, answerOf(h, from(t, "192.0.2.2:1", "")))
	if fmt.Sprint(got) != "[- - 403.502 403.502 -]" {
		t.Errorf("got %v", got)
	}
}

// TestClientTable: the table counts as a list of all requests does.
func TestClientTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		concurrent, requests := rapid.IntRange(0, 3).Draw(t, "concurrent"), rapid.IntRange(0, 3).Draw(t, "requests")
		table := newClientTable(concurrent, requests, time.Second)
		type plain struct {
			inFlight int
			times    []time.Time // in the current interval
		}
		all := make(map[netip.Addr]*plain)
		now := time.Unix(1000, 0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			client := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "client") % 3})
			p := all[client]
			if p == nil {
				p = new(plain)
				all[client] = p
			}
			if p.inFlight > 0 && rapid.Bool().Draw(t, "leaves") {
				p.inFlight--
				table.leave(client, now)
				continue
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "ms")) * time.Millisecond)
			p.inFlight++
			if len(p.times) > 0 && now.Sub(p.times[0]) >= time.Second {
				p.times = nil
			}
			p.times = append(p.times, now)
			want := 0
			if requests > 0 && len(p.times) > requests {
				want = 502
			}
			if concurrent > 0 && p.inFlight > concurrent {
				want = 501
			}
			if got := table.enter(client, now); got != want {
				t.Fatalf("got %d, want %d", got, want)
			}
		}
	})
}

// TestClientTableBounded: any number of clients takes no more memory than some, and who
// has a request in flight is not forgotten.
func TestClientTableBounded(t *testing.T) {
	table := newClientTable(1, 5, time.Hour)
	now := time.Unix(1000, 0)
	busy := netip.MustParseAddr("192.0.2.1")
	table.enter(busy, now)
	for i := range uint32(300_000) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+i)
		client := netip.AddrFrom4(a)
		table.enter(client, now)
		table.leave(client, now)
	}
	known := 0
	for i := range table.shards {
		known += len(table.shards[i].known)
	}
	if known > clientShards*(mostIdle+1) {
		t.Errorf("%d clients are known", known)
	}
	if got := table.enter(busy, now); got != tooManyAtATime {
		t.Errorf("the client with a request in flight: %d", got)
	}
	small := newClientTable(1, 0, time.Hour)
	small.enter(busy, now)
	small.leave(busy, now)
	if n := len(small.shard(busy).known); n != 0 {
		t.Errorf("without a rate, %d clients are remembered", n)
	}
}

func TestDynamicMistakes(t *testing.T) {
	for words, want := range map[string]string{
		"":                                "it has no limit",
		"max_concurrent 0":                "no number above 0",
		"max_concurrent -1":               "no number above 0",
		"max_requests 5 x":                "invalid duration",
		"max_requests 5 -1s":              "below 0",
		"max_concurrent 1 2":              "with wrong arguments",
		"max_concurrent 1\ndeny_action x": "expected forbidden",
	} {
		err := new(DynamicIPSecurity).UnmarshalCaddyfile(caddyfile.NewTestDispenser("iis_dynamic_ip_security {\n" + words + "\n}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", words, err, want)
		}
	}
}

func BenchmarkDynamicIPSecurity(b *testing.B) {
	table := newClientTable(5, 20, time.Millisecond)
	client := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		table.enter(client, time.Now())
		table.leave(client, time.Now())
	}
}

// BenchmarkIdleClients says what it costs to remember a client without a request in flight.
func BenchmarkIdleClients(b *testing.B) {
	var before, after runtime.MemStats
	now := time.Unix(1000, 0)
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := newClientTable(1, 5, time.Hour)
		for i := range uint32(clientShards * mostIdle) {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 10<<24+i)
			client := netip.AddrFrom4(a)
			table.enter(client, now)
			table.leave(client, now)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(table)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(clientShards*mostIdle), "B/client")
}
