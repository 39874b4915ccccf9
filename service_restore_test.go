//go:build unix

package caddyiis_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServiceBackup walks the road of docs/service.md as it is written: a backup by root while
// the service serves, damage to all that it has, and the way back, after which the service
// serves as before, as its user.
func TestServiceBackup(t *testing.T) {
	needs.Root(t)
	r := newRoad(t)
	program := programForAll(t, r.dir)
	here := strings.NewReplacer("/etc/caddy/", r.dir+"/etc/caddy/", "/var/", r.dir+"/var/", "-C /", "-C "+r.dir+"/", "/usr/bin/caddy", "caddy")
	config := fmt.Sprintf("{\nskip_install_trust\niis {\ncertificate auto {\nfor_bindings\nissuer internal\n}\nsites_from bolt {\nallow {\nports %d\n}\n}\ndefaults {\nrespond {iis.site.name}\n}\n"+
		"site 1 one {\nbinding https *:%d:one.test {\nsni\ncertificate auto\n}\n}\n}\n}\n", r.http, r.https)
	r.write(r.dir, map[string][]byte{
		"bin/caddy":     []byte("#!/bin/sh\n" + caddyProgram + "=1 exec '" + program + "' \"$@\"\n"),
		"bin/systemctl": []byte("#!/bin/sh\n"), etcCaddyfile: []byte(config),
	})
	state := filepath.Join(r.dir, "var", "lib", "caddy")
	data, saved := filepath.Join(state, ".local", "share", "caddy"), filepath.Join(state, ".config", "caddy", "autosave.json")
	r.run(fmt.Sprintf("chmod 755 bin bin/* && chmod 644 etc/caddy/Caddyfile && mkdir -p var/lib && mkdir -m 700 var/lib/caddy && chown %d:%[1]d var/lib/caddy", serviceUser))
	r.env = []string{"PATH=" + filepath.Join(r.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + state, "CADDY_ADMIN=" + r.admin}
	start := here.Replace(unitValue(t, unitLines(t, "caddy.service"), "ExecStart"))
	service := func() (stop func()) {
		r.as = func(cmd *exec.Cmd) { cmd.Dir = "/"; asService(cmd) }
		defer func() { r.as = nil }()
		return r.start(start, "http://"+r.admin+"/iis/ready")
	}
	serves := func() (serial string) {
		t.Helper()
		waitFor(t, "the certificate", func() bool {
			one, err := ts.Do(ts.Request{Addr: at("127.0.0.1", r.https), SNI: "one.test"})
			if err == nil && one.Body == "one" && one.Leaf != nil {
				serial = one.Leaf.SerialNumber.String()
			}
			return serial != ""
		})
		two, err := ts.Do(ts.Request{Addr: at("127.0.0.1", r.http), Host: "two.test", Plain: true})
		if err != nil || two.Body != "two" {
			t.Errorf("the site of the source: %v, %v", two, err)
		}
		return serial
	}

	stop := service()
	site := fmt.Sprintf(`{"name":"two","server_bindings":[":%d:two.test"]}`, r.http)
	req, err := http.NewRequest(http.MethodPut, "http://"+r.admin+"/iis/sites/2", strings.NewReader(site))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
	before := serves()
	waitFor(t, "the saved configuration", func() bool { _, err := os.Stat(saved); return err == nil })
	r.run(here.Replace(pageBlocks(t, "docs/service.md", "Backup", "sh")[0]))
	stop()

	db := filepath.Join(data, "iis", "sites.db")
	junk := []byte("\x00 junk")
	if err := errors.Join(os.WriteFile(filepath.Join(r.dir, etcCaddyfile), junk, 0o644), os.WriteFile(db, junk, 0o600), os.WriteFile(saved, junk, 0o600),
		os.RemoveAll(filepath.Join(data, "certificates")), os.RemoveAll(filepath.Join(data, "pki"))); err != nil {
		t.Fatal(err)
	}
	var back string
	for _, block := range pageBlocks(t, "docs/service.md", "Undo", "sh") {
		if strings.HasPrefix(block, "systemctl stop caddy\n") && strings.HasSuffix(block, "\nsystemctl start caddy\n") {
			back = block
		}
	}
	r.run(here.Replace(back))
	defer service()()
	if after := serves(); after != before {
		t.Errorf("the certificate is %s, and was %s", after, before)
	}
	if data, err := os.ReadFile(saved); err != nil || string(data) == string(junk) {
		t.Errorf("the saved configuration: %q, %v", data, err)
	}
}

// etcCaddyfile is the configuration of a service, below the folder of a road.
const etcCaddyfile = "etc/caddy/Caddyfile"
