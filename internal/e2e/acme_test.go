package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	_ "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// authority is an ACME server in this process. It looks names up at a DNS
// server that knows only 127.0.0.1, and validates at the given ports.
type authority struct {
	directory string // URL
	dns       string // address of the DNS server
	rootFile  string // of the authority's own HTTPS endpoint
	orders    *countingHandler
}

// countingHandler counts new orders.
type countingHandler struct {
	http.Handler
	mu sync.Mutex
	n  int
}

func (c *countingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "order-plz") || strings.Contains(r.URL.Path, "new-order") {
		c.mu.Lock()
		c.n++
		c.mu.Unlock()
	}
	c.Handler.ServeHTTP(w, r)
}

func (c *countingHandler) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func startAuthority(t *testing.T, httpPort, tlsPort int, life time.Duration) *authority {
	t.Helper()
	return startAuthorityBehind(t, httpPort, tlsPort, life, func(h http.Handler) http.Handler { return h })
}

// startAuthorityBehind starts an authority with a handler in front of it.
func startAuthorityBehind(t *testing.T, httpPort, tlsPort int, life time.Duration, wrap func(http.Handler) http.Handler) *authority {
	t.Helper()
	return startAuthorityRefusing(t, 0, httpPort, tlsPort, life, wrap)
}

// startAuthorityRefusing starts one that refuses some of 100 nonces.
func startAuthorityRefusing(t *testing.T, nonces, httpPort, tlsPort int, life time.Duration, wrap func(http.Handler) http.Handler) *authority {
	t.Helper()
	// No other random failures and no waiting, which pebble has to harden clients.
	t.Setenv("PEBBLE_WFE_NONCEREJECT", strconv.Itoa(nonces))
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_AUTHZREUSE", "0")
	logger := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {Description: "default", ValidityPeriod: uint64(life.Seconds())}}
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, profiles)
	resolver := startDNS(t)
	validator := va.New(logger, httpPort, tlsPort, false, resolver, store)
	front := wfe.New(logger, store, validator, issuer, nil, false, false, 1, 1)
	counting := &countingHandler{Handler: front.Handler()}
	server := httptest.NewTLSServer(wrap(counting))
	t.Cleanup(server.Close)
	rootFile := filepath.Join(t.TempDir(), "authority.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(rootFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{dns: resolver, directory: server.URL + wfe.DirectoryPath, rootFile: rootFile, orders: counting}
}

// issuer is the Caddyfile of the issuer, with the challenge that it is to use.
func (a *authority) issuer(disabled string, httpPort, tlsPort int) string {
	return fmt.Sprintf(`issuer acme {
					dir %s
					trusted_roots %s
					%s
					alt_http_port %d
					alt_tlsalpn_port %d
				}`, a.directory, a.rootFile, disabled, httpPort, tlsPort)
}

func waitForCertificate(t *testing.T, addr, name string, accept func(*x509.Certificate) bool) *x509.Certificate {
	t.Helper()
	var last *x509.Certificate
	var lastErr error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if last, lastErr = ts.Handshake(addr, name); lastErr == nil && accept(last) {
			return last
		}
	}
	t.Fatalf("no certificate for %s at %s: %v, %v", name, addr, last, lastErr)
	return nil
}

func byAuthority(name string) func(*x509.Certificate) bool {
	return func(c *x509.Certificate) bool {
		return slices.Contains(c.DNSNames, name) && strings.Contains(c.Issuer.CommonName, "Pebble")
	}
}

// TestACME obtains certificates by both challenges through the bindings' own
// ports, with no http app in the configuration. A name that several sites
// share is obtained once, and not again after a restart.
func TestACME(t *testing.T) {
	for challenge, disabled := range map[string]string{
		"http-01":     "disable_tlsalpn_challenge",
		"tls-alpn-01": "disable_http_challenge",
	} {
		t.Run(challenge, func(t *testing.T) {
			httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
			acme := startAuthority(t, httpPort, httpsPort, 0)
			config := fmt.Sprintf(`{
		iis {
			certificate fallback {
				subjects fallback.test
				issuer internal
			}
			certificate www {
				subjects www.contoso.test
				%[3]s
			}
			endpoint *:%[2]d {
				certificate fallback
			}
			site 1 Main {
				server_bindings :%[1]d:other.test
				binding https *:%[2]d:www.contoso.test {
					sni
					certificate www
				}
				respond "main"
			}
			site 2 Same {
				binding https 127.0.0.1:%[2]d:www.contoso.test {
					sni
					certificate www
				}
				respond "same"
			}
		}
	}`, httpPort, httpsPort, acme.issuer(disabled, httpPort, httpsPort))
			s := ts.Start(t, config)
			addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
			first := waitForCertificate(t, addr, "www.contoso.test", byAuthority("www.contoso.test"))
			if n := acme.orders.count(); n != 1 {
				t.Errorf("%d orders for one name", n)
			}
			if err := s.Restart(config); err != nil {
				t.Fatal(err)
			}
			again, err := ts.Handshake(addr, "www.contoso.test")
			if err != nil || !again.Equal(first) {
				t.Errorf("right after a restart: %v, %v; want the certificate from before", again, err)
			}
			if n := acme.orders.count(); n != 1 {
				t.Errorf("%d orders after a restart: the authority was asked again", n)
			}
		})
	}
}

// TestFallbackWhileNoneIsThere: until the authority has answered, clients get
// the endpoint's certificate, and the site is there.
func TestFallbackWhileNoneIsThere(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate fallback {
				subjects fallback.test
				issuer internal
			}
			certificate www {
				subjects www.contoso.test
				issuer acme {
					dir https://127.0.0.1:%[3]d/dir
				}
			}
			endpoint *:%[2]d {
				certificate fallback
			}
			site 1 Main {
				server_bindings :%[1]d:www.contoso.test
				binding https *:%[2]d:www.contoso.test {
					sni
					certificate www
				}
				respond "main"
			}
		}
	}`, httpPort, httpsPort, ts.FreePort(t)))
	answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", httpsPort), SNI: "www.contoso.test"})
	if err != nil || answer.Body != "main" || answer.Subject() != "fallback.test" {
		t.Errorf("got %+v, %v", answer, err)
	}
	for deadline := time.Now().Add(10 * time.Second); len(ts.Logs.Lines("is not there yet")) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no finding says why the endpoint's certificate serves")
		}
	}
}

// TestACMEOnSharedPort: an ordinary site obtains its certificate by both
// challenges through ports that it shares with bindings.
func TestACMEOnSharedPort(t *testing.T) {
	for challenge, disabled := range map[string]string{
		"http-01":     "disable_tlsalpn_challenge",
		"tls-alpn-01": "disable_http_challenge",
	} {
		t.Run(challenge, func(t *testing.T) {
			httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
			acme := startAuthority(t, httpPort, httpsPort, 0)
			own := fmt.Sprintf(`{
		http_port %[1]d
		https_port %[2]d
		iis {
			certificate fallback {
				subjects fallback.test
				issuer internal
			}
			endpoint *:%[2]d {
				certificate fallback
			}
			site 1 Main {
				server_bindings :%[1]d:www.contoso.test
				respond "main"
			}
		}
	}
`, httpPort, httpsPort)
			// Without the ordinary site at first: as long as nobody has the port, Caddy answers
			// challenges on a listener of its own, for which a start that comes then is refused.
			s := ts.Start(t, own)
			if err := s.Load(own + fmt.Sprintf(`	ordinary.contoso.test {
		tls {
			%s
		}
		respond "ordinary"
	}`, acme.issuer(disabled, httpPort, httpsPort))); err != nil {
				t.Fatal(err)
			}
			addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
			waitForCertificate(t, addr, "ordinary.contoso.test", byAuthority("ordinary.contoso.test"))
			answer, err := ts.Do(ts.Request{Addr: addr, SNI: "ordinary.contoso.test", TLS: &tls.Config{InsecureSkipVerify: true}})
			if err != nil || answer.Body != "ordinary" {
				t.Errorf("got %+v, %v", answer, err)
			}
		})
	}
}

// TestWildcardByDNS obtains a wildcard certificate by DNS-01, with one of
// Caddy's DNS provider modules.
func TestWildcardByDNS(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	acme := startAuthority(t, httpPort, httpsPort, 0)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer acme {
					dir %[2]s
					trusted_roots %[3]s
					dns e2e secret
					resolvers %[4]s
					propagation_timeout -1
				}
			}
			site 1 Main {
				secure_bindings :%[1]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
		}
	}`, httpsPort, acme.directory, acme.rootFile, acme.dns))
	waitForCertificate(t, fmt.Sprintf("127.0.0.1:%d", httpsPort), "", byAuthority("*.contoso.test"))
}

// TestRenewal: a certificate is renewed before it expires, and the new one
// serves without a change of the configuration.
func TestRenewal(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	acme := startAuthority(t, httpPort, httpsPort, 15*time.Second)
	ts.Start(t, fmt.Sprintf(`{
		renew_interval 1s
		iis {
			certificate www {
				subjects www.contoso.test
				%[3]s
			}
			site 1 Main {
				server_bindings :%[1]d:www.contoso.test
				secure_bindings :%[2]d:www.contoso.test
				certificate www
				respond "main"
			}
		}
	}`, httpPort, httpsPort, acme.issuer("disable_tlsalpn_challenge", httpPort, httpsPort)))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	first := waitForCertificate(t, addr, "www.contoso.test", byAuthority("www.contoso.test"))
	renewed := waitForCertificate(t, addr, "www.contoso.test", func(c *x509.Certificate) bool { return !c.Equal(first) })
	if !renewed.NotAfter.After(first.NotAfter) {
		t.Errorf("the renewed certificate expires at %v, the first at %v", renewed.NotAfter, first.NotAfter)
	}
}

// TestGlobalDNS: an issuer of the global options that obtains certificates by DNS is
// taken over with its provider, of which Caddy keeps no settings.
func TestGlobalDNS(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	acme := startAuthority(t, httpPort, httpsPort, 0)
	s := ts.Start(t, "{\n}\n")
	raw, err := s.Adapt(fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
			}
			certificate auto {
				for_bindings
				on_demand
			}
			site 1 Main {
				secure_bindings 127.0.0.1:%[1]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
			site 2 Auto {
				secure_bindings 127.0.0.2:%[1]d:auto.contoso.test
				certificate auto
				respond "auto"
			}
		}
	}`, httpsPort))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	config["apps"].(map[string]any)["tls"] = map[string]any{"automation": map[string]any{"policies": []any{map[string]any{"issuers": []any{map[string]any{
		"module": "acme", "ca": acme.directory, "trusted_roots_pem_files": []string{acme.rootFile},
		"challenges": map[string]any{
			"http": map[string]any{"disabled": true}, "tls-alpn": map[string]any{"disabled": true},
			"dns": map[string]any{"provider": map[string]any{"name": "e2e", "token": "secret"}, "resolvers": []string{acme.dns}, "propagation_timeout": -1},
		},
	}}}}}}
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second load has its own
		if err := s.LoadJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	waitForCertificate(t, fmt.Sprintf("127.0.0.1:%d", httpsPort), "www.contoso.test", byAuthority("*.contoso.test"))
	waitForCertificate(t, fmt.Sprintf("127.0.0.2:%d", httpsPort), "auto.contoso.test", byAuthority("auto.contoso.test"))
}
