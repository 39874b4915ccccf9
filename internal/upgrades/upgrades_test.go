package upgrades_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

type place struct{ lost atomic.Bool }

// Admitted implements upgrades.Place.
func (p *place) Admitted() bool { return !p.lost.Load() }

// take has a handler take a connection over, and returns the client's end of it.
func take(t *testing.T, group *upgrades.Group, at *place, exit func()) net.Conn {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := upgrades.New(r, group, at, exit)
		defer up.Returned()
		w, _ = up.Wrap(w, r)
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
		_ = buffered.Flush()
		go func() {
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn)
		}()
	}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	return conn
}

func newGroup(t *testing.T) *upgrades.Group {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return upgrades.NewGroup(ctx, zap.NewNop())
}

// ended waits until the context of a group has ended.
func ended(t *testing.T, g *upgrades.Group) {
	t.Helper()
	select {
	case <-g.Context().Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the handlers are not cleaned up")
	}
}

// TestSettle: a connection that has lost its place is told so and ends, others stay.
func TestSettle(t *testing.T) {
	g := newGroup(t)
	var exits atomic.Int32
	gone, stays := new(place), new(place)
	lost := take(t, g, gone, func() { exits.Add(1) })
	kept := take(t, g, stays, nil)
	if exits.Load() != 1 {
		t.Errorf("left %d times", exits.Load())
	}
	gone.lost.Store(true)
	upgrades.Settle()
	told, err := io.ReadAll(lost)
	if err != nil || string(told) != "\x88\x02\x03\xe9" {
		t.Errorf("%q %v", told, err)
	}
	_ = kept.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := kept.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Error("a connection that has its place was ended:", err)
	}
}

// TestRetire: a group ends with its last connection, or when that has had its time.
func TestRetire(t *testing.T) {
	for _, c := range []struct {
		name string
		keep time.Duration
		end  bool
	}{{"with its connection", time.Hour, true}, {"after its time", 50 * time.Millisecond, false}} {
		t.Run(c.name, func(t *testing.T) {
			g := newGroup(t)
			conn := take(t, g, new(place), nil)
			g.Retire(c.keep)
			if c.end {
				if g.Context().Err() != nil {
					t.Fatal("the handlers were cleaned up before their connection")
				}
				conn.Close()
			}
			ended(t, g)
		})
	}
	g := newGroup(t)
	g.Retire(time.Hour)
	ended(t, g)
	conn := take(t, g, new(place), nil)
	if _, err := io.ReadAll(conn); err != nil {
		t.Error("a connection of handlers that are cleaned up lives:", err)
	}
}
