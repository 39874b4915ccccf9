package caddyiis_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// howTo is a task of docs/how-to.md with its block.
type howTo struct{ section, task, block string }

func howTos(t *testing.T) []howTo {
	t.Helper()
	raw, err := os.ReadFile("docs/how-to.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []howTo
	for _, section := range strings.Split(string(raw), "\n## ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		for _, task := range strings.Split(rest, "\n### ")[1:] {
			m := regexp.MustCompile("(?s)^([^\n]+)\n\n```(sh|caddyfile)\n(.*)```\n*$").FindStringSubmatch(task)
			if m == nil {
				t.Fatalf("%s: a task with another form than a line and a block:\n%s", name, task)
			}
			list = append(list, howTo{name, m[1], m[3]})
		}
	}
	if len(list) < 40 {
		t.Fatalf("only %d tasks", len(list))
	}
	return list
}

// TestHowToCommands runs the commands of docs/how-to.md as they are written, one after the
// other; only ports, addresses and folders are others. Those that look change nothing of
// sites and endpoints, and all others do.
func TestHowToCommands(t *testing.T) {
	tasks := howTos(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "api") }))
	defer page.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("wiki"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure, other := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	here := strings.NewReplacer(
		":8443", fmt.Sprintf(":%d", other), ":443", fmt.Sprintf(":%d", secure), ":80:", fmt.Sprintf(":%d:", plain),
		"10.0.0.5", "127.0.0.2", "/srv/wiki", dir, "localhost:8002", strings.TrimPrefix(page.URL, "http://"),
	)
	config := here.Replace(`
		certificate wildcard {
			subjects *.example.com example.com
			issuer internal
		}
		certificate pay {
			subjects pay.example.com
			issuer internal
		}
		sites_from bolt ` + filepath.Join(dir, "sites.db") + `
		defaults {
			respond "{iis.site.name}"
		}
		site 1 Main {
			server_bindings :80:www.example.com
			secure_bindings :443:www.example.com
			certificate wildcard
			respond main
		}
		site 2 Shop {
			server_bindings :80:old.example.com
			respond shop
		}`)
	s := startIIS(t, config)
	if status, answer := s.Admin("PUT", "/iis/sites/10", here.Replace(`{"name":"Row","server_bindings":[":80:row.example.com"]}`)); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	t.Chdir(dir)
	if err := os.WriteFile("Caddyfile", []byte("{\niis {\nsite 1 {\nserver_bindings :80:\nrespond ok\n}\n}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says := map[string]string{ // by the task
		"see all sites":                                                              "Shop",
		"find the site that has a host":                                              "Main",
		"see which sites a certificate serves":                                       "Main",
		"see which sites are stopped":                                                "There are no such sites.",
		"know which certificate and which site a client gets, and why":               `certificate "wildcard"`,
		"add a site with files":                                                      "added",
		"give an address and port a certificate, as with netsh http add sslcert":     "certificate \"wildcard\"",
		"see what listens, and what is bound there":                                  fmt.Sprintf("*:%d", secure),
		"check a Caddyfile before it is loaded":                                      "no errors",
		"know whether everything answers as it should":                               "all as expected",
		"set the same bindings on the IIS server":                                    "appcmd",
		"copy the sites of a source, and put them back":                              "",
		"replace all https bindings of a site, as with adsutil.vbs":                  "SecureBindings",
		"see for each https binding whether its certificate fits":                    "COVERS",
		"keep as a Caddyfile what commands have changed":                             "respond main",
		"see who has changed the sites of a source":                                  "10",
		"know what a client gets that sends no server name":                          `certificate "wildcard"`,
		"see one site: its folder, bindings, certificates and what is wrong with it": "served by",
	}
	for _, task := range tasks {
		if task.section != "With a command" {
			continue
		}
		var all bytes.Buffer
		for line := range strings.Lines(task.block) {
			line = strings.TrimSpace(line)
			var out, errOut bytes.Buffer
			args := splitArgs(t, here.Replace(strings.TrimPrefix(line, "caddy iis ")))
			if !strings.Contains(line, "--config") && !strings.Contains(line, "--file") {
				args = append(args, "--address", s.AdminAddr())
			}
			before := configured(t, s)
			code := caddyiis.RunCommand(&out, &errOut, args...)
			if changes := configured(t, s) != before; changes == looks(args) {
				t.Errorf("%s: %s: changes sites or endpoints: %v\n%s%s", task.task, line, changes, &out, &errOut)
			}
			if code != 0 && (code != 1 || args[0] != "check") || strings.Contains(errOut.String(), "Error:") {
				t.Errorf("%s: %s: exit code %d\n%s%s", task.task, line, code, &out, &errOut)
			}
			all.Write(out.Bytes())
			if i := slices.Index(args, "--output"); i >= 0 {
				written, err := os.ReadFile(args[i+1])
				if err != nil || len(written) == 0 {
					t.Fatalf("%s: %q, %v", line, written, err)
				}
				all.Write(written)
			}
		}
		if !strings.Contains(all.String(), says[task.task]) {
			t.Errorf("%s: no %q in\n%s", task.task, says[task.task], &all)
		}
		delete(says, task.task)
	}
	for task := range says {
		t.Errorf("docs/how-to.md has no task %q", task)
	}
}

// configured is what sites and endpoints are, as the admin API tells it.
func configured(t *testing.T, s *ts.Server) string {
	t.Helper()
	c := client(t, s)
	var all strings.Builder
	for site, err := range c.Sites(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, site.ID, site.Name, site.State, site.Certificate)
		for _, b := range site.Bindings {
			fmt.Fprintln(&all, b.Protocol, b.Binding, b.Flags, b.Certificate)
		}
	}
	for endpoint, err := range c.Endpoints(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, endpoint.Address, endpoint.Protocol, endpoint.Listening, endpoint.Bindings)
		if endpoint.WithoutSNI != nil {
			fmt.Fprintln(&all, *endpoint.WithoutSNI)
		}
	}
	return all.String()
}

// looks reports whether a command only looks. That sites are put back which were copied
// before changes nothing either.
func looks(args []string) bool {
	switch args[0] {
	case "list", "show", "explain", "enum", "get", "check", "verify", "commands", "endpoints", "certificates", "sites", "config":
		return true
	}
	return false
}

// TestHowToLines: the lines of a Caddyfile of docs/how-to.md are loaded where they belong;
// those that need what only a server has are adapted.
func TestHowToLines(t *testing.T) {
	for _, task := range howTos(t) {
		switch task.section {
		case "With lines in a site":
			file := filepath.Join(t.TempDir(), "Caddyfile")
			config := fmt.Sprintf("{\niis {\ncertificate c {\nsubjects www.example.com\nissuer internal\n}\nsite 1 Shop {\nsecure_bindings :%d:www.example.com\ncertificate c\n%s}\n}\n}\n", ts.FreePort(t), task.block)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errOut bytes.Buffer
			if code := caddyiis.RunCommand(&out, &errOut, "check", "--no-probe", "--config", file); code != 0 {
				t.Errorf("%s: exit code %d\n%s%s", task.task, code, &out, &errOut)
			}
		case "With lines in the block of iis":
			if _, err := ts.Adapt("{\niis {\n"+task.block+"}\n}\n", ""); err != nil {
				t.Errorf("%s: %v", task.task, err)
			}
		}
	}
}
