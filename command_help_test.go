package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/commands"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// iisCommand is caddy iis below a caddy.
func iisCommand() (root, iis *cobra.Command) {
	root, iis = &cobra.Command{Use: "caddy"}, &cobra.Command{Use: "iis <command>", Long: "Shows sites."}
	commands.New(commands.Functions{}).CobraFunc(iis)
	root.AddCommand(iis)
	return root, iis
}

// leaves are the commands that do something, by their names behind caddy iis.
func leaves(cmd *cobra.Command) map[string]*cobra.Command {
	all := make(map[string]*cobra.Command)
	for _, sub := range cmd.Commands() {
		maps.Copy(all, leaves(sub))
		if sub.Name() == "help" || sub.HasSubCommands() && sub.Args == nil {
			continue // a group alone only shows its help
		}
		all[strings.TrimPrefix(sub.CommandPath(), "caddy iis ")] = sub
	}
	return all
}

// TestHelps: each help ends with this project's documents, not with Caddy's, and says what
// the command takes.
func TestHelps(t *testing.T) {
	root, iis := iisCommand()
	for name := range leaves(iis) {
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append([]string{"iis"}, append(strings.Fields(name), "--help")...))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if help := out.String(); !strings.Contains(help, "docs/commands.md") || strings.Contains(help, "caddyserver.com") || !strings.Contains(help, "Usage:\n  caddy iis "+name) {
			t.Errorf("%s --help:\n%s", name, help)
		}
	}
}

var placeholderPattern = regexp.MustCompile(`<[^>]+>`)

// TestManPages: the pages that caddy manpage makes show what stands in angle brackets.
func TestManPages(t *testing.T) {
	root, iis := iisCommand()
	dir := t.TempDir()
	want := make(map[string][]string)
	for name, cmd := range leaves(iis) {
		want[name] = placeholderPattern.FindAllString(cmd.Use, -1)
	}
	root.AddCommand(&cobra.Command{Use: "manpage", RunE: func(*cobra.Command, []string) error {
		return doc.GenManTree(root, &doc.GenManHeader{Title: "Caddy", Section: "8"}, dir)
	}})
	root.SetArgs([]string{"manpage"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for name, placeholders := range want {
		raw, err := os.ReadFile(filepath.Join(dir, "caddy-iis-"+strings.ReplaceAll(name, " ", "-")+".8"))
		if err != nil {
			t.Fatal(err)
		}
		_, synopsis, _ := strings.Cut(string(raw), ".SH SYNOPSIS\n")
		synopsis, _, _ = strings.Cut(synopsis, ".SH DESCRIPTION")
		synopsis = strings.ReplaceAll(strings.ReplaceAll(synopsis, `\-`, "-"), `\&`, "")
		for _, placeholder := range placeholders {
			if !strings.Contains(synopsis, placeholder) {
				t.Errorf("the page of %s has no %s: %s", name, placeholder, synopsis)
			}
		}
		if strings.Contains(synopsis, `\<`) || strings.Contains(synopsis, `\\`) {
			t.Errorf("the page of %s: %s", name, synopsis)
		}
	}
}

// flagsOf lists the flags that only this command has.
func flagsOf(cmd *cobra.Command) map[string]*pflag.Flag {
	flags := make(map[string]*pflag.Flag)
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			flags[f.Name] = f
		}
	})
	return flags
}

// commandTable writes the table of all commands, as their helps have them.
func commandTable(iis *cobra.Command) string {
	var sb strings.Builder
	sb.WriteString("| Command | Arguments | Flags |\n|---|---|---|\n")
	all := leaves(iis)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		arguments := ""
		_, use, _ := strings.Cut(all[name].Use, " ")
		if words := strings.Fields(flagsPattern.ReplaceAllString(use, "")); len(words) > 0 {
			arguments = "`" + strings.ReplaceAll(strings.Join(words, " "), "|", `\|`) + "`"
		}
		var flags []string
		for _, flag := range slices.Sorted(maps.Keys(flagsOf(all[name]))) {
			flags = append(flags, "`--"+flag+"`")
		}
		fmt.Fprintf(&sb, "| `%s` | %s | %s |\n", name, arguments, strings.Join(flags, ", "))
	}
	return sb.String()
}

// flagsPattern finds flags with what belongs to them, in brackets or not.
var flagsPattern = regexp.MustCompile(`\[--[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\](?:\.\.\.)?|--[a-z-]+(?: <[^>]*>)?`)

// TestCommandTable: docs/commands.md has a table of all commands, with the arguments and
// flags that their helps show, and says what stands in angle brackets. With UPDATE_GOLDEN=1
// in the environment, the table is written anew.
func TestCommandTable(t *testing.T) {
	_, iis := iisCommand()
	raw, err := os.ReadFile("docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- commands -->\n", "<!-- /commands -->"
	before, rest, _ := strings.Cut(string(raw), begin)
	table, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("the page has no table of commands")
	}
	want := commandTable(iis)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile("docs/commands.md", []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		table = want
	}
	if table != want {
		t.Errorf("docs/commands.md has\n%s\nthe commands are\n%s", table, want)
	}
	types := make(map[string]string)
	for name, cmd := range leaves(iis) {
		for _, placeholder := range placeholderPattern.FindAllString(cmd.Use, -1) {
			if !strings.Contains(placeholder, "|") && !strings.Contains(after, "| `"+placeholder+"` |") {
				t.Errorf("%s: docs/commands.md does not say what %s is", name, placeholder)
			}
		}
		flags := flagsOf(cmd)
		for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(cmd.Use, -1) {
			if flags[m[1]] == nil && cmd.InheritedFlags().Lookup(m[1]) == nil {
				t.Errorf("%s has no flag --%s", name, m[1])
			}
		}
		for flag, f := range flags {
			if other := types[flag]; other != "" && other != f.Value.Type() && flag != "sni" { // of a binding it is asked for, of a client it is sent
				t.Errorf("%s: --%s is %s, and %s elsewhere", name, flag, f.Value.Type(), other)
			}
			types[flag] = f.Value.Type()
		}
	}
}

// commandLines are the lines with caddy iis that people copy: of helps, of blocks of code
// and, as far as they are whole, of the text.
func commandLines(t *testing.T) map[string]string {
	t.Helper()
	lines := make(map[string]string) // where they are from
	_, iis := iisCommand()
	for name, cmd := range leaves(iis) {
		for line := range strings.Lines(cmd.Example) {
			lines[strings.TrimPrefix(strings.TrimSpace(line), "$ ")] = "the help of " + name
		}
	}
	line := regexp.MustCompile(`(?m)^ *(?:\$ )?(caddy iis .*)$`)
	span := regexp.MustCompile("`(caddy iis [^`\n]+)`")
	for _, page := range documents(t) {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fencePattern.FindAllString(string(raw), -1) {
			for _, m := range line.FindAllStringSubmatch(block, -1) {
				lines[m[1]] = page
			}
		}
		for _, m := range span.FindAllStringSubmatch(fencePattern.ReplaceAllString(string(raw), ""), -1) {
			if !strings.ContainsAny(m[1], "<|") {
				lines[m[1]] = page
			}
		}
	}
	return lines
}

// TestCommandLinesInShells: bash and zsh give the commands what stands in the documents and
// helps: no asterisk becomes a file name, and no backslash is lost.
func TestCommandLinesInShells(t *testing.T) {
	lines := commandLines(t)
	if len(lines) < 80 {
		t.Fatalf("only %d lines", len(lines))
	}
	for _, shell := range [][]string{{"bash", "-O", "failglob", "-c"}, {"zsh", "-c"}} {
		t.Run(shell[0], func(t *testing.T) {
			program := needs.UserShell(t, shell[0])
			dir := t.TempDir()
			for line, where := range lines {
				if strings.HasSuffix(line, `\`) {
					continue // it goes on
				}
				given := filepath.Join(dir, "given")
				_ = os.Remove(given)
				cmd := exec.Command(program, append(shell[1:], "caddy() { printf '%s\\n' \"$@\" >> "+given+"; }; psql() { :; }; "+line)...)
				cmd.Dir = dir
				said, _ := cmd.CombinedOutput()
				words, err := os.ReadFile(given)
				if err != nil || strings.Count(string(words), `\`) != strings.Count(line, `\`) || strings.Count(string(words), "*") < strings.Count(line, "*") {
					t.Errorf("%s: %s is given %q: %s", where, line, words, said)
				}
			}
		})
	}
}

// TestCompletionOfMany: of very many sites those are listed that somebody has begun, and the
// first ones, without reading all.
func TestCompletionOfMany(t *testing.T) {
	const many = 5000
	var asked atomic.Int32
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var page adminapi.Page[adminapi.Site]
		after, _ := strconv.Atoi(r.FormValue("after"))
		for id := after + 1; id <= many && len(page.Items) < 1000; id++ {
			if name := fmt.Sprintf("Site %d", id); strings.Contains(strings.ToLower(name), strings.ToLower(r.FormValue("q"))) {
				page.Items = append(page.Items, adminapi.Site{ID: uint32(id), Name: name})
			}
		}
		if n := len(page.Items); n == 1000 {
			page.Next = fmt.Sprint(page.Items[n-1].ID)
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	defer admin.Close()
	for begun, want := range map[string]int{"": adminapi.DefaultLimit, "4": adminapi.DefaultLimit, "site 499": 11} {
		asked.Store(0)
		root, _ := iisCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		root.SetArgs([]string{cobra.ShellCompRequestCmd, "iis", "show", "--address=" + strings.TrimPrefix(admin.URL, "http://"), begun})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n") - 1; lines != want || asked.Load() > 1 {
			t.Errorf("%q: %d completions in %d questions, want %d in one", begun, lines, asked.Load(), want)
		}
	}
}

// TestCompletion: shells complete what the running Caddy knows.
func TestCompletion(t *testing.T) {
	port, tlsPort := ts.FreePort(t), ts.FreePort(t)
	s := startIIS(t, fmt.Sprintf(`
		sites_from bolt %[3]q
		certificate shop {
			subjects www.contoso.test
			issuer internal
		}
		site 1 Shop {
			server_bindings *:%[1]d:www.contoso.test
			secure_bindings *:%[2]d:www.contoso.test
			certificate shop
			respond ok
		}
		site 12 "Shop two" {
			server_bindings *:%[1]d:two.contoso.test
			respond ok
		}`, port, tlsPort, filepath.Join(t.TempDir(), "sites.db")))
	http, https := fmt.Sprintf("*:%d:www.contoso.test", port), fmt.Sprintf("*:%d:www.contoso.test", tlsPort)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"show", ""}, []string{"1", "Shop", "12", "Shop two"}},
		{[]string{"show", "1"}, []string{"1", "12"}},
		{[]string{"show", "sh"}, []string{"Shop", "Shop two"}},
		{[]string{"show", "/w3"}, []string{"/w3svc/1", "/w3svc/12"}},
		{[]string{"show", "1", ""}, nil},
		{[]string{"get", "/w3svc/1"}, []string{"/w3svc/1", "/w3svc/12"}},
		{[]string{"set", "/w3svc/1/S"}, []string{"/w3svc/1/ServerState", "/w3svc/1/ServerComment", "/w3svc/1/ServerAutoStart", "/w3svc/1/ServerBindings", "/w3svc/1/SecureBindings"}},
		{[]string{"delete", "/w3svc/1/Sec"}, []string{"/w3svc/1/SecureBindings"}},
		{[]string{"enum", "/w3svc/12"}, []string{"/w3svc/12"}},
		{[]string{"remove", "binding", "1", ""}, []string{http, https}},
		{[]string{"remove", "binding", "Shop", "https", ""}, []string{https}},
		{[]string{"remove", "site", "Shop t"}, []string{"Shop two"}},
		{[]string{"stop", "12"}, []string{"12"}},
		{[]string{"add", "binding", "1", "https", "*:1:x", "--certificate", ""}, []string{"shop"}},
		{[]string{"add", "site", "New", "--certificate", "s"}, []string{"shop"}},
		{[]string{"endpoint", "add", "*:443", "--certificate", ""}, []string{"shop"}},
		{[]string{"list", "--certificate", ""}, []string{"shop"}},
		{[]string{"list", "--source", ""}, []string{"bolt", "configuration"}},
		{[]string{"sites", "log", "--source", "b"}, []string{"bolt"}},
		{[]string{"explain", ""}, []string{fmt.Sprintf("*:%d", port), fmt.Sprintf("*:%d", tlsPort)}},
		{[]string{"endpoint", "remove", fmt.Sprintf("*:%d", tlsPort)}, []string{fmt.Sprintf("*:%d", tlsPort)}},
	} {
		root, _ := iisCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		line := append([]string{cobra.ShellCompRequestCmd, "iis"}, c.args[:len(c.args)-1]...)
		root.SetArgs(append(line, "--address="+s.AdminAddr(), c.args[len(c.args)-1]))
		if slices.Contains([]string{"--certificate", "--source"}, c.args[len(c.args)-2]) {
			root.SetArgs(append([]string{cobra.ShellCompRequestCmd, "iis", "--address=" + s.AdminAddr()}, c.args...))
		}
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for text := range strings.Lines(out.String()) {
			if word, _, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\t"); !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
}
