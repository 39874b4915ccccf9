package sitesource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

var _ Source[int] = (*File[int])(nil)

func TestFileDifferences(t *testing.T) {
	tests := map[string]struct{ before, after, want string }{
		"nothing":         {"\n", "\n", ""},
		"first":           {"\n", "3 c\n1 a\n", `+3 "3 c" line 1, +1 "1 a" line 2`},
		"same":            {"1 a\n2 b\n", "1 a\n2 b\n", ""},
		"changed":         {"1 a\n2 b\n3 c\n", "1 a\n2 B\n3 c\n", `+2 "2 B" line 2`},
		"all changed":     {"1 a\n2 b\n", "1 A\n2 B\n", `+1 "1 A" line 1, +2 "2 B" line 2`},
		"changed, moved":  {"1 a\n2 b\n3 c\n", "2 B\n1 a\n3 c\n", `+2 "2 B" line 1`},
		"other id":        {"1 a\n2 b\n", "1 a\n3 b\n", `+3 "3 b" line 2, -2`},
		"inserted":        {"1 a\n2 b\n", "1 a\n3 c\n2 b\n", `+3 "3 c" line 2`},
		"appended":        {"1 a\n", "1 a\n2 b", `+2 "2 b" line 2`},
		"removed":         {"5 e\n1 a\n4 d\n2 b\n", "1 a\n", "-2, -4, -5"},
		"moved":           {"1 a\n2 b\n3 c\n4 d\n", "4 d\n2 b\n1 a\n3 c\n", ""},
		"all removed":     {"1 a\n2 b\n", "\n", "-1, -2"},
		"blank lines":     {"1 a\n2 b\n", "\n \t\n1 a\n\r\n2 b\n3 c\n\n", `+3 "3 c" line 6`},
		"CRLF":            {"1 a\n2 b\n", "1 a\r\n2 b\r\n", ""},
		"spaces":          {"1 a\n2 b\n", "  1 a\t\n2 b  ", ""},
		"byte order mark": {"1 a\n", "\uFEFF1 a\n2 b\n", `+2 "2 b" line 2`},
		"no line break":   {"1 a\n2 b\n", "1 a\n2 b", ""},
		"umlauts":         {"\n", "1 Käse\n", `+1 "1 Käse" line 1`},
		"swapped ids":     {"1 a\n2 b\n", "2 a\n1 b\n", `+2 "2 a" line 1, +1 "1 b" line 2`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, m := inMemory(test.before)
			before, _ := read(t, f, nil)
			m.data = []byte(test.after)
			after, diff := read(t, f, before)
			if got := words(diff); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			was, _ := naive(test.before)
			checkState(t, before, was)
			is, _ := naive(test.after)
			checkState(t, after, is)
		})
	}
}

func TestFileUnchanged(t *testing.T) {
	path := sitesPath(t)
	write(t, path, "1 a\n2 b\n")
	f, decoded := counted(path)
	before, _ := read(t, f, nil)
	replace(t, path, "1 a\n2 b\n")
	after, diff := read(t, f, before)
	if after != before || !diff.Empty() || decoded.Load() != 2 {
		t.Errorf("%v, %+v, %d lines decoded", after, diff, decoded.Load())
	}
	if before.Where(2) != "line 2" || before.Where(3) != "" || f.String() != path {
		t.Errorf("%q, %q, %q", before.Where(2), before.Where(3), f)
	}
}

func TestFileStateOfAnotherFile(t *testing.T) {
	one, _ := inMemory("1 a\n2 b\n")
	two, _ := inMemory("1 a\n2 B\n")
	state, _ := read(t, one, nil)
	if _, diff := read(t, two, state); words(diff) != `+2 "2 B" line 2` {
		t.Error(words(diff))
	}
	type other struct{ State }
	if got := refused(t, two, other{}); got != "sites: cannot be compared with the state of another kind of source" {
		t.Error(got)
	}
}

// Each of the lines of a large file is decoded once, in whatever order they
// are afterwards, and results are in order.
func TestFileLarge(t *testing.T) {
	const n = 5_000
	path := sitesPath(t)
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("%d name", n-i))
	}
	write(t, path, strings.Join(lines, "\n"))
	f, decoded := counted(path)
	state, diff := read(t, f, nil)
	if len(diff.Changed) != n || decoded.Load() != n {
		t.Fatalf("%d records, %d decoded", len(diff.Changed), decoded.Load())
	}
	for i, r := range diff.Changed {
		if r.ID != uint32(n-i) || r.Where != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	for i := range lines[:n/2] {
		lines[i], lines[n-1-i] = lines[n-1-i], lines[i]
	}
	lines[1], lines[n-2] = "2 first", "4999 last"
	replace(t, path, strings.Join(lines, "\r\n"))
	state, diff = read(t, f, state)
	if words(diff) != `+2 "2 first" line 2, +4999 "4999 last" line 4999` || decoded.Load() != n+2 || state.Len() != n {
		t.Errorf("%s, %d decoded, %d sites", words(diff), decoded.Load(), state.Len())
	}
}

func TestFileKeepsNoContent(t *testing.T) {
	f := NewFile("sites", decodeJSON, FileOptions{})
	freed := make(chan struct{})
	f.disk = &watched{&memory{data: []byte(`{"id":1,"name":"shop"}` + strings.Repeat("\n", 1000))}, freed}
	state, diff := read(t, f, nil)
	f.disk = nil
	eventually(t, "the content is freed", func() bool {
		runtime.GC()
		select {
		case <-freed:
			return true
		default:
			return false
		}
	})
	runtime.KeepAlive(state)
	runtime.KeepAlive(diff)
}

// watched tells when what it returned is no longer in memory.
type watched struct {
	*memory
	freed chan struct{}
}

func (w *watched) Read(ctx context.Context, path string, limit int64) ([]byte, files.Stamp, error) {
	data, stamp, err := w.memory.Read(ctx, path, limit)
	runtime.AddCleanup(&data[0], func(freed chan struct{}) { close(freed) }, w.freed)
	return data, stamp, err
}

func TestFileStateIsSmall(t *testing.T) {
	for _, text := range []string{"%d x\n", "%d x\n\n\n\n\n\n", "%d " + strings.Repeat("x", 300) + "\n"} {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, text, i+1)
		}
		f, _ := inMemory(b.String())
		state, _ := read(t, f, nil)
		if n := cap(state.(*fileState).lines); n > 1100 {
			t.Errorf("room for %d of 1000 sites", n)
		}
	}
}

func TestFileWithoutBreaks(t *testing.T) {
	f, _ := inMemory(strings.Repeat("\n", 1<<20))
	if state, diff := read(t, f, nil); state.Len() != 0 || !diff.Empty() || cap(state.(*fileState).lines) > 100 {
		t.Errorf("%d sites, %v", state.Len(), diff)
	}
}

func TestFileEndsWithContext(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "%d x\n", i+1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := NewFile("sites", func(raw []byte) (uint32, string, error) {
		cancel()
		return decodeText(raw)
	}, FileOptions{})
	f.disk = &memory{data: []byte(b.String())}
	if state, _, err := f.Read(ctx, nil); !errors.Is(err, context.Canceled) || state != nil {
		t.Errorf("%v, %v", state, err)
	}
}

// A file that is being replaced all the time is read whole, or not at all.
func TestFileWhileItIsReplaced(t *testing.T) {
	path := sitesPath(t)
	versions := []string{strings.Repeat("\n", 5000) + "1 a\n2 b\n", "1 a\n2 B\n" + strings.Repeat("\n", 5000)}
	write(t, path, versions[0])
	f := NewFile(path, decodeText, FileOptions{Settle: time.Microsecond})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(path+".new", []byte(versions[i%2]), 0o600)
				_ = os.Rename(path+".new", path)
			}
		}
	}()
	var state State
	for range 200 {
		now, diff, err := f.Read(t.Context(), state)
		if err != nil {
			continue // on Windows it may be locked
		}
		if now.Len() != 2 || len(diff.Removed) > 0 {
			t.Errorf("%d sites, %s", now.Len(), words(diff))
		}
		state = now
	}
	close(stop)
	<-done
	if state == nil {
		t.Error("never read")
	}
}

// TestCopy: a copy is what was read, or there is an error.
func TestCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := NewFile(path, func(raw []byte) (uint32, string, error) { return 1, string(raw), nil }, FileOptions{Settle: time.Millisecond})
	write("one\n")
	state, _, err := source.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var copied strings.Builder
	if err := source.Copy(state, &copied); err != nil || copied.String() != "one\n" {
		t.Errorf("got %q, %v", copied.String(), err)
	}
	for _, other := range []string{"two\n", "one\n\n", ""} {
		write(other)
		if err := source.Copy(state, io.Discard); !errors.Is(err, ErrChanged) {
			t.Errorf("%q: %v", other, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := source.Copy(state, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
}
