package sites_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/sites"
)

// backup makes a copy of a table, and puts it into a file.
func backup(t *testing.T, table sites.Table, plain bool) (path string, data []byte) {
	t.Helper()
	made, err := table.(sites.Backed).Backup(plain)
	if err != nil {
		t.Fatal(err)
	}
	data, err = io.ReadAll(made)
	path = filepath.Join(t.TempDir(), "copy.db")
	if err = errors.Join(err, made.Close(), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// all is all that a table tells.
func all(t *testing.T, table sites.Table) (told []any) {
	t.Helper()
	head, err := table.Head()
	told = append(told, head, rows(t, table))
	list, logErr := table.Log(0, 1000)
	certErr := table.(sites.CertificateTable).Certificates(func(row sites.CertificateRow) error {
		told = append(told, row)
		return nil
	})
	answer, ok, keyErr := table.Repeated("key")
	if err := errors.Join(err, logErr, certErr, keyErr); err != nil {
		t.Fatal(err)
	}
	return append(told, list, answer, ok)
}

// TestBoltBackup: a copy has all that there is, and is of one moment while others write.
func TestBoltBackup(t *testing.T) {
	table := open(t, filepath.Join(t.TempDir(), "sites.db"))
	sealed := json.RawMessage(`{"chain":"c","key":{"sealed":"AAAA","with":"k"}}`)
	pad := string(bytes.Repeat([]byte("x"), 50_000))
	if _, err := table.Write(sites.Transaction{
		By: "a", Key: "key", Hash: "hash", Answer: func(sites.Head) (json.RawMessage, error) { return json.RawMessage(`{}`), nil },
		Certificates: []sites.CertificateChange{{Name: "c", Document: sealed}},
	}); err != nil {
		t.Fatal(err)
	}
	var many []sites.Change
	for id := range uint32(400) { // more than a step
		many = append(many, put(id+1, fmt.Sprintf(`{"name":%q}`, pad)))
	}
	write(t, table, "b", many...)
	path, _ := backup(t, table, false)
	if got, want := all(t, open(t, path)), all(t, table); !reflect.DeepEqual(got, want) {
		t.Error("the copy says something else")
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			document := fmt.Sprintf(`{"n":%d,"name":%q}`, n, pad[:n%20_000])
			if _, err := table.Write(sites.Transaction{By: "c", Changes: []sites.Change{put(1, document), put(400, document)}}); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 5 {
		path, _ := backup(t, table, false)
		copied := open(t, path)
		first, _, errFirst := copied.Row(1)
		last, _, errLast := copied.Row(400)
		head, errHead := copied.Head()
		if err := errors.Join(errFirst, errLast, errHead); err != nil || !bytes.Equal(first.Document, last.Document) || first.Revision != head.Revision {
			t.Errorf("it is of two moments: %v", err)
		}
		write(t, copied, "d", put(7, `{}`)) // it goes on from there
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestBoltBackupPlainKeys: a private key that is not encrypted is not given to who may not have
// it, from wherever in the file, and nothing is left beside it.
func TestBoltBackupPlainKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites.db")
	table := open(t, path)
	secret := "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
	certificate := func(document string) {
		t.Helper()
		var raw json.RawMessage
		if document != "" {
			raw = json.RawMessage(document)
		}
		if _, err := table.Write(sites.Transaction{By: "a", Certificates: []sites.CertificateChange{{Name: "c", Document: raw}}}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(when string) {
		t.Helper()
		if made, err := table.(sites.Backed).Backup(false); !errors.Is(err, sites.ErrPlainKeys) || made != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	certificate(`{"chain":"c","key":{"plain":"` + secret + `"}}`)
	refused("kept plain")
	if copied, _ := backup(t, table, true); !reflect.DeepEqual(all(t, open(t, copied)), all(t, table)) {
		t.Error("who may have it gets something else")
	}
	certificate(`{"chain":"c","key":{"sealed":"AAAA","with":"k"}}`)
	refused("replaced, in the log")
	certificate("")
	write(t, table, "a", put(1, `{}`))
	if err := table.Trim(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || !bytes.Contains(raw, []byte(secret)) {
		t.Fatalf("the file has nothing in its unused parts: %v", err)
	}
	if _, data := backup(t, table, false); bytes.Contains(data, []byte(secret)) {
		t.Error("what was forgotten is in the copy")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}

// TestBoltBackupOfDamage: of a damaged file there is no copy that looks whole.
func TestBoltBackupOfDamage(t *testing.T) {
	needs.OpenFilesGo(t)
	path := filepath.Join(needs.OpenFolder(t), "sites.db")
	table := open(t, path)
	for id := range uint32(200) {
		write(t, table, "a", put(id+1, `{"name":"a site"}`))
	}
	overwrite(t, path, 2*os.Getpagesize(), 1000*os.Getpagesize(), rand.New(rand.NewPCG(1, 2)))
	if made, err := table.(sites.Backed).Backup(true); !errors.Is(err, sites.ErrDamaged) || made != nil {
		t.Errorf("got %v", err)
	}
}

// TestOpenBoltFile: what is put under the name of a file after it was opened is not touched.
func TestOpenBoltFile(t *testing.T) {
	needs.OpenFilesGo(t)
	folder := t.TempDir()
	path, mine, victim := filepath.Join(folder, "sites.db"), filepath.Join(folder, "mine.db"), filepath.Join(folder, "victim")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err = errors.Join(err, os.WriteFile(victim, nil, 0o600), os.Rename(path, mine), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	table, err := sites.OpenBoltFile(file, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	write(t, table, "a", put(1, `{}`))
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(victim); err != nil || len(data) > 0 {
		t.Errorf("%d bytes are written to what a link leads to: %v", len(data), err)
	}
	if got := rows(t, open(t, mine)); len(got) != 1 {
		t.Errorf("the file has %v", got)
	}
}
