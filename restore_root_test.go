//go:build unix

package caddyiis_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// serviceUser is the user of a service, and the group: nobody needs to have this number.
const serviceUser = 23019

// asService has a program run as the service does.
func asService(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: serviceUser, Gid: serviceUser}}
}

// programForAll makes this program one that everybody can run, in a folder of the test that
// everybody can come to: that of go test is for its user alone.
func programForAll(t *testing.T, home string) string {
	t.Helper()
	for _, dir := range []string{home, filepath.Dir(home), filepath.Dir(filepath.Dir(home))} {
		info, err := os.Stat(dir)
		if err == nil {
			err = os.Chmod(dir, info.Mode()|0o011)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(home, "program")
	if os.Link(os.Args[0], program) == nil {
		return program
	}
	data, err := os.ReadFile(os.Args[0])
	if err := errors.Join(err, os.WriteFile(program, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program
}

// TestRootRestoresForTheService: the service has a user of its own, and its administrator
// is root. What commands that root runs write in the folder of the service, the service
// reads at its next start.
func TestRootRestoresForTheService(t *testing.T) {
	needs.Root(t)
	const user = serviceUser
	home := t.TempDir()
	mine := programForAll(t, home)
	state := filepath.Join(home, "state") // as /var/lib/caddy
	if err := errors.Join(os.Mkdir(state, 0o700), os.Chown(state, user, user)); err != nil {
		t.Fatal(err)
	}
	port, admin := ts.FreePort(t), ts.FreePort(t)
	file := filepath.Join(home, "Caddyfile")
	db := filepath.Join(state, "caddy", "iis", "sites.db")
	config := fmt.Sprintf("{\nadmin 127.0.0.1:%d\niis {\nsite 1 one {\nserver_bindings :%[2]d:one.test\n}\ndefaults {\nrespond {iis.site.name}\n}\nsites_from bolt {\nallow {\nports %[2]d\n}\n}\n}\n}\n", admin, port)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	root := &program{t: t, home: state}
	service := &program{t: t, home: state, as: func(cmd *exec.Cmd) {
		cmd.Path, cmd.Dir = mine, state
		asService(cmd)
	}}
	command := func(args ...string) {
		t.Helper()
		if out, err := root.command(args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	serves := func(what, host string) {
		t.Helper()
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host + ".test", Plain: true})
		if err != nil || answer.Body != host {
			t.Errorf("%s: got %v, %v; want %q", what, answer, err, host)
		}
	}
	kill := service.run(url, admin, "--config", file, "--adapter", "caddyfile")
	saved := filepath.Join(state, "caddy", "autosave.json")
	waitFor(t, "the copy", func() bool {
		_, err := os.Stat(filepath.Join(state, "caddy", "autosave.iis.json"))
		return err == nil
	})
	kill()

	// A power failure: the file is cut off, and then it is gone.
	for _, cut := range []func() error{
		func() error { return os.Truncate(saved, 0) },
		func() error { return os.Remove(saved) },
	} {
		if err := cut(); err != nil {
			t.Fatal(err)
		}
		command("iis", "restore", "--file", saved)
		kill = service.run(url, admin, "--resume")
		serves("after the restore", "one")
		kill()
	}

	// The file of a source is put aside, and made anew from an export.
	lines := filepath.Join(home, "sites.jsonl")
	line := fmt.Sprintf(`{"id":2,"name":"two","server_bindings":[":%d:two.test"]}`, port)
	if err := errors.Join(os.Remove(db), os.WriteFile(lines, []byte(line+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	command("iis", "sites", "import", lines, "--file", db)
	kill = service.run(url, admin, "--resume")
	serves("after the import", "two")
	kill()
}
