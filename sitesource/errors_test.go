package sitesource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func TestFileRefuses(t *testing.T) {
	tests := map[string]struct{ before, after, want string }{
		"empty": {
			"1 a\n", "",
			"sites is empty: a program that is still writing it? to remove all sites, write a single line break",
		},
		"only a byte order mark": {
			"1 a\n", "\uFEFF",
			"sites is empty: a program that is still writing it? to remove all sites, write a single line break",
		},
		"bad line":               {"1 a\n", "1 a\n\nsecret\n", "sites, line 3: no number in front"},
		"bad lines":              {"1 a\n", "x\n1 a\ny\n", "sites, line 1: no number in front\nsites, line 3: no number in front"},
		"UTF-16":                 {"\n", "\xff\xfe1\x00 \x00a\x00", "sites is UTF-16: save it as UTF-8"},
		"UTF-16, big":            {"\n", "\xfe\xff\x001\x00 \x00a", "sites is UTF-16: save it as UTF-8"},
		"UTF-16, no mark":        {"\n", "1\x00 \x00a\x00", "sites is UTF-16: save it as UTF-8"},
		"UTF-16, big, none":      {"\n", "\x001\x00 \x00a", "sites is UTF-16: save it as UTF-8"},
		"zero bytes":             {"\n", "1 a\n2 b\x00\x00\n", "sites, line 2: has a zero byte: save the file as UTF-8"},
		"Latin-1":                {"\n", "1 a\n2 K\xe4se\n", "sites, line 2: not UTF-8: save the file as UTF-8"},
		"long line":              {"\n", "1 a\n2 " + strings.Repeat("b", 1<<20) + "\n", "sites, line 2: longer than 1 MiB"},
		"twice":                  {"\n", "7 a\n2 b\n7 c\n", "sites, line 3: site 7 is there already, in line 1"},
		"thrice":                 {"\n", "7 a\n7 b\n7 a\n", "sites, line 2: site 7 is there already, in line 1\nsites, line 3: site 7 is there already, in line 1"},
		"added, twice":           {"1 a\n7 b\n", "1 a\n7 b\n\n7 c\n", "sites, line 4: site 7 is there already, in line 2"},
		"added above":            {"1 a\n7 b\n", "7 c\n1 a\n7 b\n", "sites, line 3: site 7 is there already, in line 1"},
		"same line twice":        {"1 a\n7 b\n", "7 b\n1 a\n7 b\n", "sites, line 3: site 7 is there already, in line 1"},
		"same line twice, moved": {"1 a\n7 b\n2 c\n", "2 c\n7 b\n7 b\n1 a\n", "sites, line 3: site 7 is there already, in line 2"},
		"changed to twice":       {"1 a\n7 b\n9 c\n", "7 a\n7 b\n9 c\n", "sites, line 2: site 7 is there already, in line 1"},
		"twice, and bad":         {"1 a\n7 b\n", "1 a\nx\n7 b\n1 b\ny\n", "sites, line 2: no number in front\nsites, line 4: site 1 is there already, in line 1\nsites, line 5: no number in front"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, m := inMemory(test.before)
			before, _ := read(t, f, nil)
			m.data = []byte(test.after)
			if got := refused(t, f, before); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			m.data = []byte(test.before) // the earlier state is what it was
			if after, diff := read(t, f, before); after != before || !diff.Empty() {
				t.Errorf("%v, %v", after, diff)
			}
		})
	}
}

func TestFileRefusesMany(t *testing.T) {
	f, m := inMemory("4 x\n")
	state, _ := read(t, f, nil)
	m.data = []byte("\n\n" + strings.Repeat("secret\n", 3000))
	for range 3 {
		got := strings.Split(refused(t, f, state), "\n")
		if len(got) != 21 || got[0] != "sites, line 3: no number in front" ||
			got[19] != "sites, line 22: no number in front" || got[20] != "and more lines like these" {
			t.Fatalf("%q", got)
		}
	}
}

func TestFileErrorsUnwrap(t *testing.T) {
	cause := errors.New("cause")
	f := NewFile("sites", func([]byte) (uint32, int, error) { return 0, 0, fmt.Errorf("because: %w", cause) }, FileOptions{})
	f.disk = &memory{data: []byte("\na\nb\n")}
	_, _, err := f.Read(t.Context(), nil)
	var lines *LinesError
	var line *LineError
	if !errors.Is(err, cause) || !errors.As(err, &lines) || !errors.As(err, &line) {
		t.Fatal(err)
	}
	if len(lines.Lines) != 2 || line.Line != 2 || line.Path != "sites" {
		t.Errorf("%+v, %+v", lines, line)
	}
}

func TestFileUnreadable(t *testing.T) {
	dir := t.TempDir()
	large, missing := filepath.Join(dir, "large"), filepath.Join(dir, "missing")
	write(t, large, "1 0123456789")
	for path, want := range map[string]string{
		missing: "read " + missing + ": ", // the rest is in the words of the operating system
		dir:     "read " + dir + ": not a regular file: it is a folder",
		large:   large + ": larger than 10 bytes",
	} {
		f := NewFile(path, decodeText, FileOptions{MaxSize: 10, Settle: time.Millisecond})
		if got := refused(t, f, nil); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if f.unread.Load() {
			t.Errorf("%s: to be tried again, though nothing changed", path)
		}
	}
	_, _, err := NewFile(missing, decodeText, FileOptions{}).Read(t.Context(), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestFileTriesAgain(t *testing.T) {
	f, m := inMemory("1 a\n")
	torn := errors.New("it changed while it was read")
	m.fails = []error{torn, torn}
	if state, _ := read(t, f, nil); state.Len() != 1 || m.reads != 3 {
		t.Errorf("%d sites, %d reads", state.Len(), m.reads)
	}
	m.fails, m.reads = []error{torn, torn, torn, torn, torn, torn}, 0
	if got := refused(t, f, nil); got != torn.Error() || m.reads != maxTries || !f.unread.Load() {
		t.Errorf("%s, %d reads", got, m.reads)
	}
	for err, unread := range map[error]bool{fs.ErrNotExist: false, fs.ErrPermission: true, files.ErrUnavailable: true} {
		m.fails, m.reads = []error{err}, 0
		if got := refused(t, f, nil); got != err.Error() || m.reads != 1 || f.unread.Load() != unread {
			t.Errorf("%s, %d reads", got, m.reads)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.fails, m.reads = []error{torn, torn}, 0
	if _, _, err := f.Read(ctx, nil); err == nil || m.reads != 1 || f.unread.Load() {
		t.Errorf("%v, %d reads", err, m.reads)
	}
}

// interrupted is a disk where something happens after each read of a file that
// was modified just now.
type interrupted struct {
	*files.Reader
	happens func()
}

func (i interrupted) Stat(ctx context.Context, path string) (files.Stamp, error) {
	i.happens()
	return i.Reader.Stat(ctx, path)
}

// A file that was modified just now is waited for, even if nobody watches it.
func TestFileTorn(t *testing.T) {
	path := sitesPath(t)
	f := NewFile(path, decodeText, FileOptions{Settle: time.Second})
	finish := sync.OnceFunc(func() { write(t, path, "1 a\n2 b\n3 c\n") })
	f.disk = interrupted{f.opts.Reader, finish}
	write(t, path, "1 a\n2 ")
	state, diff := read(t, f, nil)
	if words(diff) != `+1 "1 a" line 1, +2 "2 b" line 2, +3 "3 c" line 3` {
		t.Error(words(diff))
	}

	// One whose date is not of today is not waited for.
	replace(t, path, "1 a\n")
	long := NewFile(path, decodeText, FileOptions{Settle: time.Hour})
	for _, date := range []time.Duration{-25 * time.Hour, 24 * time.Hour} {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(date)); err != nil {
			t.Fatal(err)
		}
		if _, diff := read(t, long, state); words(diff) != "-2, -3" {
			t.Error(words(diff))
		}
	}
}

// A file that never stands still is not read.
func TestFileMoves(t *testing.T) {
	path := sitesPath(t)
	n := 1
	f := NewFile(path, decodeText, FileOptions{Settle: 300 * time.Millisecond})
	more := func() {
		n++
		replace(t, path, strings.Repeat("\n", n))
	}
	f.disk = interrupted{f.opts.Reader, more}
	more()
	want := "read " + path + ": it keeps changing: a program that is still writing it?"
	if got := refused(t, f, nil); got != want || !f.unread.Load() {
		t.Error(got)
	}
}

// Waiting for a file to stand still ends with the context.
func TestFileWaitEndsWithContext(t *testing.T) {
	path := sitesPath(t)
	write(t, path, "1 a\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := NewFile(path, decodeText, FileOptions{Settle: time.Hour}).Read(ctx, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{MaxSize: "256 MiB", maxLine: "1 MiB", 3<<20 + 1: "3145729 bytes"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
