package caddyiis_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
)

// TestOutput: the files of --output and --sites are what they were before a command that
// fails or is not told to replace them, and then nothing else is written either.
func TestOutput(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	export := "export.config"
	if err := os.WriteFile(export, []byte(importedSite), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("broken.config", []byte("<configuration><system.applicationHost>"), 0o600); err != nil {
		t.Fatal(err)
	}
	const edited = "# edited\n"
	for _, c := range []struct {
		name string
		args string
		code int
		says string
		kept []string // files that were there and stay
		made []string // files that are new
	}{
		{"a new file", "import --output Caddyfile export.config", 0, "", nil, []string{"Caddyfile"}},
		{"a file that is there", "import --output Caddyfile --report report --environment env --services units export.config", 1, "Caddyfile is there already: name another file, or add --force", []string{"Caddyfile"}, nil},
		{"a failure", "import --output Caddyfile --force broken.config", 1, "broken.config", []string{"Caddyfile"}, nil},
		{"replaced", "import --output Caddyfile --force export.config", 0, "", nil, []string{"Caddyfile"}},
		{"as JSON", "import --format json --output caddy.json export.config", 0, "", nil, []string{"caddy.json"}},
		{"sites", "import --to sites-file --output Caddyfile export.config", 0, "", nil, []string{"Caddyfile", "sites.jsonl"}},
		{"sites that are there", "import --to sites-file --output Caddyfile export.config", 1, "sites.jsonl is there already: name another file, or add --force", []string{"sites.jsonl"}, nil},
		{"sites of a source", "import --to bolt export.config", 1, "sites.jsonl is there already", []string{"sites.jsonl"}, nil},
		{"sites replaced", "import --to sites-file --force export.config", 0, "", nil, []string{"sites.jsonl"}},
		{"sites that would be the Caddyfile", "import --to sites-file --output sites.jsonl export.config", 1, "sites.jsonl is there already", nil, []string{"sites.jsonl"}},
		{"force for nothing", "import --force export.config", 2, "--force is for --output", nil, nil},
		{"no database", "sites export --file sites.db --output sites.jsonl --force", 1, "sites.db", []string{"sites.jsonl"}, nil},
		{"no Caddy", "sites export --address 127.0.0.1:1 --output sites.jsonl --force", 1, "", []string{"sites.jsonl"}, nil},
		{"export: force for nothing", "sites export --force", 2, "--force is for --output", nil, nil},
		{"config: a file that is there", "config --config export.json --output Caddyfile", 1, "Caddyfile is there already", []string{"Caddyfile"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			work := filepath.Join(dir, "work")
			if err := os.RemoveAll(work); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(work, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Chdir(work)
			for _, name := range []string{export, "broken.config"} {
				if err := os.Link(filepath.Join(dir, name), name); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(c.name, "replaced") {
				c.kept = append(c.kept, c.made...)
			}
			for _, name := range c.kept {
				if err := os.WriteFile(name, []byte(edited), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out, errOut bytes.Buffer
			if code := caddyiis.RunCommand(&out, &errOut, strings.Fields(c.args)...); code != c.code || !strings.Contains(errOut.String(), c.says) {
				t.Errorf("exit code %d, %s; want %d, %s", code, &errOut, c.code, c.says)
			}
			there := 2 + len(c.made)
			for _, name := range c.made {
				if text, err := os.ReadFile(name); err != nil || len(text) < 20 || string(text) == edited {
					t.Errorf("%s: %q, %v", name, text, err)
				}
			}
			if c.code != 0 {
				for _, name := range c.kept {
					if text, err := os.ReadFile(name); err != nil || string(text) != edited {
						t.Errorf("%s: %q, %v", name, text, err)
					}
				}
				there += len(c.kept)
			}
			list, err := os.ReadDir(".")
			if err != nil || len(list) != there {
				t.Errorf("%v, %v: want %d files", list, err, there)
			}
		})
	}
}
