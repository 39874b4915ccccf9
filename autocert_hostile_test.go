package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// startRefusing starts an authority that refuses accounts with a text or, without one,
// does not answer at all, and returns the address of its directory.
func startRefusing(t *testing.T, text string) (directory string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	var authority *httptest.Server
	authority = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Replay-Nonce", "nonce")
		switch r.URL.Path {
		case "/dir":
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"newNonce": authority.URL + "/nonce", "newAccount": authority.URL + "/account", "newOrder": authority.URL + "/order"})
		case "/account":
			_, _ = io.Copy(io.Discard, r.Body) // only then it is noticed that the client leaves
			asked.Add(1)
			if text == "" {
				<-r.Context().Done()
				return
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"type": "urn:ietf:params:acme:error:unauthorized", "detail": text})
		}
	}))
	t.Cleanup(authority.Close)
	return authority.URL + "/dir", asked
}

// TestAutoAuthorityWords: whatever an authority says is told in bounded and printable
// words.
func TestAutoAuthorityWords(t *testing.T) {
	directory, _ := startRefusing(t, "no\x1b]0;owned\a\r\n"+strings.Repeat("very long ", 10_000))
	port := ts.FreePort(t)
	s := startIIS(t, "certificate auto {\nfor_bindings\non_demand\nissuer acme {\ndir "+directory+"\n}\nmax_wait 5s\n}\n"+autoSite(port, "www.example.com"))
	if got := subjectOf(port, "www.example.com"); got != "" {
		t.Fatalf("got %s", got)
	}
	var c adminapi.Certificate
	s.AdminJSON("/iis/certificates/auto", &c)
	var site adminapi.Site
	s.AdminJSON("/iis/sites/1", &site)
	told := append(findingsOf(s, "certificate-not-obtained"), site.Bindings[0].Error)
	for _, f := range c.Failures {
		told = append(told, f.Error)
	}
	if len(told) != 3 {
		t.Errorf("told %d times", len(told))
	}
	for _, text := range told {
		if !strings.Contains(text, "very long") || len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%d bytes: %.200q", len(text), text)
		}
	}
}

// TestAutoLoadWhileWaiting: a client that waits for its certificate when another
// configuration is loaded has it from that one.
func TestAutoLoadWhileWaiting(t *testing.T) {
	directory, asked := startRefusing(t, "")
	port := ts.FreePort(t)
	config := func(issuer string) string {
		return iisConfig("certificate auto {\nfor_bindings\non_demand\nissuer " + issuer + "\n}\n" + autoSite(port, "www.example.com"))
	}
	s := ts.Start(t, config("acme {\ndir "+directory+"\n}"))
	got := make(chan string)
	go func() { got <- subjectOf(port, "www.example.com") }()
	waitFor(t, "the authority to be asked", func() bool { return asked.Load() > 0 })
	if err := s.Load(config("internal")); err != nil {
		t.Fatal(err)
	}
	if subject := <-got; subject != "www.example.com" {
		t.Errorf("the client that waited got %q", subject)
	}
}

// TestAutoBounds: numbers for which memory would be taken at once are bounded.
func TestAutoBounds(t *testing.T) {
	s := ts.Start(t, "{\n}\n")
	for words, want := range map[string]string{
		"rate 4611686018427387904 1s": "orders are from 1 to", "rate 1000000000 1s": "orders are from 1 to",
		"capacity 4611686018427387904": "capacity is from 1 to", "capacity 1000000000": "capacity is from 1 to",
	} {
		err := s.Load(iisConfig(fmt.Sprintf("certificate auto {\nfor_bindings\nissuer internal\n%s\n}\n", words) + autoSite(ts.FreePort(t), "www.test")))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}
