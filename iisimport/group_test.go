package iisimport_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// sitesIn returns the sites of an adapted Caddyfile, each with what its template has, and
// how many have one.
func sitesIn(t *testing.T, caddyfile []byte) (sites map[string]map[string]any, grouped int) {
	t.Helper()
	var cfg struct {
		Apps struct {
			IIS struct {
				Sites     map[string]map[string]any `json:"sites"`
				Templates map[string]map[string]any `json:"templates"`
			} `json:"iis"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(adapt(t, caddyfile), &cfg); err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Apps.IIS.Sites {
		name, ok := s["template"].(string)
		if !ok {
			continue
		}
		grouped++
		vars, _ := s["vars"].(map[string]any)
		delete(s, "template")
		delete(s, "vars")
		of := cfg.Apps.IIS.Templates[name]
		for key, value := range of {
			if key != "site_vars" {
				s[key] = filled(value, vars)
			}
		}
	}
	return cfg.Apps.IIS.Sites, grouped
}

// filled puts the values of variables into decoded JSON.
func filled(node any, vars map[string]any) any {
	switch node := node.(type) {
	case string:
		for name, value := range vars {
			placeholder := "{iis.vars." + name + "}"
			if strings.Contains(node, placeholder) {
				node = strings.ReplaceAll(node, placeholder, iisimport.Literal(fmt.Sprint(value)))
			}
		}
		return node
	case []any:
		out := make([]any, len(node))
		for i, item := range node {
			out[i] = filled(item, vars)
		}
		return out
	case map[string]any:
		out := make(map[string]any)
		for key, item := range node {
			out[key] = filled(item, vars)
		}
		return out
	}
	return node
}

// sameGrouped compares the sites of a plan with what they would be without templates.
func sameGrouped(t *testing.T, plan *iisimport.Plan) (grouped int) {
	t.Helper()
	want, _ := sitesIn(t, plan.Ungrouped())
	got, grouped := sitesIn(t, plan.Caddyfile())
	for id := range want {
		if !reflect.DeepEqual(got[id], want[id]) {
			g, _ := json.MarshalIndent(got[id], "", " ")
			w, _ := json.MarshalIndent(want[id], "", " ")
			t.Errorf("site %s is not the same in its template:\n%s\nwant\n%s", id, g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d sites, want %d", len(got), len(want))
	}
	return grouped
}

func lineCount(text []byte) int { return bytes.Count(text, []byte("\n")) }

// TestGroupedFixtures: in real files, templates change nothing but the length.
func TestGroupedFixtures(t *testing.T) {
	grouped, before, after := 0, 0, 0
	err := filepath.WalkDir(needs.Fixtures(t), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		server, err := readFile(name)
		if err != nil || len(server.Sites) == 0 {
			return nil // TestFixtures knows which cannot be read
		}
		plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\inetpub`, To: "/srv/www"}}})
		grouped += sameGrouped(t, plan)
		before, after = before+lineCount(plan.Ungrouped()), after+lineCount(plan.Caddyfile())
		return nil
	})
	t.Logf("%d sites have templates; %d lines instead of %d", grouped, after, before)
	if err != nil || grouped < 15 || after > before {
		t.Errorf("%d sites in templates, %d lines instead of %d, %v", grouped, after, before, err)
	}
}

// TestManyAlike: sites that differ in names, hosts and folders cost their bindings and
// folders.
func TestManyAlike(t *testing.T) {
	const n = 200
	server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: manySites(n)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, folders := range [][]iisimport.Folder{nil, {{From: `C:\inetpub`, To: "/srv/www"}}} {
		plan := iisimport.Import(server, iisimport.Options{Folders: folders})
		before, after := lineCount(plan.Ungrouped()), lineCount(plan.Caddyfile())
		t.Logf("%d lines instead of %d", after, before)
		if grouped := sameGrouped(t, plan); grouped != n || len(plan.Templates) != 1 {
			t.Errorf("%d sites in %d templates", grouped, len(plan.Templates))
		}
		if after > 18*n {
			t.Errorf("%d lines for %d sites", after, n)
		}
	}
}

// TestGroupedServed serves sites that are alike but for their folders, where rules ask
// for files, and asks for files of each and of the other.
func TestGroupedServed(t *testing.T) {
	dir := t.TempDir()
	web := `<configuration><system.webServer>
<rewrite><rules><rule name="spa" stopProcessing="true"><match url="(.*)" /><conditions>
<add input="{REQUEST_FILENAME}" matchType="IsFile" negate="true" />
<add input="{REQUEST_FILENAME}" pattern="inetpub.(site\d)" />
</conditions><action type="Rewrite" url="/of-{C:1}.html" /></rule></rules></rewrite>
<httpErrors errorMode="Custom"><error statusCode="404" path="missing.html" responseMode="File" /></httpErrors>
</system.webServer></configuration>`
	files := []iisconfig.File{{Name: "export/applicationHost.config", Data: manySites(3)}}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("site%d", i)
		files = append(files, iisconfig.File{Name: "export/inetpub/" + name + "/web.config", Data: []byte(web)})
		for _, file := range []string{name + "/a.txt", name + "/of-" + name + ".html", name + "/own" + fmt.Sprint(i) + ".txt", fmt.Sprintf("app%d/b.txt", i)} {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}})
	if grouped := sameGrouped(t, plan); grouped != 3 {
		t.Fatalf("%d sites are alike", grouped)
	}
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("site%d", i)
		for path, want := range map[string]string{
			"/a.txt":                       name + "/a.txt",
			"/nothing":                     name + "/of-" + name + ".html",
			fmt.Sprintf("/own%d.txt", i):   name + fmt.Sprintf("/own%d.txt", i),
			fmt.Sprintf("/own%d.txt", i+1): name + "/of-" + name + ".html",
			"/app/b.txt":                   fmt.Sprintf("app%d/b.txt", i),
		} {
			a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: fmt.Sprintf("www%d.example.com", i), Path: path})
			if err != nil || a.Status != http.StatusOK || a.Body != want {
				t.Errorf("site %d %s: %v %v, want %s", i, path, a, err, want)
			}
		}
	}
}

// TestBelow: what bounds the folders of a template is never a whole drive, share or file
// system.
func TestBelow(t *testing.T) {
	for _, c := range []struct{ folders, want string }{
		{"/srv/www/a /srv/www/b", "/srv/www"},
		{"/srv/www/a /srv/b", "/srv"},
		{"/srv/a /var/www/a", "/srv /var/www"},
		{"/a /b", "/a /b"},
		{"/a/x /a", "/a"},
		{"/ /a", ""},
		{`C:\sites\a D:\a`, `C:\sites D:\a`},
		{`C:\a C:\b`, `C:\a C:\b`},
		{`C:\Sites\a c:\sites\b`, `C:\Sites`},
		{`C:\a C:\`, ""},
		{`\\s\share\a \\s\share\b\c`, `\\s\share\a \\s\share\b`},
		{"C:\\\u0130nternet C:\\\u0130nternet\\b", "C:\\\u0130nternet"},
		{`\\s\share`, ""},
		{`\\s\share\`, ""},
	} {
		if got := strings.Join(iisimport.Below(strings.Fields(c.folders)), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.folders, got, c.want)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`D:\site%d`, i))
	}
	if got := iisimport.Below(many); got != nil {
		t.Errorf("got %d folders", len(got))
	}
}

// TestGroupsLeaveOut: sites whose folders no template can have, and those beyond what bounds
// one, do not take the template from the others.
func TestGroupsLeaveOut(t *testing.T) {
	var sites strings.Builder
	const n = 150
	for i := range n + 1 {
		folder := fmt.Sprintf(`D:\top%d\www`, i)
		if i == 5 {
			folder = `D:\`
		}
		fmt.Fprintf(&sites, `<site name="s%d" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="%s" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:s%d.test" /></bindings></site>`, i, i+1, folder, i)
	}
	server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(
		`<configuration><system.applicationHost><sites>` + sites.String() + `</sites></system.applicationHost></configuration>`)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{})
	if grouped := sameGrouped(t, plan); grouped != n || len(plan.Templates) != 3 {
		t.Errorf("%d sites in %d templates, want %d in 3", grouped, len(plan.Templates), n)
	}
}
