//go:build unix

package centralstore

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

func pipe(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNamedPipes(t *testing.T) {
	dir := t.TempDir()
	pipe(t, filepath.Join(dir, "a.pfx"))
	write(t, dir, "b.pfx", "ok b")
	var e events
	s := open(t, Folder(dir), fast(&e))
	start := time.Now()
	expect(t, s, "a", "")
	expect(t, s, "b", "ok b")
	if e.count(Failed) != 1 || !errors.Is(e.list[0].Err, files.ErrNotRegular) {
		t.Errorf("reported %s", &e)
	}
	// In place of a file that serves.
	os.Remove(filepath.Join(dir, "b.pfx"))
	pipe(t, filepath.Join(dir, "b.pfx"))
	eventually(t, "it is reported", func() bool { return e.count(Kept) == 1 })
	expect(t, s, "b", "ok b")
	// In place of the folder.
	os.RemoveAll(dir)
	pipe(t, dir)
	eventually(t, "it is reported", func() bool { return e.count(Unreachable) == 1 })
	expect(t, s, "b", "ok b")
	expect(t, s, "c", "")
	if n := s.workers.Running(); n > 4 {
		t.Errorf("%d workers are occupied", n)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 { // root reads everything
		asNobody(t)
		return
	}
	dir := t.TempDir()
	write(t, dir, "a.pfx", "ok a")
	os.Chmod(filepath.Join(dir, "a.pfx"), 0)
	var e events
	s := open(t, Folder(dir), fast(&e))
	expect(t, s, "a", "")
	if e.count(Failed) != 1 {
		t.Errorf("reported %s", &e)
	}
	os.Chmod(filepath.Join(dir, "a.pfx"), 0o600)
	eventually(t, "it serves", func() bool { return get(s, "a") == "ok a" })
}

// asNobody runs the test in another process without root's rights.
func asNobody(t *testing.T) {
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // nobody cannot pass the folder above that of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "test")
	if err := os.WriteFile(copied, program, 0o700); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, path := range []string{dir, copied} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(copied, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
}
