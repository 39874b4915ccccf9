package serve_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/serve"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// failsOnce is a table that does not give a row when it is asked first.
type failsOnce struct {
	sites.Table
	failed bool
}

func (f *failsOnce) Row(id uint32) (sites.Row, bool, error) {
	if !f.failed {
		f.failed = true
		return sites.Row{}, false, errors.New("the disk is busy")
	}
	return f.Table.Row(id)
}

// TestRowIsReadAgain: a row that could not be read is held back, and tried again by itself.
func TestRowIsReadAgain(t *testing.T) {
	port := ts.FreePort(t)
	s := ts.Start(t, fmt.Sprintf("{\niis {\nsites_from bolt %q\ntemplate one {\nrespond one\n}\nsite 1 {\nserver_bindings :%d:configured.test\n}\n}\n}", filepath.Join(t.TempDir(), "sites.db"), port))
	if status, answer := s.Admin("PUT", "/iis/sites/10", fmt.Sprintf(`{"server_bindings":[":%d:a.test"],"template":"one"}`, port)); status != 201 {
		t.Fatal(status, answer)
	}
	a, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	source := a.Live[0]
	source.Follower.Table = &failsOnce{Table: source.Follower.Table}
	a.Show(source, []uint32{10}, nil)
	if _, answer := s.Admin("GET", "/iis/check", ""); !strings.Contains(answer, "the disk is busy") {
		t.Errorf("it is not told: %s", answer)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, held := source.HeldRow(10); !held {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not tried again")
		}
	}
}
