package iisconfig

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// effective is what At gives for every configured path, and for the paths of
// applications, which inherit less.
func effective(s *Server) map[string]*Settings {
	out := make(map[string]*Settings)
	for _, site := range s.Sites {
		for _, c := range site.Configured {
			out[joinScope(site.Name, c.Path)] = site.At(c.Path)
		}
		for _, app := range site.Applications {
			if len(site.Configured) > 0 {
				out[joinScope(site.Name, app.Path)] = site.At(app.Path)
			}
		}
	}
	return out
}

type golden struct {
	Server    *Server              `json:"server"`
	Effective map[string]*Settings `json:"effective,omitempty"`
	Records   map[string]string    `json:"records,omitempty"` // of bindings
}

func goldenOf(t *testing.T, s *Server) []byte {
	t.Helper()
	g := golden{Server: s, Effective: effective(s), Records: make(map[string]string)}
	for _, site := range s.Sites {
		for _, b := range site.Bindings {
			if b.Record != nil {
				g.Records[site.Name+" "+b.Protocol+" "+b.Information] = string(b.Record.Kind) + " " + b.Record.Key
			}
		}
	}
	out, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestGolden(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || name == "fuzz" || name == "malformed" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, err := ReadDir(os.DirFS(filepath.Join("testdata", name)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := goldenOf(t, s)
			file := filepath.Join("testdata", name+".golden.json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s differs; see the difference with: go test -update && git diff", file)
			}
		})
	}
}
