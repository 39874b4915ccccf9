package centralstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// decodeText makes a certificate of files whose content begins with "ok".
func decodeText(in Files) (*tls.Certificate, error) {
	if !bytes.HasPrefix(in.Certificate, []byte("ok")) {
		return nil, errors.New("the file is damaged")
	}
	return &tls.Certificate{Certificate: [][]byte{in.Certificate, in.Key}}, nil
}

func content(cert *tls.Certificate) string {
	if cert == nil {
		return ""
	}
	return string(cert.Certificate[0])
}

// events collects reports.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

func (e *events) count(kind EventKind) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.list {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprint(e.list)
}

// fast has short intervals.
func fast(e *events) Options {
	o := Options{
		Poll:    50 * time.Millisecond,
		MissTTL: 30 * time.Millisecond,
		Retry:   30 * time.Millisecond,
		Settle:  20 * time.Millisecond,
	}
	if e != nil {
		o.Report = e.add
	}
	return o
}

func open(t testing.TB, b Backend, o Options) *Store {
	t.Helper()
	s := New(b, decodeText, o)
	t.Cleanup(s.Close)
	return s
}

func get(s *Store, name string) string {
	cert, ok := s.Get(name, time.Now())
	if ok != (cert != nil) {
		return "certificate and result disagree"
	}
	return content(cert)
}

func expect(t *testing.T, s *Store, name, want string) {
	t.Helper()
	if got := get(s, name); got != want {
		t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("in vain: %s", what)
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	err := os.Rename(path+".tmp", path)
	for deadline := time.Now().Add(10 * time.Second); err != nil && runtime.GOOS == "windows" && time.Now().Before(deadline); {
		err = os.Rename(path+".tmp", path) // somebody reads the one in its place at this moment
	}
	if err != nil {
		t.Fatal(err)
	}
}

// memory is a backend that can hang and fail.
type memory struct {
	mu    sync.Mutex
	files map[string]string
	err   error         // of all accesses
	gate  chan struct{} // accesses wait for it, if it is not nil
	asked []string
	now   int64
	mod   map[string]int64
}

func (m *memory) put(file, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files, m.mod = make(map[string]string), make(map[string]int64)
	}
	m.now++
	m.files[file], m.mod[file] = content, m.now
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// hang makes accesses hang until the returned function is called.
func (m *memory) hang() (free func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.gate = nil
		close(gate)
	})
}

func (m *memory) count(file string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, asked := range m.asked {
		if asked == file {
			n++
		}
	}
	return n
}

func (m *memory) access(file string) error {
	m.mu.Lock()
	m.asked = append(m.asked, file)
	gate, err := m.gate, m.err
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return err
}

func (m *memory) Stat(_ context.Context, file string) (files.Stamp, error) {
	_, stamp, err := m.Read(context.Background(), file, 0)
	return stamp, err
}

func (m *memory) Read(_ context.Context, file string, _ int64) ([]byte, files.Stamp, error) {
	if err := m.access(file); err != nil {
		return nil, files.Stamp{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[file]
	if !ok {
		return nil, files.Stamp{}, fs.ErrNotExist
	}
	return []byte(data), files.Stamp{Size: int64(len(data)), Modified: m.mod[file]}, nil
}

func (m *memory) Ping(context.Context) error { return m.access("") }
func (m *memory) Locate(file string) string  { return "memory/" + file }
func (m *memory) String() string             { return "memory" }
