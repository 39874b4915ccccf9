//go:build unix

package postgres

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/sites"
)

// in opens a table with its local copy in a folder.
func in(t *testing.T, connection, folder string) *table {
	t.Helper()
	tab, err := open(t.Context(), connection, false, folder)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestSnapshot: a table starts from its local copy when the database is away, and
// catches up when it is back.
func TestSnapshot(t *testing.T) {
	server, connection := database(t)
	folder := filepath.Join(t.TempDir(), "not", "there")
	one := in(t, connection, folder)
	if _, err := one.Write(sites.Transaction{Changes: []sites.Change{change(1, `{"name":"<a>"}`), change(2, `{"name":"b"}`)}}); err != nil {
		t.Fatal(err)
	}
	server.Exec(connection, `update iis.site set doc = '{"name": "c"}' where id = 2; insert into iis.site (id, doc) values (3, '{}')`)
	catchUp(t, one)
	if _, err := one.Write(sites.Transaction{Verdicts: []sites.Verdict{{ID: 3, Refusal: &sites.Refusal{Code: "invalid", Message: "x", Other: 9}}}}); err != nil {
		t.Fatal(err)
	}
	want := state(t, one)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(one.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	server.Kill()
	start := time.Now()
	two := in(t, connection, folder)
	if got := state(t, two); got != want || time.Since(start) > 4*time.Second {
		t.Errorf("got %s after %s, want %s", got, time.Since(start), want)
	}
	if s := two.Status(); !s.Loaded || !s.Snapshot || s.Up || s.Error == "" || s.SavedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	server.Run()
	server.Exec(connection, `delete from iis.site where id = 1`)
	if d := catchUp(t, two); d.Moved || len(d.Removed) != 1 || len(d.Rows) != 0 {
		t.Errorf("%+v", d)
	}
	if s := two.Status(); s.Snapshot {
		t.Errorf("%+v", s)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	three := in(t, connection, folder)
	defer three.Close()
	if state(t, three) != state(t, two) || !three.Status().Up {
		t.Errorf("got %s, %+v", state(t, three), three.Status())
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestSnapshotDamage: a copy of which a byte is another one, or the end is missing, is
// not used, and that is told.
func TestSnapshotDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	header := snapshotHeader{snapshotFormat, "s", 7, "m", 2, time.Now()}
	rows := []sites.Row{{ID: 1, Revision: 3, Document: json.RawMessage(`{"name":"a"}`)}, {ID: 2, Revision: 7, Open: true, Document: json.RawMessage(`{}`)}}
	if err := saveSnapshot(path, header, rows, false); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(raw []byte) error {
		t.Helper()
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := readSnapshot(path)
		return err
	}
	if err := try(good); err != nil {
		t.Fatal(err)
	}
	for i := range good[:len(good)-1] {
		if err := try(good[:i]); err == nil {
			t.Errorf("cut after %d bytes: it is used", i)
		}
		bad := []byte(string(good))
		bad[i] ^= 1
		if err := try(bad); err == nil {
			t.Errorf("byte %d: it is used", i)
		}
	}
	header.Format = 2
	if err := saveSnapshot(path, header, rows, true); err != nil {
		t.Fatal(err)
	}
	tab := &table{path: path}
	if tab.loadSnapshot(); tab.head.Source != "" || !strings.Contains(tab.status.SnapshotError, "format 2") {
		t.Errorf("%+v", tab.status)
	}
}

// TestSnapshotShared: two processes write into one folder, and whoever reads finds a
// whole copy, which does not get older unless the table has another past.
func TestSnapshotShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	write := func(revision uint64, overwrite bool) {
		rows := make([]sites.Row, 50)
		for i := range rows {
			rows[i] = sites.Row{ID: uint32(i + 1), Revision: revision, Document: json.RawMessage(fmt.Sprintf(`{"name":"%d"}`, revision))}
		}
		if err := saveSnapshot(path, snapshotHeader{snapshotFormat, "s", revision, "m", len(rows), time.Now()}, rows, overwrite); err != nil {
			t.Error(err)
		}
	}
	write(1, false)
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := range 50 {
				write(uint64(2+2*i+w), false)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if _, rows, err := readSnapshot(path); err != nil || len(rows) != 50 {
			t.Fatal(err)
		}
	}
	if header, err := readHeader(path); err != nil || header.Revision < 100 {
		t.Errorf("%+v, %v", header, err)
	}
	write(5, false)
	if header, _ := readHeader(path); header.Revision < 100 {
		t.Errorf("an older one: %+v", header)
	}
	write(5, true)
	if header, _ := readHeader(path); header.Revision != 5 {
		t.Errorf("another past: %+v", header)
	}
}

// TestSnapshotAbandoned: what was left of a copy goes, unless somebody may be writing it.
func TestSnapshotAbandoned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute} {
		if err := os.WriteFile(path+"."+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path+"."+name, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := saveSnapshot(path, snapshotHeader{snapshotFormat, "s", 1, "m", 0, time.Now()}, nil, false); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || !slices.Equal(left, []string{path, path + ".new"}) {
		t.Errorf("%q, %v", left, err)
	}
}

// TestSnapshotOtherPast: what the database is now is not taken at the start without a
// question, if it is another one than the local copy is of.
func TestSnapshotOtherPast(t *testing.T) {
	server, connection := database(t)
	folder := t.TempDir()
	server.Exec(connection, `insert into iis.site (id, doc) select g, '{}' from generate_series(1, 20) g`)
	one := in(t, connection, folder)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	server.Exec(connection, `delete from iis.site; update iis.head set source = gen_random_uuid()`)
	two := in(t, connection, folder)
	defer two.Close()
	if got := strings.Count(state(t, two), "\n"); got != 20 {
		t.Errorf("%d rows are left", got)
	}
	if d := catchUp(t, two); !d.Moved || len(d.Removed) != 20 {
		t.Errorf("%+v", d)
	}
	two.save()
	if header, err := readHeader(two.path); err != nil || header.Rows != 0 {
		t.Errorf("%+v, %v", header, err)
	}
}
