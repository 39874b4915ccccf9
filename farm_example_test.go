//go:build unix

package caddyiis_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// TestFarmCaddyfile: the example of a node is a Caddyfile.
func TestFarmCaddyfile(t *testing.T) {
	raw, err := os.ReadFile("examples/farm/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(raw, map[string]any{"filename": "Caddyfile"}); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", warnings, err)
	}
}

// TestFarmPanel: the panel of the examples adds, removes and lists sites as docs/farm.md
// shows it, with the rights that it says; and a dump brings everything back.
func TestFarmPanel(t *testing.T) {
	n := startFarmNode(t, "allow {\nports 80 443\n}")
	if err := n.Load(n.config(`template files {
		site_vars {
			root {
				below /srv/sites
			}
		}
		root * {iis.vars.root}
		file_server
	}`)); err != nil {
		t.Fatal(err)
	}
	n.sql("create role panel login in role iis_panel")
	bin := needs.Postgres(t)
	panel := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.Command("examples/farm/panel", args...)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "DATABASE="+strings.Replace(n.connection, "admin@", "panel@", 1))
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("panel %q: exit code %d, want %d: %s", args, got, code, out)
		}
		return string(out)
	}
	page, err := os.ReadFile("docs/farm.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^\$ panel (.*)\n(.*)$`).FindAllStringSubmatch(string(page), -1)
	if len(shown) != 2 {
		t.Fatalf("%q", shown)
	}
	for i, example := range shown {
		if out := panel([]int{0, 3}[i], strings.Fields(example[1])...); strings.TrimSpace(out) != strings.TrimSpace(example[2]) && !strings.HasPrefix(out, example[2]) {
			t.Errorf("panel %s: got %q, the page has %q", example[1], out, example[2])
		}
	}
	if out := panel(3, "add", "1003", "x'); drop table iis.site; --", "/srv/sites/x"); !strings.Contains(out, "refused") {
		t.Errorf("got %q", out)
	}
	if out := panel(0, "list"); out != "1001|bakery.customers.example.com\n" {
		t.Errorf("got %q", out)
	}
	if out := panel(0, "refused"); strings.Count(out, "\n") < 2 || !strings.Contains(out, "1002|") || !strings.Contains(out, "1003|") {
		t.Errorf("got %q", out)
	}
	panel(0, "remove", "1003")
	panel(2, "nonsense")

	copied := n.engine.Database("copied")
	dump := filepath.Join(t.TempDir(), "dump.sql")
	for _, args := range [][]string{{"pg_dump", "--schema=iis", "--file", dump, n.connection}, {"psql", "-v", "ON_ERROR_STOP=1", "-q", "-f", dump, copied}} {
		if out, err := exec.Command(filepath.Join(bin, args[0]), args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	n.engine.Exec(copied, `insert into iis.site (id, doc) values (7, '{}'); do $$ begin
		assert (select rev = (select max(rev) from iis.revision) from iis.head); assert (select count(*) from iis.served) = 1; end $$`)
}
