package centralstore

import (
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
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func TestRefresh(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.pfx", "ok 1")
	write(t, dir, "other.pfx", "ok")
	var e events
	s := open(t, Folder(dir), fast(&e))
	expect(t, s, "a", "ok 1")

	write(t, dir, "a.pfx", "ok 2")
	eventually(t, "renamed over", func() bool { return get(s, "a") == "ok 2" })
	if err := os.WriteFile(filepath.Join(dir, "a.pfx"), []byte("ok 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "written in place", func() bool { return get(s, "a") == "ok 3" })

	write(t, dir, "a.pfx", "broken")
	eventually(t, "broken is reported", func() bool { return e.count(Kept) == 1 })
	time.Sleep(100 * time.Millisecond)
	expect(t, s, "a", "ok 3")
	if list := s.Entries(); len(list) != 1 || list[0].Err == nil || list[0].Since.IsZero() {
		t.Errorf("%+v", list)
	}
	decodes := s.Stats().Decodes
	time.Sleep(100 * time.Millisecond)
	if n := s.Stats().Decodes; n != decodes || e.count(Kept) != 1 {
		t.Errorf("a broken file was decoded again, %s", &e)
	}
	write(t, dir, "a.pfx", "ok 4")
	eventually(t, "repaired", func() bool { return get(s, "a") == "ok 4" })
	eventually(t, "repaired is reported", func() bool { return e.count(Recovered) == 1 })

	os.Remove(filepath.Join(dir, "a.pfx"))
	eventually(t, "deleted", func() bool { return get(s, "a") == "" })
	eventually(t, "deleted is reported", func() bool { return e.count(Removed) == 1 })
	write(t, dir, "a.pfx", "ok 5")
	eventually(t, "there again", func() bool { return get(s, "a") == "ok 5" })
	if e.count(Failed) != 0 {
		t.Errorf("reported %s", &e)
	}
}

func TestRefreshOfPairs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.crt", "ok C1")
	write(t, dir, "a.key", "K1")
	s := open(t, Folder(dir), fast(nil))
	expect(t, s, "a", "ok C1")
	key := func() string {
		cert, _ := s.Get("a", time.Now())
		return string(cert.Certificate[1])
	}
	write(t, dir, "a.key", "K2 longer")
	eventually(t, "new key", func() bool { return key() == "K2 longer" })
	os.Remove(filepath.Join(dir, "a.key"))
	eventually(t, "error is listed", func() bool { return s.Entries()[0].Err != nil })
	expect(t, s, "a", "ok C1")
	write(t, dir, "a.key", "K3")
	eventually(t, "key is back", func() bool { return key() == "K3" })
	write(t, dir, "a.pfx", "ok PFX") // comes first
	eventually(t, "other format", func() bool { return get(s, "a") == "ok PFX" })
}

func TestSwappedFolder(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version), "a.pfx", "ok "+version)
	}
	write(t, filepath.Join(dir, "2"), "b.pfx", "ok b")
	link := filepath.Join(dir, "certs")
	needs.Symlink(t, "1", link)
	s := open(t, Folder(link), fast(nil))
	expect(t, s, "a", "ok 1")
	expect(t, s, "b", "")
	needs.Symlink(t, "2", link+"2")
	if err := os.Rename(link+"2", link); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other folder serves", func() bool { return get(s, "a") == "ok 2" && get(s, "b") == "ok b" })
}

func TestFolderThatIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	os.Mkdir(dir, 0o700)
	write(t, dir, "a.pfx", "ok a")
	var e events
	s := open(t, Folder(dir), fast(&e))
	expect(t, s, "a", "ok a")
	// As when a share is not mounted: first the folder, then an empty one.
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "missing folder is reported", func() bool { return e.count(Unreachable) == 1 })
	expect(t, s, "a", "ok a")
	expect(t, s, "b", "")
	if err := s.Ping(t.Context()); !errors.Is(err, ErrStore) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	os.Mkdir(dir, 0o700)
	time.Sleep(300 * time.Millisecond)
	expect(t, s, "a", "ok a")
	os.Remove(dir)
	os.Rename(dir+".away", dir)
	write(t, dir, "a.pfx", "ok back")
	eventually(t, "the folder is back", func() bool { return get(s, "a") == "ok back" })
	if e.count(Removed) != 0 {
		t.Errorf("reported %s", &e)
	}
}

func TestLinksOutOfTheStore(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret.pfx", "ok secret")
	dir := t.TempDir()
	write(t, dir, "real.pfx", "ok real")
	needs.Symlink(t, filepath.Join(outside, "secret.pfx"), filepath.Join(dir, "a.pfx"))
	needs.Symlink(t, "../"+filepath.Base(outside)+"/secret.pfx", filepath.Join(dir, "b.pfx"))
	needs.Symlink(t, "real.pfx", filepath.Join(dir, "c.pfx"))
	needs.Symlink(t, "d.pfx", filepath.Join(dir, "d.pfx"))
	var e events
	s := open(t, Folder(dir), Options{Report: e.add})
	expect(t, s, "a", "")
	expect(t, s, "b", "")
	expect(t, s, "c", "ok real")
	expect(t, s, "d", "")
	if e.count(Failed) != 3 {
		t.Errorf("reported %s", &e)
	}
}

func TestNoRegularFiles(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "a.pfx"), 0o700)
	write(t, dir, "b.pfx", "ok"+strings.Repeat("x", 5000))
	var e events
	s := open(t, Folder(dir), Options{MaxSize: 4096, Report: e.add})
	expect(t, s, "a", "")
	expect(t, s, "b", "")
	if e.count(Failed) != 2 || !errors.Is(e.list[0].Err, files.ErrNotRegular) || !errors.Is(e.list[1].Err, files.ErrTooLarge) {
		t.Errorf("reported %s", &e)
	}
	for i, want := range []string{"a.pfx", "b.pfx"} {
		if text := e.list[i].Err.Error(); strings.Count(text, filepath.Join(dir, want)) != 1 || strings.Contains(text, "xxx") {
			t.Errorf("error %q", text)
		}
	}
}

func TestReplacedUnderLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pfx")
	write(t, dir, "a.pfx", "ok 0")
	o := fast(nil)
	o.Poll, o.Settle = 10*time.Millisecond, 5*time.Millisecond
	s := open(t, Folder(dir), o)
	expect(t, s, "a", "ok 0")
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !strings.HasPrefix(get(s, "a"), "ok ") {
					t.Error("no certificate")
					return
				}
				time.Sleep(10 * time.Microsecond)
			}
		})
	}
	for i := range 20 {
		switch i % 3 {
		case 0:
			os.WriteFile(path, []byte("hal"), 0o600)
		case 1:
			os.Remove(path)
		}
		time.Sleep(7 * time.Millisecond)
		write(t, dir, "a.pfx", fmt.Sprintf("ok %d", i))
		time.Sleep(5 * time.Millisecond)
	}
	eventually(t, "the last one serves", func() bool { return get(s, "a") == "ok 19" })
	close(stop)
	group.Wait()
}
