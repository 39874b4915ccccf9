package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

const (
	liveChanging = 100     // sites that are changed under load
	liveSockets  = 16      // WebSockets of other sites over HTTP/1.1, and half as many over HTTP/3
	socketID     = 1 << 30 // id of the first of these sites
)

// liveUnderLoad makes changes while clients make requests over all protocols to other
// sites, and have WebSockets open to others again.
func (b *bench) liveUnderLoad(ctx context.Context, s *liveServer) error {
	n := len(s.set.Sites)
	chosen, err := b.chosen(peers.IIS)
	if err != nil {
		return err
	}
	sockets, err := s.openSockets(ctx)
	talking := talk(ctx, sockets)
	defer talking.stop()
	if err != nil {
		return err
	}
	rec := report.NewRecord(liveKey(n), string(sites.One), b.reps+1)
	changing := min(liveChanging, n-1)
	others := *s.set
	others.Sites = s.set.Sites[:n-changing+1] // one more is left out
	bg := startBackground(ctx, s.place.Addr(), chosen[0].Unknown, &others, load.HTTP2, load.HTTP3)
	time.Sleep(settle)
	before, err := leastGoroutines(ctx, s)
	changes := 0
	if err == nil {
		err = b.changeAndWatch(ctx, rec, b.changesOr(liveLoadChanges), s.admin.Heap, func(ctx context.Context, _ string) (time.Duration, error) {
			changes++
			return s.put(ctx, n-1-changes%changing)
		})
	}
	after, countErr := leastGoroutines(ctx, s)
	b.judge(rec, bg.stop())
	rec.Values[liveGoroutinesBefore], rec.Values[liveGoroutinesAfter] = float64(before), float64(after)
	if after > before+goroutineSlack {
		b.fail("live with %d sites: %d goroutines before %d changes, %d after", n, before, changes, after)
	}
	rec.Values[liveSocketsOpen] = float64(len(sockets))
	cut := talking.stop()
	rec.Values[liveSocketsCut] = float64(len(cut))
	if len(cut) > 0 {
		b.fail("live with %d sites: %d WebSockets were cut, the first: %v", n, len(cut), cut[0])
	}
	return errors.Join(err, countErr, b.log.Add(rec))
}

func (s *liveServer) openSockets(ctx context.Context) (sockets []*load.Socket, err error) {
	for i := range liveSockets + liveSockets/2 {
		site := sites.Site{Host: fmt.Sprintf("socket-%d.example-0.test", i), Cert: s.set.Default.Cert}
		path := fmt.Sprint("sites/", socketID+i)
		if _, err := s.admin.Ask(ctx, http.MethodPut, path, sites.SocketDocument(s.place, site.Host)); err != nil {
			return sockets, err
		}
		var socket *load.Socket
		if i < liveSockets {
			socket, err = load.OpenSocket(s.place.Addr(), site)
		} else {
			socket, err = load.OpenSocketHTTP3(ctx, s.place.Addr(), site)
		}
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

// socketPause is how often something is said on a WebSocket. Caddy ends those over HTTP/3
// on which nothing comes for a minute (read_idle_timeout of its servers).
const socketPause = 10 * time.Second

// talks are WebSockets on which something is said now and then.
type talks struct {
	stopping context.CancelFunc
	sockets  []*load.Socket
	wg       sync.WaitGroup
	mu       sync.Mutex
	cut      []error
}

func talk(ctx context.Context, sockets []*load.Socket) *talks {
	t := &talks{sockets: sockets}
	ctx, t.stopping = context.WithCancel(ctx)
	for _, socket := range sockets {
		t.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					t.say(socket)
					return
				case <-time.After(socketPause):
				}
				if !t.say(socket) {
					return
				}
			}
		})
	}
	return t
}

func (t *talks) say(socket *load.Socket) bool {
	err := socket.Echo("still there")
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cut = append(t.cut, err)
	}
	return err == nil
}

// stop says something for the last time, and returns why WebSockets were not there any
// more.
func (t *talks) stop() []error {
	t.stopping()
	t.wg.Wait()
	for _, socket := range t.sockets {
		socket.Close()
	}
	t.sockets = nil
	return t.cut
}

// goroutineSlack is what handshakes and requests in flight may make of a difference.
const goroutineSlack = 10

// leastGoroutines is the least of several looks: those of requests come and go.
func leastGoroutines(ctx context.Context, s *liveServer) (least uint64, err error) {
	for i := range heapLooks {
		now, err := s.admin.Goroutines(ctx)
		if err != nil {
			return 0, err
		}
		if i == 0 || now < least {
			least = now
		}
		time.Sleep(heapPause / heapLooks)
	}
	return least, nil
}
