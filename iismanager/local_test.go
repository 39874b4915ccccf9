package iismanager_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-iis/caddy-iis/iismanager"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// TestLocal: over the admin endpoint, for the one browser that had the address first.
func TestLocal(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"server_bindings": [":%d:bakery.test"]}`, m.plain)) // keeps the port open
	client, err := adminapi.New(m.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	local := iismanager.NewLocal(client, zap.New(core), false)
	server := httptest.NewServer(local)
	defer server.Close()
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar}
	}
	status := func(c *http.Client, method, url string, change func(*http.Request)) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Request.URL.Path
	}
	folder, _, _ := strings.Cut(local.Path(), "?")
	stranger := browser()
	for _, path := range []string{"/", folder, folder + "sites", folder + "?token=", folder + "?token=nonsense", "/sites", strings.TrimSuffix(folder, "/"), "/manager" + folder + "sites"} {
		// Wrong tokens do not use up the right one.
		if got, _ := status(stranger, http.MethodGet, server.URL+path, nil); got != http.StatusForbidden {
			t.Errorf("%s: %d", path, got)
		}
	}
	for _, method := range []string{http.MethodHead, http.MethodPost} {
		if got, _ := status(stranger, method, server.URL+local.Path(), nil); got != http.StatusForbidden {
			t.Errorf("%s: %d", method, got)
		}
	}
	refused := logs.FilterMessage("the manager page has refused a request")
	for reason, want := range map[string]int{"wrong or used token": 2, "not authenticated": 8} {
		if got := refused.FilterField(zap.String("reason", reason)).Len(); got != want {
			t.Errorf("%s: %d lines", reason, got)
		}
	}
	for _, line := range refused.All() {
		if text := fmt.Sprint(line.ContextMap()); strings.Contains(text, strings.Trim(folder, "/")) || strings.Contains(text, "token=") {
			t.Errorf("the log tells where the page is: %s", text)
		}
	}
	mine := browser()
	for name, change := range map[string]func(*http.Request){
		"another host": func(r *http.Request) { r.Host = "attacker.example" },
		"a proxy":      func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
	} {
		if got, _ := status(mine, http.MethodGet, server.URL+local.Path(), change); got != http.StatusForbidden {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got, path := status(mine, http.MethodGet, server.URL+local.Path(), nil); got != http.StatusOK || path != folder+"sites" {
		t.Fatalf("%d at %s", got, path)
	}
	if got, _ := status(stranger, http.MethodGet, server.URL+local.Path(), nil); got != http.StatusForbidden {
		t.Errorf("the address was used twice: %d", got)
	}
	if got, _ := status(stranger, http.MethodGet, server.URL+folder+"sites", nil); got != http.StatusForbidden {
		t.Errorf("without cookie: %d", got)
	}
	if got, path := status(mine, http.MethodPost, server.URL+folder+"sites/1/stop", nil); got != http.StatusOK || path != folder+"sites/1" {
		t.Errorf("%d at %s", got, path)
	}
	if got := m.serves("configured.test"); !strings.HasPrefix(got, "400") {
		t.Error(got)
	}
	if got, _ := status(mine, http.MethodPost, server.URL+folder+"sites/1/start", func(r *http.Request) { r.Header.Set("Origin", "http://attacker.example") }); got != http.StatusForbidden {
		t.Errorf("another origin: %d", got)
	}
	elsewhere, _ := url.Parse(server.URL + "/")
	if cookies := mine.Jar.Cookies(elsewhere); len(cookies) != 0 {
		t.Errorf("the cookie goes to other programs of the machine: %v", cookies)
	}
}
