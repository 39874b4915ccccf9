package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return New(server.Listener.Addr().(*net.TCPAddr).Port)
}

func TestPatchAndLoad(t *testing.T) {
	var got []string
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), body))
	})
	if err := client.Patch(t.Context(), "/apps/iis/sites/1/name", "new"); err != nil {
		t.Error(err)
	}
	if err := client.Load(t.Context(), []byte("{}")); err != nil {
		t.Error(err)
	}
	want := []string{`PATCH /config/apps/iis/sites/1/name application/json "new"`, `POST /load application/json {}`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("requests %q, not %q", got, want)
	}
}

func TestRefusal(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"no such site"}`, http.StatusNotFound)
	})
	if err := client.Patch(t.Context(), "/x", 1); err == nil || !strings.Contains(err.Error(), "no such site") {
		t.Errorf("error %v", err)
	}
}

func TestHeap(t *testing.T) {
	var profiles atomic.Int64
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/debug/pprof/heap?gc=1&debug=1" {
			http.NotFound(w, r)
		}
		fmt.Fprintf(w, "heap profile: 1: 2 [3: 4] @ heap/1048576\n# runtime.MemStats\n# Alloc = 7\n# HeapAlloc = %d\n", 100-profiles.Add(1))
	})
	if heap, err := client.Heap(t.Context()); err != nil || heap != 97 {
		t.Errorf("heap of %d (%v)", heap, err)
	}
	if _, err := heapAlloc([]byte("# Alloc = 7\n")); err == nil {
		t.Error("a profile without statistics was accepted")
	}
}

func TestAskAndGoroutines(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.String() {
		case "PUT /iis/sites/7":
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, "made")
		case "GET /debug/pprof/goroutine?debug=1":
			fmt.Fprint(w, "goroutine profile: total 42\n1 @ 0x1\n")
		default:
			http.Error(w, "conflict", http.StatusConflict)
		}
	})
	if answer, err := client.Ask(t.Context(), http.MethodPut, "sites/7", []byte("{}")); err != nil || string(answer) != "made" {
		t.Errorf("%q (%v)", answer, err)
	}
	if _, err := client.Ask(t.Context(), http.MethodPut, "sites/8", []byte("{}")); err == nil || !strings.Contains(err.Error(), "conflict") {
		t.Errorf("error %v", err)
	}
	if n, err := client.Goroutines(t.Context()); err != nil || n != 42 {
		t.Errorf("%d goroutines (%v)", n, err)
	}
}

func TestAwaitLoaded(t *testing.T) {
	var asked atomic.Int64
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			fmt.Fprintln(w, "null")
			return
		}
		fmt.Fprintln(w, `{"listen":"x"}`)
	})
	if err := client.AwaitLoaded(t.Context()); err != nil || asked.Load() != 3 {
		t.Errorf("after %d requests: %v", asked.Load(), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := New(1).AwaitLoaded(ctx); err == nil {
		t.Error("nothing was awaited")
	}
}
