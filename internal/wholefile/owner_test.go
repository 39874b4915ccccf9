//go:build unix

package wholefile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// The user of a service, and his group: nobody needs to have these numbers.
const service, group = 23019, 23020

func text(to io.Writer) error { _, err := io.WriteString(to, "new"); return err }

// folder makes a folder that others can come to.
func folder(t *testing.T, uid, gid int, mode fs.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	for _, above := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir)} {
		if info, err := os.Stat(above); err != nil || info.Mode().Perm()&1 == 0 && os.Chmod(above, info.Mode().Perm()|0o011) != nil {
			t.Fatal(above, err)
		}
	}
	dir = filepath.Join(dir, "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func is(t *testing.T, file string, uid, gid uint32, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(file)
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Sys().(*syscall.Stat_t); has.Uid != uid || has.Gid != gid || info.Mode() != mode {
		t.Errorf("%s: it is of %d:%d with mode %v, want %d:%d and %v", filepath.Base(file), has.Uid, has.Gid, info.Mode(), uid, gid, mode)
	}
}

// as runs a program of a user's.
func as(uid, gid uint32, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// replaceFor names the file that this program replaces as another user.
const replaceFor = "WHOLEFILE_TEST_REPLACE"

func TestMain(m *testing.M) {
	if file := os.Getenv(replaceFor); file != "" {
		if err := Replace(file, text); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestOthersReplace: who cannot give a file to the group that had it does not show it to
// his own.
func TestOthersReplace(t *testing.T) {
	needs.Root(t)
	dir := folder(t, service, group, 0o755)
	program := filepath.Join(dir, "program")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	for _, c := range []struct {
		gid  int
		want fs.FileMode
	}{{group, 0o640}, {group + 1, 0o600}} {
		if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, 0, c.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
		t.Setenv(replaceFor, file)
		if out, err := as(service, group, program); err != nil {
			t.Fatal(out, err)
		}
		is(t, file, service, group, c.want)
	}
}

// TestRootWritesForServices: what root writes in the folder of a service, the service can
// read, and nobody can who could not before.
func TestRootWritesForServices(t *testing.T) {
	needs.Root(t)
	for i, c := range []struct {
		uid, gid int // of the folder
		mode     fs.FileMode
		wantUID  uint32
		wantGID  uint32
		want     fs.FileMode
		service  bool // can read it
	}{
		{service, group, 0o700, service, group, 0o600, true},
		{service, group, 0o755, service, group, 0o600, true},
		{0, group, 0o750, 0, group, 0o640, true},   // as /etc/caddy
		{0, group, 0o755, 0, group, 0o600, false},  // everybody may: it says nothing of the group
		{0, group, 0o770, 0, group, 0o600, false},  // the group may write, which says nothing of secrets
		{0, group, 0o2775, 0, group, 0o600, false}, // as /usr/local of Debian
		{0, 0, 0o750, 0, 0, 0o600, false},
		{0, 0, 0o1777, 0, 0, 0o600, false},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			mode := c.mode.Perm()
			if c.mode&0o1000 != 0 {
				mode |= fs.ModeSticky
			}
			if c.mode&0o2000 != 0 {
				mode |= fs.ModeSetgid
			}
			dir := folder(t, c.uid, c.gid, mode)
			replaced, created := filepath.Join(dir, "replaced"), filepath.Join(dir, "created")
			if err := Replace(replaced, text); err != nil {
				t.Fatal(err)
			}
			made, err := Create(created)
			if err != nil {
				t.Fatal(err)
			}
			made.Close()
			for _, file := range []string{replaced, created} {
				is(t, file, c.wantUID, c.wantGID, c.want)
				if out, err := as(service, group, "cat", file); (err == nil) != c.service {
					t.Errorf("the service reads %s: %q, %v", filepath.Base(file), out, err)
				}
			}
		})
	}
}

// TestReplaceKeepsOwnerAndMode: what is replaced has who had it, whoever has the folder.
func TestReplaceKeepsOwnerAndMode(t *testing.T) {
	needs.Root(t)
	dir := folder(t, service, group, 0o755)
	file, kept := filepath.Join(dir, "file"), filepath.Join(dir, "kept")
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o444} {
		if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, service+10, group+10); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if err := Replace(file, text); err != nil {
			t.Fatal(err)
		}
		is(t, file, service+10, group+10, mode)
	}
	// A link is replaced: whoever has the folder would choose what root writes to.
	if err := os.WriteFile(kept, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	needs.Symlink(t, kept, link)
	if err := Replace(link, text); err != nil {
		t.Fatal(err)
	}
	is(t, link, service, group, 0o600)
	is(t, kept, 0, 0, 0o600)
	if data, err := os.ReadFile(kept); err != nil || string(data) != "old" {
		t.Errorf("where the link led: %q, %v", data, err)
	}
	if err := Replace(dir, text); err == nil {
		t.Error("a folder is replaced")
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(fifo, text); err == nil {
		t.Error("what is no file is replaced")
	}
}

// TestFollow: root writes where a link leads only if nobody else can have made the link, or
// one on its way.
func TestFollow(t *testing.T) {
	needs.Root(t)
	rooted, theirs, shared := folder(t, 0, group, 0o750), folder(t, service, group, 0o755), folder(t, 0, group, 0o770)
	target := filepath.Join(rooted, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(uid int, to string, at ...string) string {
		name := filepath.Join(at...)
		needs.Symlink(t, to, name)
		if err := os.Lchown(name, uid, -1); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ours := link(0, target, rooted, "ours")
	planted := link(service, target, theirs, "planted")
	given := link(service, target, rooted, "given")
	for _, c := range []struct{ name, path, want string }{
		{"no link", target, target},
		{"nothing", filepath.Join(rooted, "new"), filepath.Join(rooted, "new")},
		{"root's link", ours, target},
		{"one that leads to another", link(0, "ours", rooted, "relative"), target},
		{"one to what is not there", link(0, "../new", rooted, "dangling"), filepath.Join(filepath.Dir(rooted), "new")},
		{"one that a service has planted", planted, planted},
		{"root's link to that", link(0, planted, rooted, "chain"), planted},
		{"another's link in root's folder", given, given},
		{"root's link where a group may write", link(0, target, shared, "link"), filepath.Join(shared, "link")},
	} {
		if got, err := Follow(c.path); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
	if got, err := Follow(link(0, "circle", rooted, "circle")); err == nil {
		t.Errorf("a link to itself: %s", got)
	}
}

// TestRootOpensNoLink: a service has root open no other file than the one that is named.
func TestRootOpensNoLink(t *testing.T) {
	needs.Root(t)
	mine := filepath.Join(folder(t, 0, 0, 0o700), "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder(t, service, group, 0o755), "link")
	if err := os.Symlink(mine, link); err != nil {
		t.Fatal(err)
	}
	if file, err := Open(link); err == nil {
		file.Close()
		t.Error("root opens what a service's link leads to")
	}
}
