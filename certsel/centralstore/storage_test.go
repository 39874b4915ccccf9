package centralstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func inStorage(t *testing.T, storage certmagic.Storage, o Options) *Store {
	t.Helper()
	b, err := Storage(storage, "iis/certs/")
	if err != nil {
		t.Fatal(err)
	}
	return open(t, b, o)
}

func TestStorage(t *testing.T) {
	shared := &certmagic.FileStorage{Path: t.TempDir()}
	put := func(key, value string) {
		if err := shared.Store(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	put("iis/certs/www.example.com.pfx", "ok 1")
	put("iis/certs/_.example.com.crt", "ok wildcard")
	put("iis/certs/_.example.com.key", "key")
	put("iis/outside.pfx", "ok outside")
	var e events
	one, two := inStorage(t, shared, fast(&e)), inStorage(t, shared, fast(&e))
	for _, s := range []*Store{one, two} {
		expect(t, s, "WWW.example.com", "ok 1")
		expect(t, s, "a.example.com", "ok wildcard")
		expect(t, s, "outside", "")
		expect(t, s, "../outside", "")
		if c, err := s.Check(t.Context(), "www.example.com"); err != nil || c.File != "iis/certs/www.example.com.pfx" {
			t.Errorf("%+v, %v", c, err)
		}
	}
	put("iis/certs/www.example.com.pfx", "ok 2 renewed by one of them")
	for _, s := range []*Store{one, two} {
		eventually(t, "renewed", func() bool { return get(s, "www.example.com") == "ok 2 renewed by one of them" })
	}
	if err := shared.Delete(t.Context(), "iis/certs/www.example.com.pfx"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{one, two} {
		eventually(t, "deleted", func() bool { return get(s, "www.example.com") == "ok wildcard" })
	}
	// The whole store goes; on Windows not while somebody reads a file of it.
	eventually(t, "gone", func() bool { return os.RemoveAll(shared.Filename("iis")) == nil })
	eventually(t, "reported", func() bool { return e.count(Unreachable) == 2 })
	expect(t, one, "a.example.com", "ok wildcard")
	if err := one.Ping(t.Context()); !errors.Is(err, ErrStore) {
		t.Errorf("got %v", err)
	}
}

func TestStorageBounds(t *testing.T) {
	shared := &certmagic.FileStorage{Path: t.TempDir()}
	shared.Store(t.Context(), "iis/certs/a.pfx", make([]byte, 5000))
	shared.Store(t.Context(), "iis/certs/b.pfx/c", []byte("ok"))
	var e events
	s := inStorage(t, shared, Options{MaxSize: 4096, Report: e.add})
	expect(t, s, "a", "")
	expect(t, s, "b", "")
	if e.count(Failed) != 2 || !errors.Is(e.list[0].Err, files.ErrTooLarge) || !errors.Is(e.list[1].Err, files.ErrNotRegular) {
		t.Errorf("reported %s", &e)
	}
}

// odd is a storage that knows no times, and hangs or fails when told to.
type odd struct {
	certmagic.Storage
	hangs bool
	err   error
}

func (o *odd) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if o.err != nil {
		return certmagic.KeyInfo{}, o.err
	}
	if o.hangs {
		<-ctx.Done()
		return certmagic.KeyInfo{}, ctx.Err()
	}
	info, err := o.Storage.Stat(ctx, key)
	info.Modified = time.Time{}
	return info, err
}

func TestStorageWithoutTimes(t *testing.T) {
	shared := &odd{Storage: &certmagic.FileStorage{Path: t.TempDir()}}
	shared.Store(t.Context(), "iis/certs/a.pfx", []byte("ok 1"))
	s := inStorage(t, shared, fast(nil))
	expect(t, s, "a", "ok 1")
	shared.Store(t.Context(), "iis/certs/a.pfx", []byte("ok 2"))
	eventually(t, "renewed", func() bool { return get(s, "a") == "ok 2" })
}

func TestStorageThatHangsOrFails(t *testing.T) {
	for name, shared := range map[string]*odd{
		"hangs": {hangs: true},
		"fails": {err: errors.New("connection refused")},
	} {
		var e events
		s := inStorage(t, shared, Options{Timeout: 20 * time.Millisecond, Report: e.add})
		start := time.Now()
		for _, host := range []string{"a.example.com", "b.example.com", "c"} {
			expect(t, s, host, "")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
		if e.count(Unreachable) != 1 || len(e.list) != 1 {
			t.Errorf("%s: reported %s", name, &e)
		}
		if _, err := s.Check(t.Context(), "d"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: check says %v", name, err)
		}
	}
}

func TestStoragePrefix(t *testing.T) {
	for _, prefix := range []string{"", ".", "/", "/etc", "..", "../x", "a/../../x"} {
		if _, err := Storage(&certmagic.FileStorage{}, prefix); err == nil {
			t.Errorf("%q is taken", prefix)
		}
	}
}
