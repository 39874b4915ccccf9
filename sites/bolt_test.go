package sites_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/sites"
)

func open(t testing.TB, path string) sites.Table {
	t.Helper()
	table, err := sites.OpenBolt(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	return table
}

func put(id uint32, document string) sites.Change {
	return sites.Change{ID: id, Document: json.RawMessage(document)}
}

func write(t testing.TB, table sites.Table, by string, changes ...sites.Change) sites.Head {
	t.Helper()
	head, err := table.Write(sites.Transaction{By: by, Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// rows lists the rows as id@revision=document.
func rows(t testing.TB, table sites.Table) (list []string) {
	t.Helper()
	err := table.Rows(func(row sites.Row) error {
		list = append(list, fmt.Sprintf("%d@%d=%s", row.ID, row.Revision, row.Document))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestBoltWrite: a transaction is one revision, rows come by id, and all is there
// when the file is opened again.
func TestBoltWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	fresh, err := table.Head()
	if err != nil || fresh.Revision != 0 || fresh.Source == "" {
		t.Fatalf("a new table: %+v, %v", fresh, err)
	}
	first := write(t, table, "a", put(300, `{"name":"c"}`), put(2, `{"name":"a"}`), put(256, `{"name":"b"}`))
	second := write(t, table, "a", put(2, `{}`), put(300, ""), sites.Change{ID: 256})
	if first.Revision != 1 || second.Revision != 2 || first.Source != fresh.Source || first.Mark == second.Mark || first.Mark == "" {
		t.Errorf("revisions: %+v, then %+v", first, second)
	}
	want := []string{"2@2={}", "300@2="}
	check := func() {
		t.Helper()
		if got := rows(t, table); !slices.Equal(got, want) {
			t.Errorf("rows: %q, want %q", got, want)
		}
		if head, err := table.Head(); err != nil || head != second {
			t.Errorf("head: %+v, %v, want %+v", head, err, second)
		}
		if row, ok, err := table.Row(2); !ok || err != nil || row.Revision != 2 || string(row.Document) != "{}" {
			t.Errorf("row 2: %+v, %v, %v", row, ok, err)
		}
		if _, ok, err := table.Row(256); ok || err != nil {
			t.Errorf("a deleted row: %v, %v", ok, err)
		}
	}
	check()
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	table = open(t, path)
	check()
}

// TestBoltNothingByHalf: a transaction whose answer fails leaves nothing.
func TestBoltNothingByHalf(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "sites.db"))
	before := write(t, table, "a", put(1, `{}`))
	broken := errors.New("broken")
	_, err := table.Write(sites.Transaction{
		Changes: []sites.Change{put(1, `{"name":"x"}`), put(2, `{}`)}, Key: "k",
		Answer: func(sites.Head) (json.RawMessage, error) { return nil, broken },
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := rows(t, table); !slices.Equal(got, []string{"1@1={}"}) {
		t.Errorf("rows: %q", got)
	}
	if head, _ := table.Head(); head != before {
		t.Errorf("head: %+v, want %+v", head, before)
	}
	if _, ok, err := table.Repeated("k"); ok || err != nil {
		t.Errorf("the key is there: %v, %v", ok, err)
	}
	if list, err := table.Log(0, 10); err != nil || len(list) != 1 {
		t.Errorf("log: %+v, %v", list, err)
	}
}

// TestBoltLog: the log has who, what was before and what after, in pages.
func TestBoltLog(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "sites.db"))
	write(t, table, "ann", put(1, `{"name":"a"}`), put(2, `{}`))
	write(t, table, "bob", put(1, `{"name":"b"}`))
	write(t, table, "cid", sites.Change{ID: 1})
	list, err := table.Log(0, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for i, want := range []string{`cid 3 [1:{"name":"b"}>]`, `bob 2 [1:{"name":"a"}>{"name":"b"}]`, `ann 1 [1:>{"name":"a"} 2:>{}]`} {
		rev := list[i]
		var changes []string
		for _, c := range rev.Changes {
			changes = append(changes, fmt.Sprintf("%d:%s>%s", c.ID, c.Before, c.After))
		}
		if got := fmt.Sprintf("%s %d %v", rev.By, rev.Revision, changes); got != want || rev.Mark == "" || time.Since(rev.At) > time.Hour {
			t.Errorf("entry %d: %s, want %s", i, got, want)
		}
	}
	for _, c := range []struct {
		below uint64
		limit int
		want  []uint64
	}{{0, 2, []uint64{3, 2}}, {2, 2, []uint64{1}}, {1, 2, nil}, {99, 1, []uint64{3}}, {3, 1, []uint64{2}}} {
		list, err := table.Log(c.below, c.limit)
		var got []uint64
		for _, rev := range list {
			got = append(got, rev.Revision)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("below %d, limit %d: %v, %v, want %v", c.below, c.limit, got, err, c.want)
		}
	}
}

// TestBoltTrim: what is forgotten is forgotten whole, keys included; rows and the
// newest revision stay.
func TestBoltTrim(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "sites.db"))
	answer := func(head sites.Head) (json.RawMessage, error) {
		return json.RawMessage(fmt.Sprintf(`{"revision":%d}`, head.Revision)), nil
	}
	for i := range 3 {
		tx := sites.Transaction{Changes: []sites.Change{put(uint32(i+1), `{}`)}, Key: fmt.Sprint("key", i), Hash: "h", Answer: answer}
		if _, err := table.Write(tx); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok, err := table.Repeated("key0"); !ok || err != nil || got.Hash != "h" || string(got.Body) != `{"revision":1}` {
		t.Errorf("before: %+v, %v, %v", got, ok, err)
	}
	if err := table.Trim(time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if list, _ := table.Log(0, 10); len(list) != 3 {
		t.Errorf("young revisions are forgotten: %+v", list)
	}
	if err := table.Trim(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	list, err := table.Log(0, 10)
	if err != nil || len(list) != 1 || list[0].Revision != 3 || len(list[0].Changes) != 1 {
		t.Errorf("log: %+v, %v", list, err)
	}
	for key, there := range map[string]bool{"key0": false, "key1": false, "key2": true} {
		if _, ok, err := table.Repeated(key); ok != there || err != nil {
			t.Errorf("%s: %v, %v, want %v", key, ok, err, there)
		}
	}
	if got := rows(t, table); len(got) != 3 {
		t.Errorf("rows: %q", got)
	}
	if head := write(t, table, "a", put(9, `{}`)); head.Revision != 4 {
		t.Errorf("the next revision: %+v", head)
	}
}

// TestBoltInUse: a file that is open elsewhere is an error after the time that it
// was waited for.
func TestBoltInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	open(t, path)
	if _, err := sites.OpenBolt(path, 20*time.Millisecond); !errors.Is(err, sites.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// TestBoltFormat: a file of a newer version is an error, and stays as it is.
func TestBoltFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	write(t, table, "a", put(1, `{}`))
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("head")).Put([]byte("format"), []byte("2")) })
	if _, err := sites.OpenBolt(path, time.Second); !errors.Is(err, sites.ErrFormat) {
		t.Errorf("got %v", err)
	}
}

// edit changes a file as no version of this package would.
func edit(t testing.TB, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// use does all that can be done with a table; what it returns may be an error, but it
// must come back.
func use(path string) error {
	table, err := sites.OpenBolt(path, 5*time.Second)
	if err != nil {
		return err
	}
	err = table.Rows(func(sites.Row) error { return nil })
	for id := range uint32(300) {
		_, _, rowErr := table.Row(id)
		err = errors.Join(err, rowErr)
	}
	_, _, keyErr := table.Repeated("key")
	_, logErr := table.Log(0, 1000)
	_, writeErr := table.Write(sites.Transaction{Changes: []sites.Change{put(1, `{"name":"x"}`), put(3000, `{}`)}})
	trimErr := table.Trim(time.Now())
	return errors.Join(err, keyErr, logErr, writeErr, trimErr, table.Close())
}

// TestBoltForeign: a database that something else has made, and one whose entries are
// not what they should be, give errors.
func TestBoltForeign(t *testing.T) {
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"no revision":    func(tx *bbolt.Tx) error { return tx.Bucket([]byte("head")).Delete([]byte("revision")) },
		"short revision": func(tx *bbolt.Tx) error { return tx.Bucket([]byte("head")).Put([]byte("revision"), []byte{1}) },
		"no rows":        func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("site")) },
		"no log":         func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("change")) },
		"no revisions":   func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("revision")) },
		"no keys":        func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("key")) },
		"head only": func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte("head")), ignore(tx.CreateBucket([]byte("head"))))
		},
		"short row":        func(tx *bbolt.Tx) error { return tx.Bucket([]byte("site")).Put([]byte{0, 0, 0, 1}, []byte{1}) },
		"short id":         func(tx *bbolt.Tx) error { return tx.Bucket([]byte("site")).Put([]byte{1}, make([]byte, 20)) },
		"long id":          func(tx *bbolt.Tx) error { return tx.Bucket([]byte("site")).Put(make([]byte, 5), make([]byte, 20)) },
		"bucket for a row": func(tx *bbolt.Tx) error { return ignore(tx.Bucket([]byte("site")).CreateBucket([]byte{0, 0, 0, 2})) },
		"short change": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("change")).Put([]byte{0, 0, 0, 0, 0, 0, 0, 1, 5}, []byte("{}"))
		},
		"change no JSON": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("change")).Put([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7}, []byte("x"))
		},
		"revision no JSON":   func(tx *bbolt.Tx) error { return tx.Bucket([]byte("revision")).Put(make([]byte, 8), []byte("x")) },
		"short revision key": func(tx *bbolt.Tx) error { return tx.Bucket([]byte("revision")).Put([]byte{9}, []byte("{}")) },
		"key for nothing":    func(tx *bbolt.Tx) error { return tx.Bucket([]byte("key")).Put([]byte("key"), []byte{1}) },
	} {
		path := filepath.Join(t.TempDir(), "sites.db")
		table := open(t, path)
		write(t, table, "a", put(1, `{}`))
		write(t, table, "a", put(1, `{"name":"a"}`))
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		edit(t, path, change)
		if err := use(path); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	path := filepath.Join(t.TempDir(), "other.db")
	edit(t, path, func(tx *bbolt.Tx) error { return ignore(tx.CreateBucket([]byte("something else"))) })
	if err := use(path); err == nil {
		t.Error("the database of something else was taken")
	}
}

func ignore(_ any, err error) error { return err }

// TestBoltDamaged: whatever has happened to the file, there is an error or the
// table's content, and no panic or fault.
func TestBoltDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	for i := range uint32(200) {
		write(t, table, "a", put(i+1, fmt.Sprintf(`{"name":"site %d","server_bindings":[":80:host%d.test"]}`, i, i)))
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := use(path); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	folder := needs.OpenFolder(t) // bbolt leaves a file mapped when it panics while it opens it
	damaged := func(name string, must bool, data []byte) {
		file := filepath.Join(folder, name+".db")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := use(file); err == nil && must {
			t.Errorf("%s: no error", name)
		}
	}
	for _, size := range []int{1, 100, 4096, 8192, 16384, len(whole) / 2} {
		damaged(fmt.Sprintf("cut at %d", size), true, whole[:size])
	}
	damaged("text", true, []byte(`{"id":1,"name":"a"}`))
	const page = 512
	for at := 0; at < len(whole); at += page * 7 {
		for _, fill := range []byte{0x00, 0xff, 0x41} {
			data := slices.Clone(whole)
			for i := range data[at:min(at+page, len(data))] {
				data[at+i] = fill
			}
			damaged(fmt.Sprintf("%#x at %d", fill, at), false, data)
		}
	}
}
