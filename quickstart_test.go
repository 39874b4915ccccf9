package caddyiis_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// curlExample is a command of the README with what it prints.
type curlExample struct{ command, output string }

// readmeExamples returns the curl commands of the README's console block.
func readmeExamples(t *testing.T) []curlExample {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "```console\n")
	if !ok {
		t.Fatal("the README has no console block")
	}
	block, _, _ = strings.Cut(block, "```")
	var examples []curlExample
	for example := range strings.SplitSeq("\n"+block, "\n$ ") {
		command, output, _ := strings.Cut(example, "\n")
		command, _, _ = strings.Cut(command, "  #")
		if command != "" {
			examples = append(examples, curlExample{strings.TrimSpace(command), strings.TrimSpace(output)})
		}
	}
	return examples
}

var (
	resolvePattern = regexp.MustCompile(`--resolve ([^:]+):`)
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
	ts.Start(t, options)

	examples := readmeExamples(t)
	if len(examples) < 5 {
		t.Fatalf("only %d examples found in the README", len(examples))
	}
	for _, example := range examples {
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
		if got != example.output {
			t.Errorf("%s\nprints:\n%s\nthe README says:\n%s", example.command, got, example.output)
		}
	}
}
