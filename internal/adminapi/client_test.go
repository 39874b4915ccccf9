package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeCaddy is an admin endpoint with one site that loses connections.
type fakeCaddy struct {
	mu      sync.Mutex
	site    map[string]any // nil: there is none
	version int
	writes  int

	// lose says what happens to a request whose connection is to be lost:
	// nothing (0), its connection is closed before (1) or after (2) it is
	// obeyed.
	lose func(method string) int

	// interfere is called between reading and writing.
	interfere func(f *fakeCaddy)
}

func (f *fakeCaddy) etag() string { return fmt.Sprintf(`"/config/apps/iis/sites/1 %d"`, f.version) }

func (f *fakeCaddy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lose := 0
	if f.lose != nil {
		lose = f.lose(r.Method)
	}
	if lose == 1 {
		panic(http.ErrAbortHandler)
	}
	if r.Method != http.MethodGet && f.interfere != nil {
		f.interfere(f)
	}
	rec := httptest.NewRecorder()
	f.serve(rec, r)
	if lose == 2 {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func (f *fakeCaddy) serve(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, message string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
	}
	if r.URL.Path == "/config/apps/iis/sites" {
		sites := map[string]any{}
		if f.site != nil {
			sites["1"] = f.site
		}
		_ = json.NewEncoder(w).Encode(sites)
		return
	}
	if match := r.Header.Get("If-Match"); match != "" && match != f.etag() {
		refuse(http.StatusPreconditionFailed, "If-Match header did not match current config hash")
		return
	}
	body, _ := io.ReadAll(r.Body)
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Etag", f.etag())
		_ = json.NewEncoder(w).Encode(f.site)
		return
	case http.MethodPut:
		if f.site != nil {
			refuse(http.StatusConflict, "key already exists: 1")
			return
		}
	case http.MethodPatch:
		if f.site == nil {
			refuse(http.StatusNotFound, "key does not exist: 1")
			return
		}
	}
	f.site = nil
	if r.Method != http.MethodDelete {
		_ = json.Unmarshal(body, &f.site)
	}
	f.version++
	f.writes++
}

// start returns a client of the fake.
func (f *fakeCaddy) start(t *testing.T) *Client {
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := New(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// losing loses the first request with a method.
func losing(method string, how int) func(string) int {
	done := false
	return func(m string) int {
		if m != method || done {
			return 0
		}
		done = true
		return how
	}
}

func appendName(suffix string) func(*SiteConfig) error {
	return func(site *SiteConfig) error {
		var name string
		if err := site.Get("name", &name); err != nil {
			return err
		}
		if strings.Contains(name, suffix) {
			return ErrDone
		}
		return site.Set("name", name+suffix)
	}
}

func TestChangeSite(t *testing.T) {
	other := func(f *fakeCaddy) {
		f.interfere = nil
		f.site["name"], f.version = f.site["name"].(string)+"+other", f.version+1
	}
	for name, c := range map[string]struct {
		fake   *fakeCaddy
		want   string
		writes int
	}{
		"undisturbed":             {&fakeCaddy{}, "a+mine", 1},
		"somebody else is faster": {&fakeCaddy{interfere: other}, "a+other+mine", 1},
		"reading is lost":         {&fakeCaddy{lose: losing("GET", 1)}, "a+mine", 1},
		"writing is lost":         {&fakeCaddy{lose: losing("PATCH", 1)}, "a+mine", 1},
		"the answer is lost":      {&fakeCaddy{lose: losing("PATCH", 2)}, "a+mine", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.fake
			f.site = map[string]any{"name": "a", "bindings": []any{}, "@id": "x"}
			client := f.start(t)
			if err := client.ChangeSite(t.Context(), 1, appendName("+mine")); err != nil {
				t.Fatal(err)
			}
			if f.site["name"] != c.want || f.writes != c.writes || f.site["@id"] != "x" {
				t.Errorf("got %v after %d writes; want name %q after %d", f.site, f.writes, c.want, c.writes)
			}
			if err := client.ChangeSite(t.Context(), 1, appendName("+mine")); !errors.Is(err, ErrDone) {
				t.Errorf("again: %v, want ErrDone", err)
			}
			if err := client.ChangeSite(t.Context(), 1, func(*SiteConfig) error { return nil }); err != nil || f.writes != c.writes {
				t.Errorf("a change of nothing: %v, %d writes", err, f.writes)
			}
		})
	}
}

func TestAddAndRemoveSite(t *testing.T) {
	var site SiteConfig
	if err := site.Set("name", "new"); err != nil {
		t.Fatal(err)
	}
	for _, how := range []int{0, 1, 2} {
		f := &fakeCaddy{lose: losing("PUT", how)}
		client := f.start(t)
		if id, err := client.AddSite(t.Context(), 0, site); err != nil || id != 1 || f.writes != 1 || f.site["name"] != "new" {
			t.Errorf("adding, %d: site %d, %v, %v after %d writes", how, id, err, f.site, f.writes)
		}
		if _, err := client.AddSite(t.Context(), 1, site); err == nil || !strings.Contains(err.Error(), "there is a site 1 already") {
			t.Errorf("adding twice: %v", err)
		}
		f.lose = losing("DELETE", how)
		if err := client.RemoveSite(t.Context(), 1); err != nil || f.site != nil || f.writes != 2 {
			t.Errorf("removing, %d: %v, %v after %d writes", how, err, f.site, f.writes)
		}
		if err := client.RemoveSite(t.Context(), 1); !errors.Is(err, ErrNoSite) {
			t.Errorf("removing twice: %v", err)
		}
		if err := client.ChangeSite(t.Context(), 1, appendName("x")); !errors.Is(err, ErrNoSite) {
			t.Errorf("changing what is not there: %v", err)
		}
	}
}

// TestFreeID: a site of the configuration gets the id after the highest, or the lowest free one,
// also beside sites of sources.
func TestFreeID(t *testing.T) {
	for configured, ids := range map[string]map[string]uint32{
		`{}`:                              {``: 1, `{"id":7}`: 8, `{"id":4294967295}`: 1, `{"id":1},{"id":4294967295}`: 2},
		`{"2":{}}`:                        {``: 3, `{"id":7}`: 8, `{"id":1},{"id":4294967295}`: 3},
		`{"1":{},"3":{},"4294967295":{}}`: {``: 2, `{"id":2}`: 4},
	} {
		for rows, want := range ids {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/iis/sites" {
					_, _ = io.WriteString(w, `{"items":[`+rows+`]}`)
					return
				}
				_, _ = io.WriteString(w, configured)
			}))
			c, err := New(strings.TrimPrefix(srv.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if id, err := c.freeID(t.Context()); err != nil || id != want {
				t.Errorf("%s and %s: got %d, %v, want %d", configured, rows, id, err, want)
			}
			srv.Close()
		}
	}
}

func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	client, err := New(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.SiteConfig(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "is Caddy running") {
		t.Errorf("got %v", err)
	}
}

// TestTimeout: a server that is busy for ever does not hold the client.
func TestTimeout(t *testing.T) {
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	defer srv.Close()
	defer close(done)
	client, err := New(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.SiteConfig(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNew(t *testing.T) {
	t.Setenv("CADDY_IIS_TEST_ADMIN", "localhost:2020")
	for address, host := range map[string]string{
		"localhost:2019":             "localhost",
		"{env.CADDY_IIS_TEST_ADMIN}": "localhost",
		"unix//run/caddy.sock|0200":  "",
		"localhost:2000-2010":        "error",
	} {
		c, err := New(address)
		if err != nil {
			if host != "error" {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		if c.Host() != host {
			t.Errorf("%s: host %q, want %q", address, c.Host(), host)
		}
	}
}

// TestSiteBinding: what is not known of a binding is kept.
func TestSiteBinding(t *testing.T) {
	const raw = `{"binding":"*:443:a","flags":1,"protocol":"https","tls":{"curves":["x25519"]}}`
	var b SiteBinding
	if err := json.Unmarshal([]byte(raw), &b); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(b); err != nil || string(got) != raw {
		t.Errorf("got %s, %v; want %s", got, err, raw)
	}
}
