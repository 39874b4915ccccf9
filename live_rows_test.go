package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// writeRows writes rows to a database of which no Caddy has judged any.
func writeRows(t testing.TB, file string, rows []sites.Change) {
	t.Helper()
	table, err := sites.OpenBolt(file, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for len(rows) > 0 {
		n := min(len(rows), 10_000)
		if _, err := table.Write(sites.Transaction{Changes: rows[:n]}); err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLiveCulprits: of rows that contradict each other those with the lower ids serve,
// unless they cannot for another reason; what is wrong with many is found for each.
func TestLiveCulprits(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	row := func(id uint32, host string) sites.Change {
		return sites.Change{ID: id, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:%s"]}`, l.plain, host)}
	}
	rows := []sites.Change{
		{ID: 10, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:configured.test",":%[1]d:a.test"]}`, l.plain)},
		row(11, "a.test"), row(12, "a.test"), row(13, "b.test"), row(14, "b.test"),
		{ID: 15, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:c.test"],"bindings":[{"protocol":"https","binding":"127.0.0.1:%d:c.test","flags":0}]}`, l.plain, l.plain)},
		row(16, "c.test"),
	}
	for i := range uint32(100) {
		rows = append(rows, row(100+i, fmt.Sprintf("h%d.test", i/2)))
	}
	writeRows(t, l.file, rows)
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	held := func(id uint32) bool {
		var site adminapi.Site
		l.ask("GET", fmt.Sprint("sites/", id), "", &site)
		return site.State == adminapi.StateHeldBack && site.Reason != ""
	}
	for id, want := range map[uint32]bool{10: true, 11: false, 12: true, 13: false, 14: true, 15: true, 16: false} {
		if held(id) != want {
			t.Errorf("site %d is held back: %v", id, !want)
		}
	}
	for i := range uint32(100) {
		if held(100+i) != (i%2 == 1) {
			t.Errorf("site %d is held back: %v", 100+i, i%2 == 0)
		}
	}
}

// TestLiveFieldOfANewerVersion: after an update was taken back, a row with a field that
// this version does not know is not served without it. It stays in the table as it is, and
// its host is nobody else's.
func TestLiveFieldOfANewerVersion(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	newer := fmt.Sprintf(`{"server_bindings":[":%d:b.test"],"from_the_future":{"deny":true}}`, l.plain)
	writeRows(t, l.file, []sites.Change{{ID: 11, Document: []byte(newer)}})
	if err := l.Load(l.config(fmt.Sprintf("site 2 Every {\nserver_bindings :%d:\nrespond every\n}", l.plain))); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "default 10")
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "b.test", Plain: true}); err != nil || answer.Status != http.StatusServiceUnavailable {
		t.Errorf("got %v, %v", answer, err)
	}
	var held adminapi.Site
	if l.ask("GET", "sites/11", "", &held); held.State != adminapi.StateHeldBack || !strings.Contains(held.Reason, `unknown field "from_the_future"`) {
		t.Errorf("got %+v", held)
	}
	if l.want(422, "PATCH", "sites/11", `{"name":"B"}`); !json.Valid(held.Document) || !strings.Contains(string(held.Document), `"from_the_future":{"deny":true}`) {
		t.Errorf("the row is %s", held.Document)
	}
}

// TestLiveManyWait: of many rows that wait, the one serves whose rival goes.
func TestLiveManyWait(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	const rows = 300
	var list []sites.Change
	for i := range uint32(rows) {
		list = append(list, sites.Change{ID: 100 + i, Document: fmt.Appendf(nil, `{"server_bindings":[":%d:h%d.test"]}`, l.plain, i/2)})
	}
	writeRows(t, l.file, list)
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.want(204, "DELETE", fmt.Sprint("sites/", 100+rows-2), "")
	want := fmt.Sprint("default ", 100+rows-1)
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: fmt.Sprintf("h%d.test", rows/2-1), Plain: true}); err != nil || answer.Body != want {
		t.Errorf("got %v, %v, want %q", answer, err, want)
	}
}

// BenchmarkLiveCulprits starts Caddy with 100,000 rows of which each hundredth contradicts
// the one before. With first_wins, their list is halved until each stands alone.
func BenchmarkLiveCulprits(b *testing.B) {
	for _, c := range []struct {
		name, option string
		rows         int
	}{{"100000", "", 100_000}, {"10000", "", 10_000}, {"10000 halved", "conflicts first_wins", 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			port, file := ts.FreePort(b), filepath.Join(b.TempDir(), "sites.db")
			rows := make([]sites.Change, c.rows)
			for i := range rows {
				host := i
				if i%100 == 99 {
					host--
				}
				rows[i] = sites.Change{ID: uint32(i + 1), Document: fmt.Appendf(nil, `{"server_bindings":[":%d:h%d.test"]}`, port, host)}
			}
			writeRows(b, file, rows)
			server := ts.Start(b, "{\n}\n")
			config := fmt.Sprintf("{\niis {\n%s\nsites_from bolt %q {\nallow {\nports %d\n}\n}\n}\n}\n", c.option, file, port)
			for b.Loop() {
				if err := server.Restart(config); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
