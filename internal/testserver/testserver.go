// Package testserver runs a real Caddy in a test, and talks to it with real
// TLS and QUIC handshakes on loopback.
package testserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the modules of an ordinary Caddy

	"github.com/caddy-iis/caddy-iis/internal/testport"
)

// Server is the Caddy of this process. There is one at a time.
type Server struct {
	t       testing.TB
	admin   string // host:port of the admin endpoint
	storage string
}

// Start runs Caddy with a Caddyfile until the test ends. In the Caddyfile,
// which must begin with a global options block, {admin} and the rest of what
// keeps a test off the machine is added to that block.
func Start(t testing.TB, caddyfile string) *Server {
	t.Helper()
	s := &Server{t: t, admin: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), storage: Folder(t)}
	Logs.Reset()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
		if t.Failed() {
			t.Logf("log of Caddy:\n%s", tail(Logs.String(), 8000))
		}
	})
	if err := s.Load(caddyfile); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
	return s
}

// Folder returns a folder that is removed when the test ends. What Caddy does
// in the background when it is stopped, such as noting when it has cleaned its
// storage, may make files there for a moment longer: they are waited for.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "caddy-test-") //nolint:usetesting // t.TempDir does not wait
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("the folder is still written to: %v", err)
				return
			}
		}
	})
	return dir
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// Load adapts and loads a Caddyfile, as caddy reload does.
func (s *Server) Load(caddyfile string) error {
	s.t.Helper()
	raw, err := s.Adapt(caddyfile)
	if err != nil {
		return err
	}
	return s.LoadJSON(raw)
}

// Restart stops Caddy and runs it again with a Caddyfile, as a new process
// with the same storage would.
func (s *Server) Restart(caddyfile string) error {
	if err := caddy.Stop(); err != nil {
		return err
	}
	return s.Load(caddyfile)
}

// LoadJSON loads a configuration as POST /load does.
func (s *Server) LoadJSON(raw []byte) error { return caddy.Load(raw, true) }

// Adapt turns a Caddyfile into JSON with the settings of this test added. The
// log has no events: to log one, Caddy copies the app that it comes from, which
// for its tls app races with the start of that app where a certificate is
// obtained meanwhile.
func (s *Server) Adapt(caddyfile string) ([]byte, error) {
	return Adapt(caddyfile, fmt.Sprintf(`
		admin %s
		persist_config off
		skip_install_trust
		storage file_system %q
		grace_period 2s
		log {
			output testserver
			level DEBUG
			exclude events
		}
	`, s.admin, s.storage))
}

// Adapt turns a Caddyfile into JSON, with options added to its global options
// block, with which it must begin.
func Adapt(caddyfile, options string) ([]byte, error) {
	caddyfile = strings.TrimSpace(caddyfile)
	if !strings.HasPrefix(caddyfile, "{") {
		return nil, fmt.Errorf("the Caddyfile of a test begins with its global options")
	}
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n"+options+"\n"+caddyfile[1:]), map[string]any{"filename": "Caddyfile"})
	return raw, err
}

// Admin makes a request to the admin API, on a connection of its own: the
// endpoint is restarted by each load.
func (s *Server) Admin(method, path, body string) (int, string) {
	s.t.Helper()
	status, answer, err := s.TryAdmin(method, path, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

// TryAdmin is Admin for other goroutines than the test's. For a moment after a load
// the endpoint of before still takes connections, and hangs up on what it is asked
// there without doing it: such a request is made again.
func (s *Server) TryAdmin(method, path, body string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, "http://"+s.admin+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.Do(req)
}

// Do makes a request to the admin API as TryAdmin does.
func (*Server) Do(req *http.Request) (status int, answer string, err error) {
	req.Close = true
	for range 10 {
		status, answer, err = once(req)
		if !errors.Is(err, io.EOF) && !IsReset(err) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		if req.GetBody != nil {
			req.Body, _ = req.GetBody() // a reader of memory
		}
	}
	return status, answer, err
}

func once(req *http.Request) (int, string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}

// AdminJSON makes a GET request to the admin API and decodes the answer.
func (s *Server) AdminJSON(path string, into any) {
	s.t.Helper()
	status, body := s.Admin(http.MethodGet, path, "")
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// Storage is the folder of Caddy's storage.
func (s *Server) Storage() string { return s.storage }

// AdminAddr is the address of the admin endpoint.
func (s *Server) AdminAddr() string { return s.admin }

// FreePort returns a port of [testport.Free].
func FreePort(t testing.TB) int {
	t.Helper()
	return testport.Free(t)
}

// Logs holds what the running Caddy has logged, at debug level, as JSON lines.
var Logs logBuffer

// logBuffer is a log writer module that keeps the log in memory.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// Close implements io.Closer; the log stays readable.
func (*logBuffer) Close() error { return nil }

// Reset empties the log, and gives its memory back.
func (l *logBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = bytes.Buffer{}
}

// String returns the whole log.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Lines returns the log lines that contain all of the texts.
func (l *logBuffer) Lines(texts ...string) []string {
	var lines []string
next:
	for line := range strings.Lines(l.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// Entry is a log line.
type Entry map[string]any

// Logger returns the log lines of a logger, such as iis.log.access.1.
func (l *logBuffer) Logger(name string) []Entry {
	var entries []Entry
	for line := range strings.Lines(l.String()) {
		var entry Entry
		if err := json.Unmarshal([]byte(line), &entry); err == nil && entry["logger"] == name {
			entries = append(entries, entry)
		}
	}
	return entries
}
