package iisimport_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func readFile(name string) (*iisconfig.Server, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return iisconfig.Read([]iisconfig.File{{Name: filepath.Base(name), Data: data}}, iisconfig.Options{})
}

// shape counts the sites and bindings of a configuration.
func shape(t *testing.T, raw []byte) (sites, bindings int) {
	var cfg struct {
		Apps struct {
			IIS struct {
				Sites map[string]struct {
					Bindings []json.RawMessage `json:"bindings"`
				} `json:"sites"`
			} `json:"iis"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Apps.IIS.Sites {
		bindings += len(s.Bindings)
	}
	return len(cfg.Apps.IIS.Sites), bindings
}

// TestFixtures imports every real file: it has as many sites and bindings as the
// model, and the result adapts.
func TestFixtures(t *testing.T) {
	fixtures := needs.Fixtures(t)
	imported := 0
	err := filepath.WalkDir(fixtures, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(name) == "INDEX.md" {
			return err
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			server, err := readFile(name)
			if strings.Contains(name, "missing_closing") || strings.Contains(name, "sample99") {
				if err == nil || !strings.Contains(err.Error(), filepath.Base(name)+":") {
					t.Errorf("got %v, want an error with file and line", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			bindings := 0
			for _, s := range server.Sites {
				for _, b := range s.Bindings {
					if b.Parsed != nil {
						bindings++
					}
				}
			}
			plan := iisimport.Import(server, iisimport.Options{})
			gotSites, gotBindings := shape(t, adapt(t, plan.Caddyfile()))
			if gotSites != len(server.Sites) || gotBindings != bindings {
				t.Errorf("%d sites with %d bindings, want %d with %d", gotSites, gotBindings, len(server.Sites), bindings)
			}
			for _, f := range plan.Report.Findings {
				if f.Severity == binding.Error {
					t.Errorf("check: %s", f)
				}
			}
			imported += gotSites
		})
		return nil
	})
	if err != nil || imported < 60 {
		t.Errorf("%d sites imported, %v", imported, err)
	}
}

// TestFixturesLoad loads every real file, all its ports replaced by free ones: what is
// imported never keeps Caddy from starting.
func TestFixturesLoad(t *testing.T) {
	loaded := 0
	err := filepath.WalkDir(needs.Fixtures(t), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		server, err := readFile(name)
		if err != nil || len(server.Sites) == 0 {
			return nil // TestFixtures knows which cannot be read
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			ports := make(map[uint16]uint16)
			for _, s := range server.Sites {
				for _, b := range s.Bindings {
					if b.Parsed == nil {
						continue
					}
					if ports[b.Parsed.Port] == 0 {
						ports[b.Parsed.Port] = uint16(ts.FreePort(t))
					}
					b.Parsed.Port, b.Parsed.IP = ports[b.Parsed.Port], binding.Binding{}.IP
				}
			}
			plan := iisimport.Import(server, iisimport.Options{})
			for _, c := range plan.Certificates {
				c.File, c.KeyFile = ts.PEM(t, c.Name)
			}
			caddyfile := string(plan.Caddyfile())
			ts.Start(t, caddyfile[strings.Index(caddyfile, "\n{\n"):])
			loaded++
		})
		return nil
	})
	if err != nil || loaded < 15 {
		t.Errorf("%d files loaded, %v", loaded, err)
	}
}

// TestRun serves real configurations on loopback, each port replaced by a free one,
// and makes a request to each site.
func TestRun(t *testing.T) {
	fixtures := needs.Fixtures(t)
	for _, name := range []string{"MarkKharitonov-bom.config", "IdentityManager.config", "jexus-original.config", "jexus-original2.config", "xd7director.config"} {
		t.Run(name, func(t *testing.T) {
			server, err := readFile(filepath.Join(fixtures, "applicationhost", name))
			if err != nil {
				t.Fatal(err)
			}
			serve(t, server)
		})
	}
}

// serve runs an imported server. Each site's folder has a default document with
// the site's id.
func serve(t *testing.T, server *iisconfig.Server) {
	t.Helper()
	ports := make(map[uint16]uint16)
	dir := t.TempDir()
	for i, s := range server.Sites {
		for _, b := range s.Bindings {
			if b.Parsed == nil {
				continue
			}
			if ports[b.Parsed.Port] == 0 {
				ports[b.Parsed.Port] = uint16(ts.FreePort(t))
			}
			b.Parsed.Port = ports[b.Parsed.Port]
		}
		folder := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"Default.htm", "index.htm", "index.html", "iisstart.htm"} {
			if err := os.WriteFile(filepath.Join(folder, file), fmt.Appendf(nil, "site %d", s.ID), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, app := range s.Applications {
			for _, v := range app.VirtualDirectories {
				v.PhysicalPath = folder
			}
		}
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "worker") }))
	defer worker.Close()
	plan := iisimport.Import(server, iisimport.Options{Upstream: worker.Listener.Addr().String()})
	for _, c := range plan.Certificates {
		c.File, c.KeyFile = ts.PEM(t, c.Name)
	}
	caddyfile := string(plan.Caddyfile())
	ts.Start(t, caddyfile[strings.Index(caddyfile, "\n{\n"):])
	requests := 0
	for _, s := range plan.Sites {
		if s.Stopped {
			continue
		}
		for _, b := range s.Bindings {
			r := ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", b.Parsed.Port), Host: b.Parsed.Host, Plain: b.Parsed.Protocol == binding.HTTP}
			if !r.Plain {
				r.SNI = b.Parsed.Host
			}
			a, err := ts.Do(r)
			if err != nil {
				t.Errorf("%s: %v", b.Parsed, err)
				continue
			}
			requests++
			want := fmt.Sprintf("site %d", s.ID)
			if slices.Contains(plan.Report.Summary.WorkerSites, want+" "+s.Name) {
				want = "worker"
			}
			if settings := server.SiteByName(s.Name).At("/"); settings.AspNetCore != nil && want != "worker" {
				// Nobody knows what its web.config protects.
				if a.Status != 403 {
					t.Errorf("%s: %s, want 403", b.Parsed, a)
				}
				continue
			}
			if a.Status != 200 || a.Body != want {
				t.Errorf("%s: %s, want 200 %q", b.Parsed, a, want)
			}
		}
	}
	if requests == 0 {
		t.Error("no site was asked")
	}
}
