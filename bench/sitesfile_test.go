package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func TestChangedSitesFile(t *testing.T) {
	set, err := sites.Generate(t.TempDir(), sites.One, 3)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	s := &fileServer{caddy: &caddy{place: sites.Place{Port: 9443}}, set: set, file: file, next: file + ".new"}
	site, err := s.write("changed")
	if err != nil || site.Body() != "site:changed" || site.Host != set.Sites[2].Host {
		t.Errorf("the changed site is %+v (%v)", site, err)
	}
	text, err := os.ReadFile(s.next)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	want := `{"id":103,"name":"changed","secure_bindings":[":9443:host-2.example-2.test"],"certificate":"default"}`
	if len(lines) != 4 || lines[3] != want || strings.Count(string(text), "changed") != 1 {
		t.Errorf("the file is\n%s", text)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it is in its place already")
	}
}
