package caddyiis_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// moveRounds is how often each direction is tried. Set CADDY_IIS_TEST_MOVES for
// more than the few rounds that are good enough to find a socket which serves
// nobody: that loses one connection in three.
func moveRounds(t *testing.T) int {
	rounds := 2
	if text := os.Getenv("CADDY_IIS_TEST_MOVES"); text != "" {
		if _, err := fmt.Sscan(text, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	return rounds
}

// TestPortsPassWithoutLoss: a port that only bindings have, or only an ordinary
// server, or both, passes from each to each of the others, and no new connection
// is lost, over TCP or QUIC.
func TestPortsPassWithoutLoss(t *testing.T) {
	httpPort, httpsPort, other := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	cert, key := ts.PEM(t, "both.test", "both.test")
	bindings := fmt.Sprintf(`
		site 1 Main {
			server_bindings :%d:
			secure_bindings :%d:
			certificate C
			respond "served"
		}`, httpPort, httpsPort)
	ordinary := fmt.Sprintf(`
		http://both.test:%d {
			respond "served"
		}
		https://both.test:%d {
			tls %q %q
			respond "served"
		}`, httpPort, httpsPort, cert, key)
	config := func(iis, sites string) string {
		return iisConfig(fmt.Sprintf("certificate C %q %q\nsite 9 Rest {\nserver_bindings :%d:\n}\n%s", cert, key, other, iis),
			fmt.Sprintf("http_port %d\nhttps_port %d\nauto_https off", httpPort, httpsPort)) + sites
	}
	const onlyBindings, onlyOrdinary, both = "bindings", "ordinary", "both"
	states := map[string]string{
		onlyBindings: config(bindings, ""),
		onlyOrdinary: config("", ordinary),
		both:         config(bindings, ordinary),
	}
	s := ts.Start(t, config("", ""))
	const enough = 100
	for _, pair := range [][2]string{
		{onlyBindings, both},
		{both, onlyOrdinary},
		{onlyOrdinary, onlyBindings},
		{onlyBindings, onlyOrdinary},
		{onlyOrdinary, both},
		{both, onlyBindings},
	} {
		from, to := pair[0], pair[1]
		t.Run(from+" to "+to, func(t *testing.T) {
			var total, failed int64
			// Where the machine has much else to do, more often, to see enough.
			for round := 0; round < moveRounds(t) || total < enough && round < 20; round++ {
				mustLoad(t, s, states[from])
				l := newConnections(httpPort, httpsPort)
				time.Sleep(100 * time.Millisecond)
				mustLoad(t, s, states[to])
				time.Sleep(300 * time.Millisecond)
				close(l.stop)
				l.wg.Wait()
				total, failed = total+l.requests.Load(), failed+l.fails.Load()
				if l.first != nil {
					t.Error(l.first)
				}
			}
			t.Logf("%d of %d new connections lost", failed, total)
			if total < enough {
				t.Error("that is too few to tell")
			}
		})
	}
}

func mustLoad(t *testing.T, s *ts.Server, config string) {
	t.Helper()
	if err := s.Load(config); err != nil {
		t.Fatal(err)
	}
}

// newConnections makes new connections of all kinds until it is stopped.
func newConnections(httpPort, httpsPort int) *load {
	l := &load{stop: make(chan struct{})}
	startLoad(ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "both.test"}, 2, false, "served", l)
	startLoad(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "both.test", Proto: "h2"}, 2, false, "served", l)
	startLoad(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "both.test", Proto: "h3"}, 2, false, "served", l)
	return l
}
