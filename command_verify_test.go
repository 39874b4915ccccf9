package caddyiis_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// otherServer is a server that is no Caddy: one certificate for everybody, and
// a redirect.
func otherServer(t *testing.T) string {
	certFile, keyFile := ts.PEM(t, "old", "www.contoso.test")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.RedirectHandler("/default.aspx", http.StatusFound))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func verify(t *testing.T, s *session, args ...string) (cli.Report, int) {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append([]string{"verify", "--json", "--address", s.AdminAddr()}, args...)
	code := caddyiis.RunCommand(&out, &errOut, args...)
	var r cli.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("exit code %d, %s%s: %v", code, out.String(), errOut.String(), err)
	}
	return r, code
}

// differencesAt returns the differences of the connections to a port by https.
func differencesAt(r cli.Report, port int) []string {
	var all []string
	for _, c := range r.Comparisons {
		if c.Scheme == "https" && strings.HasSuffix(c.Endpoint, fmt.Sprintf(":%d", port)) {
			all = append(all, c.Differences...)
		}
	}
	return all
}

// TestVerifyAgainst: every kind of difference to another server is found.
func TestVerifyAgainst(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	other := fmt.Sprintf(":%d=%s", s.httpsPort, otherServer(t))
	r, code := verify(t, s, "--against", other)
	if code != cli.ExitDiffers || r.Differ != 4 || r.Total != 10 {
		t.Errorf("exit code %d, %d of %d differ; want 1, 4 of 10", code, r.Differ, r.Total)
	}
	for _, d := range []string{"the other server has certificate ", "answers with status 302, this one with status 200", "redirects to /default.aspx, this one to nowhere"} {
		if n := strings.Count(strings.Join(differencesAt(r, s.httpsPort), "\n"), d); n < 3 {
			t.Errorf("%q: %d times in %q", d, n, differencesAt(r, s.httpsPort))
		}
	}
}

// TestVerifyServer: a server that does not do what the tables say is found.
func TestVerifyServer(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, c := range []struct{ address, want string }{
		{otherServer(t), "certificate "},
		{fmt.Sprintf("127.0.0.1:%d", s.httpPort), "the handshake failed"},
		{fmt.Sprintf("127.0.0.1:%d", s.freePort), "nothing answers"},
		{silentServer(t), "the handshake failed"},
	} {
		began := time.Now()
		r, code := verify(t, s, "--timeout", "300ms", "--server", fmt.Sprintf(":%d=%s", s.httpsPort, c.address))
		differences := differencesAt(r, s.httpsPort)
		if code != cli.ExitDiffers || r.Differ != 4 || len(differences) < 4 || !strings.HasPrefix(differences[0], c.want) {
			t.Errorf("%s: exit code %d, %q; want %q", c.address, code, differences, c.want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", c.address, took)
		}
	}
}

// TestVerifyRefusal: handshakes that the configuration refuses are to be
// refused.
func TestVerifyRefusal(t *testing.T) {
	port := ts.FreePort(t)
	s := &session{httpsPort: port, Server: ts.Start(t, fmt.Sprintf(`{
		iis {
			unknown_host abort
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 {
				binding https *:%d:*.contoso.test {
					sni
					certificate wildcard
				}
				respond "main"
			}
		}
	}`, port))}
	r, code := verify(t, s)
	if code != cli.ExitOK || r.Total != 3 {
		t.Errorf("exit code %d, %d connections, %q", code, r.Total, differencesAt(r, port))
	}
	refused := 0
	for _, c := range r.Comparisons {
		if c.Got.Refused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d handshakes are refused, want those without name and with an unknown one", refused)
	}
	if r, _ = verify(t, s, "--server", otherServer(t)); !strings.Contains(strings.Join(differencesAt(r, port), "\n"), "was to be refused") {
		t.Errorf("got %q", differencesAt(r, port))
	}
}

// TestVerifyDemands: what sites demand of a connection is known beforehand.
func TestVerifyDemands(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := &session{httpPort: httpPort, httpsPort: httpsPort, Server: ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 {
				server_bindings :%[1]d:redirect.contoso.test
				secure_bindings :%[2]d:redirect.contoso.test
				certificate wildcard
				require_ssl redirect
				misdirected strict
				respond "redirect"
			}
			site 2 {
				server_bindings :%[1]d:only.contoso.test
				binding https *:%[2]d:only.contoso.test {
					sni
					client_auth {
						mode require
					}
				}
				certificate wildcard
				require_ssl
				respond "only"
			}
		}
	}`, httpPort, httpsPort))}
	r, code := verify(t, s)
	if code != cli.ExitOK || r.Total != 7 {
		t.Errorf("exit code %d, %d connections, %q", code, r.Total, differencesAt(r, httpsPort))
	}
	statuses := make(map[string]int)
	for _, c := range r.Comparisons {
		statuses[c.Scheme+" "+c.SNI+" "+c.Host] = c.Got.Status
		if len(c.Differences) > 0 {
			t.Errorf("%+v", c)
		}
	}
	for request, want := range map[string]int{
		"http  redirect.contoso.test":                       301,
		"http  only.contoso.test":                           403,
		"https redirect.contoso.test redirect.contoso.test": 200,
		"https only.contoso.test only.contoso.test":         0,
	} {
		if got := statuses[request]; got != want {
			t.Errorf("%s: %d, want %d", request, got, want)
		}
	}
	for _, c := range []struct {
		query  string
		status int
		code   string
	}{
		{"sni=redirect.contoso.test", 0, ""},
		{"host=redirect.contoso.test", 421, adminapi.ProblemDemand},
		{"sni=only.contoso.test", 0, ""},
	} {
		var x adminapi.Explanation
		s.AdminJSON(fmt.Sprintf("/iis/explain?local=127.0.0.1:%d&%s", httpsPort, c.query), &x)
		found := c.code == ""
		for _, p := range x.Problems {
			found = found || p.Code == c.code
		}
		if x.Request.Status != c.status || !found {
			t.Errorf("%s: %+v, %+v", c.query, x.Request, x.Problems)
		}
	}
}
