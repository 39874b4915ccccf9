package e2e

import (
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// bars has tests hold the times that the project wants, which only a quiet machine shows.
var bars = flag.Bool("bars", false, "things take no longer than the project wants")

// TestAutoSiteOfAPI: a site that is put through the admin API serves https with a
// certificate of its own, with -bars within two seconds, by HTTP-01, ahead and on demand.
func TestAutoSiteOfAPI(t *testing.T) {
	for _, mode := range []string{"", "on_demand"} {
		t.Run("mode="+mode, func(t *testing.T) {
			httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
			acme := startAuthority(t, httpPort, httpsPort, 0)
			s := ts.Start(t, fmt.Sprintf(`{
				iis {
					sites_from bolt %q {
						allow {
							ports %d %d
						}
					}
					certificate auto {
						for_bindings
						%s
						%s
					}
					defaults {
						respond "site {iis.site.id}"
					}
				}
			}`, filepath.Join(t.TempDir(), "sites.db"), httpPort, httpsPort, mode, acme.issuer("disable_tlsalpn_challenge", httpPort, httpsPort)))
			var took []time.Duration
			for i := range 5 {
				name := fmt.Sprintf("customer%d.contoso.test", i)
				start := time.Now()
				status, answer := s.Admin(http.MethodPut, fmt.Sprintf("/iis/sites/%d", i+1), fmt.Sprintf(
					`{"bindings":[{"protocol":"http","binding":"*:%d:%[3]s"},{"protocol":"https","binding":"*:%[2]d:%[3]s","flags":1,"certificate":"auto"}]}`, httpPort, httpsPort, name))
				if status != http.StatusCreated {
					t.Fatalf("%d: %s", status, answer)
				}
				var last *x509.Certificate
				var err error
				for last == nil || !byAuthority(name)(last) {
					if last, err = ts.Handshake(fmt.Sprintf("127.0.0.1:%d", httpsPort), name); err != nil && time.Since(start) > time.Minute {
						t.Fatal(err)
					}
				}
				took = append(took, time.Since(start))
			}
			t.Logf("from the request to https: %v", took)
			for _, d := range took {
				if *bars && d > 2*time.Second {
					t.Errorf("it took %v, the bar is 2s", d)
				}
			}
		})
	}
}

// TestAutoNonces: an authority that refuses 15 % of nonces issues for 200 names, at the
// rate, without more orders than names.
func TestAutoNonces(t *testing.T) {
	const names, rate = 200, 20 // a second
	events, window := certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow
	certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow = 0, 0
	t.Cleanup(func() { certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow = events, window })
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	var mu sync.Mutex
	var orders []time.Time
	refused := 0
	acme := startAuthorityRefusing(t, 15, httpPort, httpsPort, 0, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			watched := &statusWriter{ResponseWriter: w}
			h.ServeHTTP(watched, r)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case watched.status == http.StatusBadRequest:
				refused++
			case watched.status == http.StatusCreated && strings.Contains(r.URL.Path, "order-plz"):
				orders = append(orders, time.Now())
			}
		})
	})
	var bindings strings.Builder
	for i := range names {
		fmt.Fprintf(&bindings, " :%d:n%d.contoso.test", httpsPort, i)
	}
	start := time.Now()
	s := ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate auto {
				for_bindings
				rate %d 1s
				%s
			}
			site 1 {
				server_bindings :%d:www.contoso.test
				secure_bindings%s
				certificate auto
				respond ok
			}
		}
	}`, rate, acme.issuer("disable_tlsalpn_challenge", httpPort, httpsPort), httpPort, bindings.String()))
	obtained := func() int {
		found, err := filepath.Glob(filepath.Join(s.Storage(), "certificates", "*", "*", "*.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for deadline := start.Add(3 * time.Minute); obtained() < names; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d names have a certificate", obtained(), names)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d names in %v, %d orders, %d requests refused", names, time.Since(start), len(orders), refused)
	if refused < names/2 {
		t.Errorf("the authority has refused %d requests only", refused)
	}
	if len(orders) > names*11/10 {
		t.Errorf("%d orders for %d names", len(orders), names)
	}
	for i := range orders {
		if j := i + 2*rate; j < len(orders) && orders[j].Sub(orders[i]) < time.Second {
			t.Errorf("%d orders within %v, at a rate of %d a second", 2*rate+1, orders[j].Sub(orders[i]), rate)
			break
		}
	}
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// TestAutoTwoNodes: 100 first handshakes for a name that race on two nodes with one
// storage have one certificate made, and the nodes know each other's.
func TestAutoTwoNodes(t *testing.T) {
	storage := t.TempDir()
	rootFile, _ := ts.PEM(t, "unused.test")
	var addrs []string
	for i := range 2 {
		port := ts.FreePort(t)
		raw, err := ts.Adapt(fmt.Sprintf(`{
			admin off
			persist_config off
			skip_install_trust
			storage file_system %q
			iis {
				certificate auto {
					for_bindings
					on_demand
					issuer internal
				}
				site 1 {
					secure_bindings :%[2]d:a.test :%[2]d:b.test :%[2]d:c.test
					certificate auto
					respond ok
				}
			}
		}`, storage, port), "")
		if err != nil {
			t.Fatal(err)
		}
		startNode(t, node{Name: fmt.Sprintf("node%d", i), Config: json.RawMessage(raw), RootFile: rootFile})
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		var mu sync.Mutex
		serials := make(map[string]int)
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				leaf, err := ts.Handshake(addrs[i%2], name)
				if err != nil || ts.Subject(leaf) != name {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				serials[leaf.SerialNumber.String()]++
			})
		}
		group.Wait()
		if len(serials) != 1 {
			t.Errorf("%s: %d certificates for 100 racing handshakes on two nodes", name, len(serials))
		}
	}
	// One file each: what was issued was not issued twice.
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		if found, err := os.ReadDir(filepath.Join(storage, "certificates", "local", name)); err != nil || len(found) != 3 {
			t.Errorf("%s: %d files in storage, %v", name, len(found), err)
		}
	}
}

// TestAutoRenewal: a certificate that has left memory, and that no client asks for, is
// renewed. There is room for one of two, so that one of them is always outside.
func TestAutoRenewal(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	acme := startAuthority(t, httpPort, httpsPort, 15*time.Second)
	s := ts.Start(t, fmt.Sprintf(`{
		renew_interval 1s
		iis {
			certificate auto {
				for_bindings
				on_demand
				capacity 1
				%[3]s
			}
			site 1 {
				server_bindings :%[1]d:a.contoso.test
				secure_bindings :%[2]d:a.contoso.test :%[2]d:b.contoso.test
				certificate auto
				respond ok
			}
		}
	}`, httpPort, httpsPort, acme.issuer("disable_tlsalpn_challenge", httpPort, httpsPort)))
	stored := func(name string) string {
		found, err := filepath.Glob(filepath.Join(s.Storage(), "certificates", "*", name, "*.crt"))
		if err != nil || len(found) != 1 {
			return ""
		}
		raw, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	names := []string{"a.contoso.test", "b.contoso.test"}
	first := make(map[string]string)
	for _, name := range names {
		waitForCertificate(t, addr, name, byAuthority(name))
		if first[name] = stored(name); first[name] == "" {
			t.Fatal("nothing is stored for " + name)
		}
	}
	// What is in memory is renewed as well, and so is what a handshake found due.
	renewed := func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return slices.Contains([]string{"", first[name]}, stored(name)) }) &&
			len(ts.Logs.Lines("renewing certificates that no client has asked for")) > 0
	}
	// Longer than a minute: after it what has failed is tried again.
	for deadline := time.Now().Add(3 * time.Minute); !renewed(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a certificate that no client asks for is not renewed")
		}
	}
}
