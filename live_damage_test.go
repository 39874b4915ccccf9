package caddyiis_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestDamageWhileServing: a file that is damaged while it is served is a finding and a
// metric from when that is met, and its sites serve on. A source that is well says so.
func TestDamageWhileServing(t *testing.T) {
	needs.OpenFilesGo(t) // Windows lets nobody write to the file meanwhile
	file, port := filepath.Join(t.TempDir(), "sites.db"), ts.FreePort(t)
	l := &live{t: t, plain: port}
	l.Server = startIIS(t, fmt.Sprintf("sites_from bolt %q {\nname panel\nallow {\nports %d\n}\n}\ndefaults {\nrespond {iis.site.name}\n}\n", file, port))
	site := func(id int) string {
		return fmt.Sprintf(`{"name":"site %d","server_bindings":[":%d:site%[1]d.test"]}`, id, port)
	}
	told := func(want bool) {
		t.Helper()
		_, findings := l.Admin(http.MethodGet, "/iis/check", "")
		_, metrics := l.Admin(http.MethodGet, "/metrics", "")
		value := 0
		if want {
			value = 1
		}
		if strings.Contains(findings, "sites-source-damaged") != want || !strings.Contains(metrics, fmt.Sprintf("\ncaddy_iis_source_damaged{source=\"panel\"} %d\n", value)) {
			t.Errorf("damaged is %v:\n%s", want, findings)
		}
		var list adminapi.Page[adminapi.Source]
		l.want(200, "GET", "sources", "")
		if l.ask("GET", "sources", "", &list); len(list.Items) != 1 {
			t.Fatalf("got %+v", list)
		}
		if s := list.Items[0]; s.Writable == want || s.Damaged != want || strings.Contains(s.Error, "it is damaged") != want {
			t.Errorf("damaged is %v: %+v", want, s)
		}
	}
	l.want(201, "PUT", "sites/1", site(1))
	told(false)

	// A disk that has lost everything but the two pages at the beginning.
	open, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	info, err := open.Stat()
	if err != nil {
		t.Fatal(err)
	}
	begin := int64(2 * os.Getpagesize())
	if _, err := open.WriteAt(bytes.Repeat([]byte{0xff}, int(info.Size()-begin)), begin); err != nil {
		t.Fatal(err)
	}
	l.refused(503, "PUT", "sites/2", site(2), "it is damaged")
	told(true)
	// What is for the source goes nowhere else.
	if _, errOut := l.run(1, "add", "site", "other", "--http", fmt.Sprintf(":%d:other.test", port)); !strings.Contains(errOut, "it is damaged") {
		t.Errorf("got %q", errOut)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "site1.test", Plain: true})
	if err != nil || answer.Body != "site 1" {
		t.Errorf("it serves on: %v, %v", answer, err)
	}
	if _, check := l.Admin(http.MethodGet, "/iis/check", ""); !strings.Contains(check, "panel") {
		t.Errorf("the finding does not name its source: %s", check)
	}
}
