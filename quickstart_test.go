package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var (
	resolvePattern = regexp.MustCompile(`--resolve ([^:]+):`)
	dataPattern    = regexp.MustCompile(`(?s) -d '([^']*)'`)
	adminPattern   = regexp.MustCompile(`-X (\w+) localhost:2019(\S+) -H '([^:]+): ([^']+)'`)
	hostPattern    = regexp.MustCompile(`-H "Host: ([^"]+)"`)
	urlPattern     = regexp.MustCompile(`(https?)://[^:/ ]+:(\d+)`)
)

// TestQuickstart runs the quick start on free ports, makes the requests of the
// README's curl commands, and compares what they print.
func TestQuickstart(t *testing.T) {
	config, err := os.ReadFile("examples/quickstart/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	_, options, _ := strings.Cut(string(config), "\n{")
	options = strings.Replace("{"+options, "skip_install_trust", "", 1)
	ports := map[string]int{"8080": ts.FreePort(t), "8443": ts.FreePort(t), "8444": ts.FreePort(t)}
	for from, to := range ports {
		options = strings.ReplaceAll(options, ":"+from, fmt.Sprintf(":%d", to))
	}
	options = strings.Replace(options, "sites_from bolt", fmt.Sprintf("sites_from bolt %q", filepath.Join(t.TempDir(), "sites.db")), 1)
	l := &live{t: t, Server: ts.Start(t, options)}

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := consoleCommands(t, string(readme))
	if len(examples) < 7 {
		t.Fatalf("only %d examples found in the README", len(examples))
	}
	for _, example := range examples {
		if m := adminPattern.FindStringSubmatch(example.command); m != nil {
			body := dataPattern.FindStringSubmatch(example.command)[1]
			for from, to := range ports {
				body = strings.ReplaceAll(body, ":"+from, fmt.Sprintf(":%d", to))
			}
			var answer json.RawMessage
			l.ask(m[1], strings.TrimPrefix(m[2], "/iis/"), body, &answer, m[3], m[4])
			if !example.prints(string(answer)) {
				t.Errorf("%s\nprints:\n%s\nthe README says:\n%s", example.command, answer, example.output)
			}
			continue
		}
		url := urlPattern.FindStringSubmatch(example.command)
		request := ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", ports[url[2]]), Plain: url[1] == "http"}
		if m := resolvePattern.FindStringSubmatch(example.command); m != nil {
			request.SNI = m[1]
		}
		if m := hostPattern.FindStringSubmatch(example.command); m != nil {
			request.Host = m[1]
		}
		answer, err := ts.Do(request)
		if err != nil {
			t.Errorf("%s: %v", example.command, err)
			continue
		}
		got := answer.Body
		for from, to := range ports {
			got = strings.ReplaceAll(got, fmt.Sprintf(":%d", to), ":"+from)
		}
		if !example.prints(got) {
			t.Errorf("%s\nprints:\n%s\nthe README says:\n%s", example.command, got, example.output)
		}
	}
}
