package caddyiis_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// certificateServer answers Caddy's manager http, and counts what it is asked.
type certificateServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string]int // by address and name
	certs map[string]*issued
	fail  bool
	gate  chan struct{} // answers wait for it, if it is not nil
}

func newCertificateServer(t *testing.T) *certificateServer {
	c := &certificateServer{asked: make(map[string]int), certs: make(map[string]*issued)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.FormValue("local_ip") + " " + r.FormValue("server_name")
		c.mu.Lock()
		c.asked[key]++
		cert, fail, gate := c.certs[key], c.fail, c.gate
		c.mu.Unlock()
		if gate != nil {
			<-gate
		}
		switch {
		case fail:
			w.WriteHeader(http.StatusInternalServerError)
		case cert == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = w.Write(bytes.Join([][]byte{cert.cert, cert.key}, nil))
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *certificateServer) count(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[key]
}

// set has the server answer in another way.
func (c *certificateServer) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// TestManagerStore: Caddy's manager is asked once for a name and an endpoint, however
// many come at the same time, and nobody gets the answer of another endpoint.
func TestManagerStore(t *testing.T) {
	c, port := newCertificateServer(t), ts.FreePort(t)
	first, second, none := issue(t, 70, nil, "www.test"), issue(t, 71, nil, "www.test"), issue(t, 72, nil, "none.test")
	c.certs["127.0.0.1 www.test"], c.certs["127.0.0.2 www.test"], c.certs["127.0.0.1 "] = first, second, none
	gate := make(chan struct{})
	c.gate = gate
	s := startIIS(t, fmt.Sprintf("store corp get_certificate {\nmanager http %s/get\nkeep 400ms\n}\nsite 1 {\nsecure_bindings :%d:\nstore corp\nrespond ok\n}", c.URL, port))
	serial := func(ip, name string) (int64, error) {
		leaf, err := ts.Handshake(at(ip, port), name)
		if err != nil {
			return 0, err
		}
		return leaf.SerialNumber.Int64(), nil
	}
	var group sync.WaitGroup
	for i := range 40 {
		ip, want := "127.0.0.1", int64(70)
		if i%2 == 1 {
			ip, want = "127.0.0.2", 71
		}
		group.Go(func() {
			if got, err := serial(ip, "www.test"); err != nil || got != want {
				t.Errorf("%s: serial number %d, %v, want %d", ip, got, err, want)
			}
		})
	}
	waitFor(t, "both questions", func() bool { return c.count("127.0.0.1 www.test") == 1 && c.count("127.0.0.2 www.test") == 1 })
	c.set(func() { c.gate = nil })
	close(gate)
	group.Wait()
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		if n := c.count(ip + " www.test"); n != 1 {
			t.Errorf("%s: asked %d times", ip, n)
		}
	}
	if got, err := serial("127.0.0.1", ""); err != nil || got != 72 {
		t.Errorf("without a server name: %d, %v", got, err)
	}
	for range 3 {
		if _, err := serial("127.0.0.1", "nothing.test"); !ts.IsReset(err) {
			t.Errorf("a name that the manager has nothing for: %v", err)
		}
	}
	if n := c.count("127.0.0.1 nothing.test"); n != 1 {
		t.Errorf("asked %d times for what is not there", n)
	}
	// It is asked again, and what it says then serves; if it fails, what it has said.
	third := issue(t, 73, nil, "www.test")
	c.set(func() { c.certs["127.0.0.1 www.test"] = third })
	waitFor(t, "the new answer", func() bool { got, err := serial("127.0.0.1", "www.test"); return err == nil && got == 73 })
	c.set(func() { c.fail = true })
	asked := c.count("127.0.0.1 www.test")
	waitFor(t, "another question", func() bool {
		got, err := serial("127.0.0.1", "www.test")
		if err != nil || got != 73 {
			t.Fatalf("while it fails: %d, %v", got, err)
		}
		return c.count("127.0.0.1 www.test") > asked
	})
	if _, err := serial("127.0.0.1", "new.test"); !ts.IsReset(err) {
		t.Errorf("a new name while it fails: %v", err)
	}
	if lines := ts.Logs.Lines("the certificate manager has failed", "HTTP 500"); len(lines) != 1 {
		t.Errorf("the log has it %d times", len(lines))
	}
	if f := finding(t, s, "not-in-central-store", "corp"); f != nil {
		t.Errorf("finding %+v", f)
	}
}
