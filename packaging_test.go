package caddyiis_test

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// packaged is the description of the packages for nfpm, as far as it is looked at.
type packaged struct {
	Contents []struct {
		Source string `yaml:"src"`
		Target string `yaml:"dst"`
		Type   string
		Info   struct{ Mode uint32 } `yaml:"file_info"`
	}
	Scripts   map[string]string
	RPM       struct{ Scripts map[string]string }
	Conflicts []string
	Replaces  []string
}

// TestPackages: packages have files that there are, each of them once, the units and all
// documents among them, and take no file of an administrator away at an update.
func TestPackages(t *testing.T) {
	raw, err := os.ReadFile("packaging/nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p packaged
	if err := yaml.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	targets := make(map[string]string)
	for _, c := range p.Contents {
		if _, twice := targets[c.Target]; twice {
			t.Errorf("%s is in the package twice", c.Target)
		}
		targets[c.Target] = c.Source
		if found, err := fs.Glob(os.DirFS("."), c.Source); c.Type != "dir" && !strings.HasPrefix(c.Source, "${") && (err != nil || len(found) == 0) {
			t.Errorf("there is no %s (%v)", c.Source, err)
		}
		if strings.HasPrefix(c.Target, "/etc/caddy/") && (c.Type != "config|noreplace" || c.Info.Mode&0o007 != 0) {
			t.Errorf("%s: an update replaces it, or everybody reads it: %s, %o", c.Target, c.Type, c.Info.Mode)
		}
	}
	units, err := fs.Glob(os.DirFS(unitFolder), "caddy*")
	if err != nil || len(units) != 3 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		if got := targets["/usr/lib/systemd/system/"+unit]; got != path.Join(unitFolder, unit) {
			t.Errorf("the unit %s comes from %q", unit, got)
		}
	}
	const documents = "/usr/share/doc/caddy-iis/"
	for target, source := range map[string]string{documents + "docs": "docs", documents + "examples": "examples", "/usr/bin/caddy": "${PROGRAM}"} {
		if targets[target] != source {
			t.Errorf("%s comes from %q, not %s", target, targets[target], source)
		}
	}
	// With "replaces", dpkg removes Caddy's own package after it has unpacked this one, and
	// with it the units, which the two have by two names of one folder. The Caddyfile that
	// it leaves would be asked about, were it a file of this package.
	if !slices.Contains(p.Conflicts, "caddy") || len(p.Replaces) > 0 || targets["/etc/caddy/Caddyfile"] != "" {
		t.Errorf("beside Caddy's own package: conflicts %q, replaces %q, %q", p.Conflicts, p.Replaces, targets["/etc/caddy/Caddyfile"])
	}
	maps.Copy(p.Scripts, p.RPM.Scripts)
	for _, when := range []string{"postinstall", "preremove", "postremove", "posttrans"} {
		if p.Scripts[when] == "" {
			t.Errorf("there is no script %s", when)
		}
	}
	for when, script := range p.Scripts {
		if _, err := os.Stat(script); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}
