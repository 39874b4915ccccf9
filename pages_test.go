//go:build unix

// The table of the metrics is read beside a PostgreSQL, which is on unix.

package caddyiis_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// operatorsPages are the documents for whoever runs Caddy on a machine.
var operatorsPages = []string{"docs/service.md", "docs/container.md", "docs/beside-iis.md", "docs/metrics.md"}

// readPage returns a document.
func readPage(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var caddyCommand = regexp.MustCompile("(?m)(?:^|[\\s\\\\`\"(])caddy(?:\\.exe)? ([a-z](?:\"[^\"\\n]*\"|[^\\n`|>&;\"])*)")

// TestDocumentedCommands: each command of Caddy in the pages for operators is there, with
// all flags that it is given.
func TestDocumentedCommands(t *testing.T) {
	known := caddycmd.Commands()
	var asked []string
	for _, page := range operatorsPages {
		text := readPage(t, page)
		code := strings.Join(slices.Concat(fencePattern.FindAllString(text, -1), codePattern.FindAllString(fencePattern.ReplaceAllString(text, ""), -1)), "\n")
		for _, m := range caddyCommand.FindAllStringSubmatch(code, -1) {
			command := strings.TrimPrefix(m[1], "caddy ") // docker exec <container> caddy
			args := strings.Fields(command)
			// Others stand behind the service or the container caddy.
			if _, ok := known[args[0]]; !ok || slices.Contains(asked, command) {
				continue
			}
			asked = append(asked, command)
			takesArguments(t, args)
		}
	}
	if len(asked) < 20 {
		t.Errorf("only these were found: %q", asked)
	}
}

var (
	namedMetric   = regexp.MustCompile(`\bcaddy_iis_\w*[a-z]\b`)
	namedEndpoint = regexp.MustCompile("(?:[\\s`\"'(]|:2019)/iis(/[\\w/{}-]*[\\w}])")
)

// TestDocumentedNames: each metric and each endpoint of the API that any document names
// is there.
func TestDocumentedNames(t *testing.T) {
	documented := documentedMetrics(t)
	api, _ := readOpenAPI(t)
	var endpoints []*regexp.Regexp
	for path := range api.Paths {
		// Below a site are its fields.
		endpoints = append(endpoints, regexp.MustCompile("^"+regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, `[^/]+`)+"(?:/|$)"))
	}
	metrics, found := 0, 0
	for _, page := range documents(t) {
		text := readPage(t, page)
		for _, name := range namedMetric.FindAllString(text, -1) {
			metrics++
			_, ok := documented[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, isPart := strings.CutSuffix(name, suffix); isPart && documented[base].kind == "histogram" {
					ok = true
				}
			}
			if !ok {
				t.Errorf("%s names the metric %s, which nobody exports", page, name)
			}
		}
		for _, m := range namedEndpoint.FindAllStringSubmatch(text, -1) {
			found++
			if path := "/iis" + m[1]; !slices.ContainsFunc(endpoints, func(e *regexp.Regexp) bool { return e.MatchString(path) }) {
				t.Errorf("%s names %s, which no path of docs/openapi.json is", page, path)
			}
		}
	}
	if metrics < 50 || found < 30 {
		t.Errorf("only %d metrics and %d endpoints were found", metrics, found)
	}
}
