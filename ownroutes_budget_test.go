//go:build !race

package caddyiis_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var (
	ownContents = flag.Int("own.contents", 1000, "how many contents TestOwnRoutesInMemory has")
	ownChanges  = flag.Int("own.changes", 600, "how many changes TestOwnRoutesStayFlat makes")
)

// heap is what is in use, after all garbage is gone.
func heap() uint64 {
	var stats runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

// TestOwnRoutesInMemory: 10,000 different contents in 200 MB, their sites and documents
// with them. By default it has a part of them.
func TestOwnRoutesInMemory(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, fmt.Sprintf("max_sites %d", *ownContents)), "")
	before := heap()
	for from := 0; from < *ownContents; from += 1000 {
		var lines []string
		for i := from; i < min(from+1000, *ownContents); i++ {
			document := l.says(fmt.Sprintf("h%d.test", i), fmt.Sprintf("content %d", i))
			lines = append(lines, fmt.Sprintf(`{"op":"put","id":%d,"site":%s}`, 100+i, document))
		}
		l.want(200, "POST", "changes", "["+strings.Join(lines, ",")+"]")
	}
	if contents, _ := caddyiis.OwnRoutes(); contents != *ownContents {
		t.Fatalf("%d contents", contents)
	}
	each := float64(heap()-before) / float64(*ownContents)
	t.Logf("%.1f kB for each of %d", each/1e3, *ownContents)
	if each > 200e6/10_000 {
		t.Errorf("each takes %.1f kB, 20 are allowed", each/1e3)
	}
	l.serves("h7.test", "content 7")
}

// TestOwnRoutesStayFlat: neither goroutines nor memory grow with changes.
func TestOwnRoutesStayFlat(t *testing.T) {
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	address := strings.TrimPrefix(upstream.URL, "http://")
	l := startLive(t, fmt.Sprintf(allowSome, "to "+address), "")
	change := func(from, to int) {
		for i := from; i < to; i++ {
			document := l.site("", "a.test", fmt.Sprintf(`"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":%q}],"headers":{"request":{"set":{"X-Number":["%d"]}}}}]}]`, address, i))
			if status := l.ask("PUT", "sites/10", document, nil); status != 200 && status != 201 {
				t.Fatalf("change %d: %d", i, status)
			}
			if i%100 == 0 {
				l.body("a.test")
			}
		}
		contentsLeft(t, 1)
		ts.Logs.Reset() // what Caddy has logged is in memory here
		time.Sleep(50 * time.Millisecond)
	}
	half := *ownChanges / 2
	change(0, half)
	goroutines, used := runtime.NumGoroutine(), heap()
	change(half, *ownChanges)
	if now := runtime.NumGoroutine(); now > goroutines+10 {
		t.Errorf("%d goroutines, and %d after as many changes again", goroutines, now)
	}
	// The log of the table is in a file, and what is known of each key of it is not.
	if now := heap(); now > used+used/10+4<<20 {
		t.Errorf("%d kB, and %d kB after as many changes again", used>>10, now>>10)
	} else {
		t.Logf("%d kB and %d goroutines after %d changes, %d kB and %d goroutines after %d", used>>10, goroutines, half, now>>10, runtime.NumGoroutine(), *ownChanges)
	}
}
