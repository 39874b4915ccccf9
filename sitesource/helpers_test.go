package sitesource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is what the tests keep in their files.
type site struct {
	ID             uint32   `json:"id"`
	Name           string   `json:"name"`
	SecureBindings []string `json:"secure_bindings,omitempty"`
	Certificate    string   `json:"certificate,omitempty"`
}

func decodeJSON(raw []byte) (uint32, site, error) {
	var s site
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, s, errors.New("not a site")
	}
	return s.ID, s, nil
}

// decodeText understands records such as "7 whatever".
func decodeText(raw []byte) (id uint32, value string, err error) {
	if _, err := fmt.Sscanf(string(raw), "%d", &id); err != nil || id == 0 {
		return 0, "", errors.New("no number in front")
	}
	return id, string(raw), nil
}

// memory is a disk that holds one file.
type memory struct {
	data  []byte
	fails []error // of the next reads
	reads int
}

func (m *memory) Read(_ context.Context, path string, limit int64) ([]byte, files.Stamp, error) {
	m.reads++
	if len(m.fails) > 0 {
		err := m.fails[0]
		m.fails = m.fails[1:]
		return nil, files.Stamp{}, err
	}
	return bytes.Clone(m.data), files.Stamp{}, nil
}

func (m *memory) Stat(context.Context, string) (files.Stamp, error) { return files.Stamp{}, nil }

// hanging is a disk that does not answer.
type hanging struct{ disk }

func (hanging) Read(ctx context.Context, _ string, _ int64) ([]byte, files.Stamp, error) {
	<-ctx.Done()
	return nil, files.Stamp{}, files.ErrUnavailable
}

// inMemory returns a source that reads from memory.
func inMemory(text string) (*File[string], *memory) {
	f := NewFile("sites", decodeText, FileOptions{Settle: time.Millisecond})
	m := &memory{data: []byte(text)}
	f.disk = m
	return f, m
}

// counted returns a source that reads a file and counts what it decodes.
func counted(path string) (*File[string], *atomic.Int64) {
	var n atomic.Int64
	return NewFile(path, func(raw []byte) (uint32, string, error) {
		n.Add(1)
		return decodeText(raw)
	}, FileOptions{Settle: time.Millisecond}), &n
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a new file into place.
func replace(t testing.TB, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// read reads what must be good.
func read[T any](t testing.TB, f *File[T], since State) (State, Difference[T]) {
	t.Helper()
	state, diff, err := f.Read(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	return state, diff
}

// refused reads what must not be good, and returns what the error says.
func refused[T any](t testing.TB, f *File[T], since State) string {
	t.Helper()
	state, diff, err := f.Read(t.Context(), since)
	if err == nil {
		t.Fatalf("not refused: %+v", diff)
	}
	if state != since || !diff.Empty() {
		t.Errorf("refused, and yet: %v, %+v", state, diff)
	}
	return err.Error()
}

// words puts differences on one line, such as: +7 "7 a" line 1, -3.
func words(d Difference[string]) string {
	var all []string
	for _, r := range d.Changed {
		all = append(all, fmt.Sprintf("+%d %q %s", r.ID, r.Value, r.Where))
	}
	for _, id := range d.Removed {
		all = append(all, fmt.Sprintf("-%d", id))
	}
	return strings.Join(all, ", ")
}

// lined is a record and its place.
type lined struct {
	value string
	where string
}

// naive reads a whole text in the obvious way.
func naive(text string) (sites map[uint32]lined, ok bool) {
	sites = make(map[uint32]lined)
	for i, l := range strings.Split(strings.TrimPrefix(text, "\uFEFF"), "\n") {
		l = strings.Trim(l, " \t\r")
		if l == "" {
			continue
		}
		id, value, err := decodeText([]byte(l))
		_, double := sites[id]
		if err != nil || double || len(l) > maxLine || strings.ToValidUTF8(l, "") != l || strings.Contains(l, "\x00") {
			return nil, false
		}
		sites[id] = lined{value, fmt.Sprintf("line %d", i+1)}
	}
	if len(text) > 1 && (text[0] == 0 || text[1] == 0) {
		return nil, false
	}
	return sites, true
}

// naiveDifference compares two of these.
func naiveDifference(before, after map[uint32]lined) (d Difference[string]) {
	for id, s := range after {
		if was, ok := before[id]; !ok || was.value != s.value {
			d.Changed = append(d.Changed, Record[string]{id, s.where, s.value})
		}
	}
	slices.SortFunc(d.Changed, func(a, b Record[string]) int {
		return strings.Compare(fmt.Sprintf("%20s", a.Where), fmt.Sprintf("%20s", b.Where))
	})
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[id]; !ok {
			d.Removed = append(d.Removed, id)
		}
	}
	return d
}

func checkState(t interface{ Fatalf(string, ...any) }, s State, want map[uint32]lined) {
	if s.Len() != len(want) {
		t.Fatalf("%d sites, want %d", s.Len(), len(want))
	}
	for id, l := range want {
		if got := s.Where(id); got != l.where {
			t.Fatalf("site %d: in %q, want %q", id, got, l.where)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func sitesPath(t testing.TB) string { return filepath.Join(t.TempDir(), "sites.jsonl") }
