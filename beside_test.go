package caddyiis_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// windowsCommands are the shapes of the commands in docs/beside-iis.md, which no test
// can run.
var windowsCommands = regexp.MustCompile(`^(?:netsh http (?:add|delete) iplisten ipaddress=[\d.]+|netsh http show (?:iplisten|servicestate)` +
	`|netsh interface ipv4 add address "Ethernet" [\d.]+ [\d.]+ skipassource=true|net stop http /y|net start w3svc|sc\.exe stop caddy` +
	`|\$appcmd = "\$env:windir\\System32\\inetsrv\\appcmd\.exe"|& \$appcmd (?:add|restore) backup \w+` +
	// a whole argument is quoted, since PowerShell takes brackets and quotes in it otherwise
	`|& \$appcmd set site "\w+"(?: "/[-+]bindings\.\[protocol='https?',bindingInformation='[*\d.]+:\d+:[\w.]*'\]")+)$`)

// TestBesideIISPage: the Caddyfiles of docs/beside-iis.md are right, its commands exist,
// and the way back takes back what the way there has done.
func TestBesideIISPage(t *testing.T) {
	raw, err := os.ReadFile("docs/beside-iis.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	blocks := regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(page, -1)
	var commands, configs []string
	for _, block := range blocks {
		if block[1] == "caddyfile" {
			configs = append(configs, block[2])
		} else {
			commands = append(commands, strings.Split(strings.TrimSpace(block[2]), "\n")...)
		}
	}
	if len(configs) != 2 || len(commands) < 10 {
		t.Fatalf("%d configurations, %d commands", len(configs), len(commands))
	}
	for _, config := range configs {
		if _, err := ts.Adapt(config, ""); err != nil {
			t.Errorf("%s\n%v", config, err)
		}
	}
	lists := make(map[string][]string)
	for _, command := range commands {
		if !windowsCommands.MatchString(command) {
			t.Errorf("no such command is known: %s", command)
		}
		if m := regexp.MustCompile(`(add|delete) iplisten ipaddress=(\S+)`).FindStringSubmatch(command); m != nil {
			lists[m[1]] = append(lists[m[1]], m[2])
		}
	}
	if len(lists["add"]) == 0 || !slices.Equal(lists["add"], lists["delete"]) {
		t.Errorf("added are %q, deleted %q", lists["add"], lists["delete"])
	}
	listens := regexp.MustCompile(`listen (\S+)`).FindStringSubmatch(configs[0])
	added := regexp.MustCompile(`add address "Ethernet" (\S+)`).FindStringSubmatch(page)
	if listens == nil || added == nil || listens[1] != added[1] || slices.Contains(lists["add"], listens[1]) {
		t.Errorf("Caddy listens on %q, the machine has got %q, and IIS has %q", listens, added, lists["add"])
	}
	for _, m := range regexp.MustCompile("`caddy (iis [^`]+)`").FindAllStringSubmatch(page, -1) {
		takesArguments(t, commandWords(strings.Fields(m[1])))
	}
}
