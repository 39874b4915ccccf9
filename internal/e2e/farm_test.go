package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// farmOrders is how many names the nodes of a farm obtain by each challenge.
var farmOrders = flag.Int("farm.orders", 6, "orders for each kind of challenge in the test of a farm")

// nodeVariable has this test program run one node of a farm.
const nodeVariable = "CADDY_IIS_E2E_NODE"

// node is what a node is told.
type node struct {
	Name      string // its User-Agent
	Config    json.RawMessage
	Directory string // of the authority, for issuers that name none; empty: all name one
	RootFile  string
	HTTPPort  int
	TLSPort   int
	NoHTTP    bool
	NoTLSALPN bool
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(nodeVariable); raw != "" {
		if err := runNode(raw); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runNode runs Caddy until the standard input ends.
func runNode(raw string) error {
	var n node
	if err := json.Unmarshal([]byte(raw), &n); err != nil {
		return err
	}
	root, err := os.ReadFile(n.RootFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	certmagic.UserAgent = n.Name
	certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow = 0, 0
	if n.Directory != "" {
		setDefaults(&n, roots)
	}
	if err := caddy.Load(n.Config, true); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return caddy.Stop()
}

// setDefaults makes an authority that of issuers that name none, those of Caddy's
// tls app included.
func setDefaults(n *node, roots *x509.CertPool) {
	d := &certmagic.DefaultACME
	d.CA, d.TestCA, d.TrustedRoots, d.Agreed = n.Directory, n.Directory, roots, true
	d.Email = "farm@farm.test" // certmagic makes up an invalid one where it finds none
	d.AltHTTPPort, d.AltTLSALPNPort = n.HTTPPort, n.TLSPort
	d.DisableHTTPChallenge, d.DisableTLSALPNChallenge = n.NoHTTP, n.NoTLSALPN
}

func startNode(t *testing.T, n node) {
	t.Helper()
	raw, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(raw))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", n.Name, tail(stderr.String()))
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s does not start: %q, %v\n%s", n.Name, line, err, tail(stderr.String()))
	}
}

func tail(s string) string { return s[max(0, len(s)-6000):] }

// farm knows who has ordered what, and has each validation sent to the other node.
type farm struct {
	http.Handler
	mu     sync.Mutex
	owners map[string]string // nodes by name
	sent   map[string]int    // validations by name
	ports  map[string][2]int // http and https, by node
	ready  chan struct{}     // closed when all nodes serve: no validation comes before
}

// ServeHTTP notes the names of new orders. It looks into what clients sign, which
// is no secret.
func (f *farm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Payload string }
	var order struct {
		Identifiers []struct{ Value string }
	}
	if json.Unmarshal(body, &signed) == nil {
		if payload, err := base64.RawURLEncoding.DecodeString(signed.Payload); err == nil && json.Unmarshal(payload, &order) == nil {
			f.mu.Lock()
			for _, id := range order.Identifiers {
				f.owners[id.Value], _, _ = strings.Cut(r.UserAgent(), " ")
			}
			f.mu.Unlock()
		}
	}
	f.Handler.ServeHTTP(w, r)
}

// other returns the node that has not ordered a name.
func (f *farm) other(name string) ([2]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	owner := f.owners[name]
	for node, ports := range f.ports {
		if owner != "" && node != owner {
			f.sent[name]++
			return ports, nil
		}
	}
	return [2]int{}, fmt.Errorf("nobody has ordered %q", name)
}

// forward accepts the connections of the authority, and sends each to the node
// that did not order the name it is for.
func (f *farm) forward(t *testing.T, secure bool) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.relay(conn, secure)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func (f *farm) relay(conn net.Conn, secure bool) {
	defer conn.Close()
	<-f.ready
	peek := &peeked{Conn: conn}
	name, index := "", 0
	if secure {
		index = 1
		stop := errors.New("the name is known")
		_ = tls.Server(peek, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, stop
		}}).Handshake()
	} else if req, err := http.ReadRequest(bufio.NewReader(peek)); err == nil {
		name, _, _ = strings.Cut(req.Host, ":")
	}
	ports, err := f.other(name)
	if err != nil {
		return
	}
	to, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[index]))
	if err != nil {
		return
	}
	defer to.Close()
	if _, err := to.Write(peek.read.Bytes()); err != nil {
		return
	}
	go func() { _, _ = io.Copy(to, conn) }()
	_, _ = io.Copy(conn, to)
}

// peeked keeps what was read of a connection, and writes nothing to it.
type peeked struct {
	net.Conn
	read bytes.Buffer
}

func (p *peeked) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.read.Write(b[:n])
	return n, err
}

func (*peeked) Write(b []byte) (int, error) { return len(b), nil }

// TestFarm: two nodes share a storage, and every validation of the authority comes
// to the node that did not order the certificate, for both kinds of challenge, with
// an issuer in the configuration and without. Tokens that nobody knows are the
// site's.
func TestFarm(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		for _, issuer := range []string{"issuer", "no issuer"} {
			t.Run(challenge+", "+issuer, func(t *testing.T) { testFarm(t, challenge == "http-01", issuer == "issuer") })
		}
	}
}

func testFarm(t *testing.T, overHTTP, withIssuer bool) {
	f := &farm{owners: make(map[string]string), sent: make(map[string]int), ports: make(map[string][2]int), ready: make(chan struct{})}
	acme := startAuthorityBehind(t, f.forward(t, false), f.forward(t, true), 0, func(h http.Handler) http.Handler {
		f.Handler = h
		return f
	})
	var names []string
	for i := range *farmOrders {
		names = append(names, fmt.Sprintf("n%d.farm.test", i))
	}
	storage := filepath.Join(t.TempDir(), "storage") // the nodes have ended before it is removed
	nodes := []string{"node-a", "node-b"}
	for _, name := range nodes {
		f.ports[name] = [2]int{ts.FreePort(t), ts.FreePort(t)}
	}
	for _, name := range nodes {
		httpPort, tlsPort := f.ports[name][0], f.ports[name][1]
		issuer, directory, disabled := "", acme.directory, "disable_tlsalpn_challenge"
		if !overHTTP {
			disabled = "disable_http_challenge"
		}
		if withIssuer {
			issuer, directory = acme.issuer(disabled+"\nemail farm@farm.test", httpPort, tlsPort), ""
		}
		config, err := ts.Adapt(fmt.Sprintf(`{
			iis {
				certificate farm {
					subjects %s
					%s
				}
				site 1 Main {
					server_bindings :%d:
					secure_bindings :%d:
					certificate farm
					respond "site {path}"
				}
			}
		}`, strings.Join(names, " "), issuer, httpPort, tlsPort),
			fmt.Sprintf("admin off\npersist_config off\nstorage file_system %q\n", storage))
		if err != nil {
			t.Fatal(err)
		}
		startNode(t, node{
			Name: name, Config: config, Directory: directory, RootFile: acme.rootFile,
			HTTPPort: httpPort, TLSPort: tlsPort, NoHTTP: !overHTTP, NoTLSALPN: overHTTP,
		})
	}
	start := time.Now()
	close(f.ready)
	for _, name := range names {
		waitForCertificate(t, fmt.Sprintf("127.0.0.1:%d", f.ports[nodes[0]][1]), name, byAuthority(name))
	}
	f.mu.Lock()
	answered, orderedBy := 0, make(map[string]int)
	for _, name := range names {
		if f.sent[name] > 0 {
			answered++
		}
		orderedBy[f.owners[name]]++
	}
	f.mu.Unlock()
	t.Logf("%d of %d orders, %v, in %s, each validated by the other node", answered, len(names), orderedBy, time.Since(start).Round(time.Millisecond))
	if answered != len(names) {
		t.Errorf("%d of %d names were validated", answered, len(names))
	}
	for _, node := range nodes {
		ports := f.ports[node]
		answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), Host: names[0], Plain: true, Path: "/.well-known/acme-challenge/unknown"})
		if err != nil || answer.Body != "site /.well-known/acme-challenge/unknown" {
			t.Errorf("%s: an unknown token: %v, %v", node, answer, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: names[0], NextProtos: []string{acmez.ACMETLS1Protocol}, InsecureSkipVerify: true}}).
			DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", ports[1]))
		cancel()
		if err == nil {
			conn.Close()
			t.Errorf("%s: a challenge that is not under way is answered", node)
		}
	}
}
