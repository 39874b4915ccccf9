package logfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func layout(t testing.TB, period iislog.Period, fields ...string) *logfile.Layout {
	t.Helper()
	f, err := iislog.NewFormat(fields, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &logfile.Layout{Format: f, Period: period}
}

// stems is the layout of most tests.
func stems(t testing.TB) *logfile.Layout {
	return layout(t, iislog.Daily, "date", "time", "cs-uri-stem")
}

var noon = time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)

func record(site uint32, at time.Time, stem string) *iislog.Record {
	return &iislog.Record{Site: site, Time: at, Stem: stem}
}

// still returns a folder that writes when Write is called, and not before.
func still(t *testing.T) (*logfile.Folder, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	f := logfile.New(dir, nil)
	f.Still(t)
	return f, dir
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// body returns the paths in a log, with # for each header.
func body(text string) string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		switch {
		case strings.HasPrefix(line, "#Fields: "):
			out = append(out, "#")
		case !strings.HasPrefix(line, "#"):
			out = append(out, line[strings.LastIndexByte(line, ' ')+1:])
		}
	}
	return strings.Join(out, " ")
}

func expect(t *testing.T, want string, parts ...string) {
	t.Helper()
	if got := body(read(t, parts...)); got != want {
		t.Errorf("%s: got %q, want %q", filepath.Join(parts[1:]...), got, want)
	}
}

// TestFiles: each site has a folder, each day a file, and each file one header.
func TestFiles(t *testing.T) {
	f, dir := still(t)
	l := stems(t)
	f.Add(l, record(1, noon, "/a"))
	f.Add(l, record(2, noon, "/b"))
	f.Write(noon)
	f.Add(l, record(1, noon.Add(time.Hour), "/c"))
	f.Write(noon.Add(2 * time.Minute))
	f.Add(l, record(1, noon.Add(12*time.Hour), "/d"))
	f.Add(l, record(1, noon.Add(12*time.Hour-time.Millisecond), "/late"))
	f.Write(noon.Add(24 * time.Hour))
	if got, want := read(t, dir, "W3SVC1", "u_ex260309.log"), "#Software: caddy-iis\r\n#Version: 1.0\r\n#Date: 2026-03-09 12:00:00\r\n#Fields: date time cs-uri-stem\r\n"+
		"2026-03-09 12:00:00 /a\r\n2026-03-09 13:00:00 /c\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	expect(t, "# /b", dir, "W3SVC2", "u_ex260309.log")
	expect(t, "# /d /late", dir, "W3SVC1", "u_ex260310.log")
	if s := f.Stats(); s != (logfile.Stats{Written: 5}) {
		t.Errorf("got %+v", s)
	}
	// The clock has gone back: the file is that of the day.
	f.Add(l, record(1, noon, "/back"))
	f.Write(noon)
	expect(t, "# /a /c # /back", dir, "W3SVC1", "u_ex260309.log")
}

// TestAgain: a new process goes on with the file, behind a header of its own,
// and behind a line that has no end.
func TestAgain(t *testing.T) {
	f, dir := still(t)
	l := stems(t)
	f.Add(l, record(1, noon, "/a"))
	f.Write(noon)
	name := filepath.Join(dir, "W3SVC1", "u_ex260309.log")
	if err := os.WriteFile(name, []byte(read(t, name)+"2026-03-09 12:00:00 /to"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := logfile.New(dir, nil)
	again.Still(t)
	again.Add(l, record(1, noon, "/b"))
	again.Write(noon)
	expect(t, "# /a /to # /b", name)
}

// TestOtherFields: other fields begin with another header in the same file, and
// custom fields in another file.
func TestOtherFields(t *testing.T) {
	f, dir := still(t)
	l, other := stems(t), layout(t, iislog.Daily, "sc-status", "cs-uri-stem")
	f.Add(l, record(1, noon, "/a"))
	f.Add(other, record(1, noon, "/b"))
	f.Write(noon)
	f.Add(stems(t), record(1, noon, "/c"))
	f.Add(l, record(1, noon, "/d"))
	f.Add(layout(t, iislog.Daily, "cs(X-A)", "cs-uri-stem"), record(1, noon, "/x"))
	f.Write(noon)
	expect(t, "# /a # /b # /c /d", dir, "W3SVC1", "u_ex260309.log")
	expect(t, "# /x", dir, "W3SVC1", "u_ex260309_x.log")
}

// TestMoved: a file that somebody has moved away or removed is made anew.
func TestMoved(t *testing.T) {
	needs.OpenFilesGo(t)
	f, dir := still(t)
	l := stems(t)
	name := filepath.Join(dir, "W3SVC1", "u_ex260309.log")
	add := func(after time.Duration, stem string) {
		f.Add(l, record(1, noon.Add(after), stem))
		f.Write(noon.Add(after))
	}
	add(0, "/a")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	add(10*time.Second, "/b")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	add(20*time.Second, "/c")
	expect(t, "# /c", name)
}

// TestSizes: without period there is one file, or one for each max_size bytes,
// with the highest number going on.
func TestSizes(t *testing.T) {
	f, dir := still(t)
	l := layout(t, iislog.None, "date", "cs-uri-stem")
	f.Add(l, record(1, noon, "/a"))
	f.Add(l, record(1, noon.AddDate(1, 0, 0), "/b"))
	f.Write(noon)
	expect(t, "# /a /b", dir, "W3SVC1", "u_extend1.log")

	l.MaxSize = 200
	for i := range 4 {
		f.Add(l, record(2, noon, fmt.Sprintf("/%050d", i)))
		f.Write(noon)
	}
	again := logfile.New(dir, nil)
	again.Still(t)
	again.Add(l, record(2, noon, "/new"))
	again.Write(noon)
	for name, want := range map[string]int{"u_extend1.log": 1, "u_extend2.log": 1, "u_extend3.log": 1, "u_extend4.log": 1, "u_extend5.log": 1} {
		if got := strings.Count(read(t, dir, "W3SVC2", name), "#Fields: date cs-uri-stem\r\n"); got != want {
			t.Errorf("%s: %d headers, want %d", name, got, want)
		}
	}
}

// TestOpenFiles: no more files than allowed are open, and a file that was closed
// for others gets no second header.
func TestOpenFiles(t *testing.T) {
	logfile.SetMaxOpen(t, 10)
	f, dir := still(t)
	l := stems(t)
	before := logfile.OpenFiles()
	for round := range 3 {
		for site := range uint32(50) {
			f.Add(l, record(site+1, noon, fmt.Sprint("/", round)))
		}
		f.Write(noon)
		if n := logfile.OpenFiles() - before; n > 10 {
			t.Fatalf("%d files are open", n)
		}
	}
	for site := range uint32(50) {
		expect(t, "# /0 /1 /2", dir, iislog.Folder(site+1), "u_ex260309.log")
	}
	f.Write(noon.Add(2 * time.Minute))
	if n := logfile.OpenFiles() - before; n != 0 {
		t.Errorf("%d files are open after two minutes", n)
	}
}

// TestFailure: what cannot be written is counted and told once, and so is that
// it can be written again.
func TestFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	var told []string
	f := logfile.New(dir, func(err error) { told = append(told, fmt.Sprint(err != nil)) })
	f.Still(t)
	l := stems(t)
	f.Probe()
	if f.Problem() == nil {
		t.Error("the probe has found nothing")
	}
	for i := range 3 {
		f.Add(l, record(1, noon, "/a"))
		f.Write(noon.Add(time.Duration(i) * time.Second))
	}
	if s := f.Stats(); s != (logfile.Stats{Failed: 3}) || f.Problem() == nil {
		t.Errorf("got %+v, %v", s, f.Problem())
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	f.Add(l, record(1, noon, "/b"))
	f.Write(noon.Add(10 * time.Second))
	if s := f.Stats(); s != (logfile.Stats{Failed: 3, Written: 1}) || f.Problem() != nil {
		t.Errorf("got %+v, %v", s, f.Problem())
	}
	if got := strings.Join(told, " "); got != "true false" {
		t.Errorf("told %q", got)
	}
	expect(t, "# /b", dir, "W3SVC1", "u_ex260309.log")
}

// TestFull: a disk that does not keep up costs lines, and nobody waits.
func TestFull(t *testing.T) {
	f, _ := still(t)
	l := stems(t)
	for range logfile.MaxLines + 7 {
		f.Add(l, record(1, noon, "/a"))
	}
	if s := f.Stats(); s.Full != 7 {
		t.Errorf("got %+v", s)
	}
	f.Write(noon)
	if s := f.Stats(); s.Written != logfile.MaxLines {
		t.Errorf("got %+v", s)
	}
	f.Add(l, record(1, noon, "/a"))
	if s := f.Stats(); s.Full != 7 {
		t.Errorf("got %+v", s)
	}
}

// TestConcurrent: many add at the same time, and each line is there, whole.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	f := logfile.New(dir, nil)
	l := stems(t)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				f.Add(l, record(uint32(i%5+1), noon, fmt.Sprintf("/%d/%d", worker, i)))
				if i%500 == 0 {
					if err := f.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for site := range uint32(5) {
		for stem := range strings.SplitSeq(body(read(t, dir, iislog.Folder(site+1), "u_ex260309.log")), " ") {
			seen[stem] = true
		}
	}
	if len(seen) != 8*2000+1 { // and the header
		t.Errorf("%d lines", len(seen))
	}
	f.Add(l, record(1, noon, "/after"))
	if s := f.Stats(); s != (logfile.Stats{Written: 16000, Full: 1}) {
		t.Errorf("got %+v", s)
	}
}

// TestFlushes: a line is in its file about a second later, without anybody asking.
func TestFlushes(t *testing.T) {
	dir := t.TempDir()
	f := logfile.New(dir, nil)
	f.Add(stems(t), record(1, noon, "/a"))
	name := filepath.Join(dir, "W3SVC1", "u_ex260309.log")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if raw, _ := os.ReadFile(name); bytes.HasSuffix(raw, []byte(" /a\r\n")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the line is not in its file")
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// visit is a request as browsers make it, in the fields of IIS.
func visit(tb testing.TB) (*logfile.Layout, *iislog.Record) {
	tb.Helper()
	format, err := iislog.NewFormat(nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return &logfile.Layout{Format: format}, &iislog.Record{
		Time: noon, Site: 1, Method: "GET", Stem: "/index.html", Client: "192.0.2.7", Version: "HTTP/1.1",
		Request: []string{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", "https://www.example.com/"}, Status: 200, Taken: time.Millisecond,
	}
}

// BenchmarkAdd is what a request pays. The disk has time between its writes, as
// between requests.
func BenchmarkAdd(b *testing.B) {
	f := logfile.New(b.TempDir(), nil)
	defer f.Close()
	l, r := visit(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f.Add(l, r)
		if n++; n%4000 == 0 {
			b.StopTimer()
			if err := f.Flush(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(f.Stats().Full)/float64(b.N), "dropped/op")
}
