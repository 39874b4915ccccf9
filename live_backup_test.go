package caddyiis_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// TestLiveBackup: the file of a source is copied while it serves, with certificates, and put back
// by the same command, after which all is as it was.
func TestLiveBackup(t *testing.T) {
	_, word := keyFile(t)
	l := startLive(t, word, "")
	kept := issue(t, 50, nil, "shop.test")
	l.want(201, "PUT", "certificates/shop", certificateJSON(kept))
	before := l.want(201, "PUT", "sites/10", l.sni("shop.test", "shop"))
	folder := t.TempDir()
	copied := filepath.Join(folder, "copy.db")
	if _, errOut := l.run(cli.ExitUsage, "sites", "backup"); !strings.Contains(errOut, "--output is missing") {
		t.Errorf("got %q", errOut)
	}
	l.run(0, "sites", "backup", "--output", copied)
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("the file is %v, %v", info, err)
	}
	if _, errOut := l.run(1, "sites", "backup", "--output", copied); !strings.Contains(errOut, "is there already") {
		t.Errorf("got %q", errOut)
	}
	l.run(0, "sites", "backup", "--output", copied, "--force", "--source", "bolt")
	l.want(204, "DELETE", "sites/10", "")
	l.want(204, "DELETE", "certificates/shop", "")

	back := []string{"sites", "backup", "--file", copied, "--output", l.file, "--force"}
	if _, errOut := offline(t, 1, back...); !strings.Contains(errOut, "another process has it open: stop Caddy") {
		t.Errorf("got %q", errOut)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	offline(t, 0, back...)
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.leaf("shop.test", kept)
	var shown adminapi.Site
	if l.ask("GET", "sites/10", "", &shown); shown.ETag != before.ETag {
		t.Errorf("the site is %q, was %q", shown.ETag, before.ETag)
	}
	if log, _ := l.run(0, "sites", "log"); !strings.Contains(log, "added certificate shop") || strings.Contains(log, "removed") {
		t.Errorf("the log: %s", log)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestLiveBackupPlainKeys: private keys that are not encrypted are not told by the API, also not
// old ones; who can read the file gets them.
func TestLiveBackupPlainKeys(t *testing.T) {
	l := startLive(t, "plain_keys", "")
	copied := filepath.Join(t.TempDir(), "copy.db")
	l.run(0, "sites", "backup", "--output", copied)
	l.want(201, "PUT", "certificates/shop", certificateJSON(issue(t, 51, nil, "shop.test")))
	refused := func() {
		t.Helper()
		l.refused(403, "GET", "backup", "", "private keys that are not encrypted")
		if _, errOut := l.run(1, "sites", "backup", "--output", copied, "--force"); !strings.Contains(errOut, "--file") {
			t.Errorf("got %q", errOut)
		}
	}
	refused()
	_, word := keyFile(t)
	if err := l.Load(strings.Replace(l.config(""), "plain_keys", word, 1)); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PUT", "certificates/shop", certificateJSON(issue(t, 52, nil, "shop.test")))
	refused() // it is in the log
	offline(t, 0, "sites", "backup", "--file", l.file, "--output", copied, "--force")
	if log, _ := offline(t, 0, "sites", "log", "--file", copied); !strings.Contains(log, "changed certificate shop") {
		t.Errorf("the log of the copy: %s", log)
	}
	l.refused(404, "GET", "backup?source=nothing", "", "nothing")
	l.refused(400, "GET", "backup?sources=bolt", "", "unknown parameter")
}

// TestLiveBackupFails: of a damaged source there is no copy, and what was there before stays.
func TestLiveBackupFails(t *testing.T) {
	needs.OpenFilesGo(t) // Windows lets nobody write to the file meanwhile
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(os.WriteFile(copied, []byte("before"), 0o600), os.Truncate(l.file, int64(2*os.Getpagesize()))); err != nil {
		t.Fatal(err)
	}
	l.refused(503, "GET", "backup", "", "it is damaged")
	if _, errOut := l.run(1, "sites", "backup", "--output", copied, "--force"); !strings.Contains(errOut, "it is damaged") {
		t.Errorf("got %q", errOut)
	}
	if data, err := os.ReadFile(copied); err != nil || string(data) != "before" {
		t.Errorf("the file has %q, %v", data, err)
	}
	l.serves("a.test", "default 10")
}
