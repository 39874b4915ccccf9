package iishttp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/iishttp"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestURL sends paths as they stand, which a client of net/http would change.
func TestURL(t *testing.T) {
	s := newSite(t, `
	@secret path /secret/*
	iis_url
	handle @secret {
		respond "matched"
	}
	respond "{http.request.uri.path} {http.request.uri}"`+errorPage)
	for target, want := range map[string]string{
		"/a/b?c=/../d":               "/a/b /a/b?c=/../d",
		`/a\b`:                       "/a/b /a/b",
		`/secret\x`:                  "matched",
		"/x/../secret/a":             "matched",
		"/x/%2e%2E/secret/a":         "matched",
		`/x/..%5Csecret/a`:           "matched",
		"//secret//a":                "matched",
		"/./secret/./a":              "matched",
		"/secret/../a":               "/a /a",
		"/../../a":                   "/a /a",
		"/a/..":                      "/ /",
		"/a/b/.":                     "/a/b/ /a/b/",
		"/a/b/../":                   "/a/ /a/",
		"/a//":                       "/a/ /a/",
		"/.well-known/x":             "/.well-known/x /.well-known/x",
		"/...":                       "/... /...",
		"/a%2Fb":                     "/a/b /a%2Fb", // no change, the path as it was sent stays
		"/a%2Fb//c?d=%20":            "/a/b/c /a/b/c?d=%20",
		"/a%20b%C3%BC":               "/a bü /a%20b%C3%BC",
		"/x/%2e%2e/a%20b?":           "/a b /a%20b?",
		"/a%00":                      "400: 400.0",
		"/a%0Ab":                     "400: 400.0",
		"/a%7F":                      "400: 400.0",
		"/a%C2%85":                   "400: 400.0",
		"/a%FF":                      "400: 400.0",
		"/x/..%C0%AFsecret/a":        "400: 400.0", // another spelling of a slash, as long as UTF-8 was read without care
		"http://" + s.addr + "/a//b": "/a/b /a/b",
	} {
		answer, err := ts.Raw(s.addr, "GET "+target+" HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(answer, "\r\n\r\n")
		if err != nil || body != want {
			t.Errorf("%s: %q, not %q (%v)", target, body, want, err)
		}
	}
	if answer, _ := ts.Raw(s.addr, "OPTIONS * HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n\r\n"); strings.Contains(answer, " 400 ") {
		t.Errorf("OPTIONS *: %s", answer)
	}
	if resp, body := s.ask("/a?x", "X", "y"); resp.StatusCode != http.StatusOK || body != "/a /a?x" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestURLCaddyfileRefuses(t *testing.T) {
	for _, text := range []string{"iis_url x", "iis_url {\n x\n}"} {
		if err := new(iishttp.URL).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), "Testfile:1") && !strings.Contains(err.Error(), "Testfile:2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
