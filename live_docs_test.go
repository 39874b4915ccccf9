package caddyiis_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// consoleCommand is a command of a console block with what it prints, where ... stands
// for any text.
type consoleCommand struct{ command, output string }

// consoleCommands returns the commands of all console blocks of a page, in order.
func consoleCommands(t *testing.T, page string) (commands []consoleCommand) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		for _, example := range strings.Split("\n"+m[1], "\n$ ")[1:] {
			lines := strings.Split(example, "\n")
			lines[0], _, _ = strings.Cut(lines[0], "  #")
			end := 1
			for end < len(lines) && (quoted(lines[:end]) || strings.HasSuffix(lines[end-1], `\`)) {
				end++
			}
			commands = append(commands, consoleCommand{strings.TrimSpace(strings.Join(lines[:end], "\n")), strings.TrimSpace(strings.Join(lines[end:], "\n"))})
		}
	}
	if len(commands) == 0 {
		t.Fatal("the page has no commands")
	}
	return commands
}

// quoted reports whether a quote is open at the end of the lines.
func quoted(lines []string) bool { return strings.Count(strings.Join(lines, "\n"), "'")%2 != 0 }

// prints reports whether an output is as documented. Where ... is in it, the number of
// blanks does not count.
func (c consoleCommand) prints(got string) bool {
	if !strings.Contains(c.output, "...") {
		return strings.TrimSpace(got) == c.output
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(strings.Fields(c.output), " ")), `\.\.\.`, ".*")
	return regexp.MustCompile("(?s)^" + pattern + "$").MatchString(strings.Join(strings.Fields(got), " "))
}

// quickstart leaves what the README's first steps leave: a site of its own in the default
// place of such sites.
func (r *road) quickstart(here *strings.Replacer) {
	raw, err := os.ReadFile("examples/quickstart/Caddyfile")
	if err != nil {
		r.t.Fatal(err)
	}
	config := strings.ReplaceAll(here.Replace(string(raw)), "8444", fmt.Sprint(ts.FreePort(r.t)))
	r.write(r.dir, map[string][]byte{"quickstart": []byte(config)})
	stop := r.start("caddy run --config quickstart --adapter caddyfile", "http://"+r.admin+"/iis/ready")
	defer stop()
	site := fmt.Sprintf(`{"name":"Five","server_bindings":[":%d:five.example.org"]}`, r.http)
	req, err := http.NewRequest(http.MethodPut, "http://"+r.admin+"/iis/sites/5", strings.NewReader(site))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		r.t.Fatal(resp.Status)
	}
}

// TestLiveSitesPage runs the commands of docs/live-sites.md as they are written, one
// after the other, with the Caddy and the configuration that the page begins with.
// Only ports and folders are others.
func TestLiveSitesPage(t *testing.T) {
	needs.Curl(t)
	r := newRoad(t)
	raw, err := os.ReadFile("docs/live-sites.md")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("examples/live-sites/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer(
		"localhost:2019", r.admin, "8080", fmt.Sprint(r.http), "8443", fmt.Sprint(r.https), "/srv/sites", filepath.Join(r.dir, "srv"),
	)
	r.write(r.dir, map[string][]byte{"examples/live-sites/Caddyfile": []byte(here.Replace(string(config)))})
	r.quickstart(here)
	stop := r.start(regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(string(raw))[1], "http://"+r.admin+"/iis/ready")
	defer stop()

	commands := consoleCommands(t, string(raw))
	const mark = "\n-- end of the command --\n"
	var script strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&script, "%s\nprintf '%%s' '%s'\n", here.Replace(c.command), mark)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	cmd.Dir, cmd.Env = r.dir, r.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	outputs := strings.Split(string(out), mark)
	for i, c := range commands {
		if i >= len(outputs) {
			t.Fatalf("not run: %s", c.command)
		}
		c.output = here.Replace(c.output)
		if !c.prints(outputs[i]) {
			t.Errorf("%s\nprints:\n%s\nthe page says:\n%s", c.command, outputs[i], c.output)
		}
	}
	for _, block := range regexp.MustCompile("(?ms)^```caddyfile\n(template .*?)^```$").FindAllStringSubmatch(string(raw), -1) {
		if !strings.Contains(unindented(string(config)), unindented(block[1])) {
			t.Errorf("the example has no such templates:\n%s", block[1])
		}
	}
}

func unindented(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }

// start runs Caddy by a command, until a URL answers. It returns what ends it.
func (r *road) start(command, ready string) (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := r.shell(ctx, "exec "+command)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() { cancel(); <-ended }
	for deadline := time.After(60 * time.Second); ; {
		resp, err := http.Get(ready)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return stop
			}
		}
		select {
		case err := <-ended:
			cancel()
			r.t.Fatalf("%s: %v\n%s", command, err, log.String())
		case <-deadline:
			stop()
			r.t.Fatalf("%s: no answer: %v\n%s", command, err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestAllowAsDocumented: the block of docs/live-sites.md about allow is one that
// Caddy loads.
func TestAllowAsDocumented(t *testing.T) {
	raw, err := os.ReadFile("docs/live-sites.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```caddyfile\n(sites_from .*?)^```$").FindStringSubmatch(string(raw))
	if block == nil {
		t.Fatal("the page has no block with sites_from")
	}
	allow := strings.Replace(block[1], "sites_from bolt", fmt.Sprintf("sites_from bolt %q", filepath.Join(t.TempDir(), "sites.db")), 1)
	port := ts.FreePort(t)
	allow = strings.ReplaceAll(allow, "8443", fmt.Sprint(port))
	l := &live{t: t, plain: port}
	l.Server = startIIS(t, certificates(t, "wildcard")+"template files {\nrespond files\n}\ntemplate app {\nrespond app\n}\n"+allow)
	site := func(host, template string) string {
		return fmt.Sprintf(`{"server_bindings":[":%d:%s"],"template":%q}`, port, host, template)
	}
	l.want(201, "PUT", "sites/1", site("a.b.customers.example.com", "files"))
	l.refused(422, "PUT", "sites/2", site("customers.example.com", "files"), "allow hosts")
	l.refused(422, "PUT", "sites/2", site("c.customers.example.com", ""), "template")
}

// TestSourcesAsDocumented runs the blocks of the reference about sites_from, site_vars
// and iis_ready, with free ports and folders of the test.
func TestSourcesAsDocumented(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := ts.PEM(t, "*.example.com", "*.example.com")
	plain, secure, health := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	replace(t, filepath.Join(dir, "index.html"), []byte("bread"))
	here := strings.NewReplacer("wildcard.pem", certFile, "wildcard.key", keyFile, "/var/lib/caddy", dir, "/srv/sites/bakery", dir, "/srv/sites", dir,
		":80:", fmt.Sprintf(":%d:", plain), "*:443", fmt.Sprintf("*:%d", secure), "80 443", fmt.Sprintf("%d %d", plain, secure), ":8081:", fmt.Sprintf(":%d:", health))
	config := here.Replace(referenceBlock(t, "sites_from", "caddyfile"))
	more := referenceBlock(t, "site_vars", "caddyfile") + subsectionBlock(t, "iis_ready")
	at0 := strings.Index(config, "\t\tdefaults {")
	l := &live{t: t, plain: plain, secure: secure}
	l.Server = ts.Start(t, config[:at0]+here.Replace(more)+config[at0:])

	site := fmt.Sprintf(`{"name":"Shop","server_bindings":[":%d:shop.example.com"],"secure_bindings":[":%d:shop.example.com"],"template":"shop"}`, plain, secure)
	l.refused(428, "PUT", "sites/10", site, "If-Match")
	l.want(201, "PUT", "sites/10", site, "If-None-Match", "*")
	l.serves("shop.example.com", "Shop sells")
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", plain), Host: "bakery.example.com", Plain: true})
	if err != nil || answer.Body != "bread" || answer.Header.Get("Color") != "light blue" {
		t.Errorf("the site of site_vars: %v, %v", answer, err)
	}
	answer, err = ts.Do(ts.Request{Addr: at("127.0.0.1", health), Path: "/ready", Plain: true})
	if err != nil || answer.Status != 200 || !strings.Contains(answer.Body, `"panel":1`) {
		t.Errorf("iis_ready: %v, %v", answer, err)
	}
}

// subsectionBlock returns the Caddyfile block under a heading of the third level of
// the reference.
func subsectionBlock(t *testing.T, heading string) string {
	t.Helper()
	reference, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(reference), "\n### "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n#")
	_, text, found := strings.Cut(text, "```caddyfile\n")
	if !ok || !found {
		t.Fatalf("the reference has no block under %q", heading)
	}
	text, _, _ = strings.Cut(text, "```")
	return text
}
