//go:build linux

package caddyiis_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a folder in the place of / for the scripts of packages. Programs that only
// root can call write down that they were called.
type machine struct {
	*testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	m.write("etc/caddy/.keep", "")
	m.write("run/systemd/system/.keep", "")
	m.write("usr/share/caddy-iis/Caddyfile", "first")
	for name, does := range map[string]string{
		"getent": "exit 2", "groupadd": "", "useradd": "", "chown": "", "chgrp": "",
		// The way out of units that an administrator has masked.
		"systemctl": `case "$*" in *disable*) exit 1 ;; esac`,
		"install":   "shift 4\ncp \"$@\"",
	} {
		m.write("bin/"+name, "#!/bin/sh\necho \""+name+" $*\" >>"+m.root+"/called\n"+does+"\n")
		if err := os.Chmod(filepath.Join(m.root, "bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m machine) write(name, content string) {
	m.Helper()
	write(m.T, m.root, map[string][]byte{name: []byte(content)})
}

func (m machine) remove(name string) {
	m.Helper()
	if err := os.Remove(filepath.Join(m.root, name)); err != nil {
		m.Fatal(err)
	}
}

// files are the names in a folder, without those that keep it.
func (m machine) files(folder string) string {
	m.Helper()
	entries, err := os.ReadDir(filepath.Join(m.root, folder))
	if err != nil {
		m.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != ".keep" {
			names = append(names, entry.Name())
		}
	}
	return strings.Join(names, " ")
}

// run runs a script as the manager of packages does, with its paths below the folder, and
// returns what it has called.
func (m machine) run(script string, arguments ...string) string {
	m.Helper()
	raw, err := os.ReadFile(filepath.Join("packaging", script))
	if err != nil {
		m.Fatal(err)
	}
	for _, folder := range []string{"/etc/", "/var/", "/run/", "/usr/share/"} {
		raw = bytes.ReplaceAll(raw, []byte(" "+folder), []byte(" "+m.root+folder))
	}
	m.write("script", string(raw))
	m.write("called", "")
	command := exec.Command("/bin/sh", append([]string{filepath.Join(m.root, "script")}, arguments...)...)
	command.Env = []string{"PATH=" + filepath.Join(m.root, "bin") + ":/usr/bin:/bin"}
	if out, err := command.CombinedOutput(); err != nil {
		m.Errorf("%s %q: %v\n%s", script, arguments, err, out)
	}
	called, err := os.ReadFile(filepath.Join(m.root, "called"))
	if err != nil {
		m.Fatal(err)
	}
	return string(called)
}

// TestPackageScripts: an installation starts nothing and has a first Caddyfile, an update
// restarts what runs and brings no deleted Caddyfile back, and only a removal stops. dpkg
// says so with words, RPM with the number of versions that there will be.
func TestPackageScripts(t *testing.T) {
	t.Parallel()
	for _, manager := range []struct {
		name                  string
		install, update, gone []string
		updated               []string // the version before goes
	}{
		{"dpkg", []string{"configure", ""}, []string{"configure", "1.0.0"}, []string{"remove"}, []string{"upgrade", "1.1.0"}},
		{"RPM", []string{"1"}, []string{"2"}, []string{"0"}, []string{"1"}},
	} {
		t.Run(manager.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			called := m.run("postinstall.sh", manager.install...)
			if got := m.files("etc/caddy"); got != "Caddyfile" || strings.Contains(called, "restart") || !strings.Contains(called, "useradd") {
				t.Errorf("installed: %s\n%s", got, called)
			}
			m.run("posttrans.sh", manager.install...)
			m.write("etc/caddy/Caddyfile", "mine")
			m.run("preremove.sh", manager.updated...)
			called = m.run("postinstall.sh", manager.update...)
			if got := m.files("etc/caddy"); got != "Caddyfile" || !strings.Contains(called, "try-restart caddy.service caddy-api.service") {
				t.Errorf("updated: %s\n%s", got, called)
			}
			m.remove("etc/caddy/Caddyfile")
			m.run("postinstall.sh", manager.update...)
			m.run("posttrans.sh", manager.update...)
			if got := m.files("etc/caddy"); got != "" {
				t.Errorf("the update has brought back what was deleted: %s", got)
			}
			if called := m.run("preremove.sh", manager.updated...); called != "" {
				t.Errorf("an update has called\n%s", called)
			}
			if called := m.run("preremove.sh", manager.gone...); !strings.Contains(called, "disable --now caddy.socket caddy.service caddy-api.service") {
				t.Errorf("the removal has called\n%s", called)
			}
			m.run("postremove.sh", manager.gone...)
		})
	}
}

// TestPackageTakesCaddysPlace: RPM removes Caddy's own package after it has installed this
// one, and the Caddyfile with it, which is used.
func TestPackageTakesCaddysPlace(t *testing.T) {
	t.Parallel()
	for name, removed := range map[string]bool{"RPM removes its Caddyfile": true, "nobody does": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.write("etc/caddy/Caddyfile", "mine")
			m.run("postinstall.sh", "1")
			if removed {
				m.remove("etc/caddy/Caddyfile")
			}
			m.run("posttrans.sh", "1")
			raw, err := os.ReadFile(filepath.Join(m.root, "etc/caddy/Caddyfile"))
			if got := m.files("etc/caddy"); err != nil || string(raw) != "mine" || got != "Caddyfile" {
				t.Errorf("%q, %v, and the folder has %s", raw, err, got)
			}
		})
	}
}
