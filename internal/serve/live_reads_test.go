package serve_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/serve"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

func init() { caddy.RegisterModule(new(failsOnce)) }

// failsOnce is a source whose table does not give a row once, when it is told to.
type failsOnce struct{ sites.Bolt }

func (*failsOnce) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.sites.fails_once", New: func() caddy.Module { return new(failsOnce) }}
}

func (f *failsOnce) Open(ctx context.Context) (sites.Table, error) {
	table, err := f.Bolt.Open(ctx)
	return &failsOnceTable{Table: table}, err
}

type failsOnceTable struct {
	sites.Table
	fails atomic.Bool
}

func (f *failsOnceTable) Row(id uint32) (sites.Row, bool, error) {
	if f.fails.CompareAndSwap(true, false) {
		return sites.Row{}, false, errors.New("the disk is busy")
	}
	return f.Table.Row(id)
}

// TestRowIsReadAgain: a row that could not be read is held back, and tried again by itself.
func TestRowIsReadAgain(t *testing.T) {
	port := ts.FreePort(t)
	s := ts.Start(t, fmt.Sprintf("{\niis {\nsites_from fails_once %q\ntemplate one {\nrespond one\n}\nsite 1 {\nserver_bindings :%d:configured.test\n}\n}\n}", filepath.Join(t.TempDir(), "sites.db"), port))
	if status, answer := s.Admin("PUT", "/iis/sites/10", fmt.Sprintf(`{"server_bindings":[":%d:a.test"],"template":"one"}`, port)); status != 201 {
		t.Fatal(status, answer)
	}
	a, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	source := a.Live[0]
	source.Follower.Table.(*failsOnceTable).fails.Store(true)
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
