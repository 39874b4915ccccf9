package iisimport_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

var update = flag.Bool("update", false, "write the golden files")

// adapt has Caddy's adapter read a Caddyfile.
func adapt(t testing.TB, caddyfile []byte) []byte {
	t.Helper()
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("the Caddyfile does not adapt: %v\n%s", err, caddyfile)
	}
	return raw
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
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
}

// TestGolden imports each folder of testdata. A folder certificates below it has
// certificates; each folder is at C:\export.
func TestGolden(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || slices.Contains([]string{"malformed", "webcases", "samples"}, e.Name()) {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata", e.Name())
			server, err := iisconfig.ReadDir(os.DirFS(dir), iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			opts := iisimport.Options{Folders: []iisimport.Folder{{From: `C:\inetpub`, To: "/srv/www"}}}
			certs := filepath.Join(dir, "certificates")
			if _, err := os.Stat(certs); err == nil {
				if opts.Certificates, err = iisimport.FindCertificates(os.DirFS(certs), "certificates", ""); err != nil {
					t.Fatal(err)
				}
			}
			plan := iisimport.Import(server, opts)
			compare(t, dir+".golden.caddyfile", plan.Caddyfile())
			var report bytes.Buffer
			if err := plan.Report.WriteText(&report); err != nil {
				t.Fatal(err)
			}
			compare(t, dir+".golden.txt", report.Bytes())
			report.Reset()
			if err := plan.Report.WriteJSON(&report); err != nil {
				t.Fatal(err)
			}
			adapt(t, plan.Caddyfile())
		})
	}
}

// TestMalformed: a file that cannot be read is named with its line.
func TestMalformed(t *testing.T) {
	server, err := iisconfig.ReadDir(os.DirFS("testdata/malformed"), iisconfig.Options{})
	if server != nil || err == nil || !strings.Contains(err.Error(), "applicationHost.config:4: ") {
		t.Errorf("got %v, want an error at applicationHost.config:4", err)
	}
	raw, _, err := caddyconfig.GetAdapter("iis").Adapt([]byte("<configuration>\n<system.applicationHost>\n<sites>\n<site name='a' id='1'>"), map[string]any{"filename": "applicationHost.config"})
	if raw != nil || err == nil || !strings.Contains(err.Error(), "applicationHost.config:4: ") {
		t.Errorf("adapter: got %v", err)
	}
}

// manySites is an applicationHost.config.
func manySites(n int) []byte {
	var sb bytes.Buffer
	sb.WriteString("<configuration><system.applicationHost><sites>\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&sb, `<site name="Site %d" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\site%d" /></application>`, i, i, i)
		fmt.Fprintf(&sb, `<application path="/app"><virtualDirectory path="/" physicalPath="C:\inetpub\app%d" /></application>`, i)
		fmt.Fprintf(&sb, `<bindings><binding protocol="http" bindingInformation="*:80:www%d.example.com" /><binding protocol="https" bindingInformation="*:443:www%d.example.com" sslFlags="1" /></bindings></site>`+"\n", i, i)
	}
	sb.WriteString("</sites></system.applicationHost></configuration>\n")
	return sb.Bytes()
}

// BenchmarkImport imports 1,000 sites, down to the JSON.
func BenchmarkImport(b *testing.B) {
	data := manySites(1000)
	for b.Loop() {
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: data}}, iisconfig.Options{})
		if err != nil {
			b.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{})
		if len(plan.Sites) != 1000 {
			b.Fatal(len(plan.Sites))
		}
		adapt(b, plan.Caddyfile())
	}
}

// TestHostile: text of the source cannot reach the environment of Caddy or write
// lines of its own.
func TestHostile(t *testing.T) {
	t.Setenv("IIS_TEST_SECRET", "s3cret")
	data := []byte(`<configuration><system.applicationHost><sites><site name="a {$IIS_TEST_SECRET} &#10;}` + "`" + `" id="1">
<application path="/"><virtualDirectory path="/" physicalPath="C:\{$IIS_TEST_SECRET}\{env.IIS_TEST_SECRET}\" /></application>
<application path="/{$IIS_TEST_SECRET}"><virtualDirectory path="/" physicalPath="C:\x" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>
<system.webServer><httpProtocol><customHeaders><add name="X-A" value="{$IIS_TEST_SECRET}{env.IIS_TEST_SECRET}` + "`" + `&#10;respond pwned&quot;" /></customHeaders></httpProtocol>
<defaultDocument><files><add value="{env.IIS_TEST_SECRET}" /></files></defaultDocument></system.webServer></configuration>`)
	server, err := iisconfig.Read([]iisconfig.File{{Name: "a.config", Data: data}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{})
	raw := adapt(t, plan.Caddyfile())
	if bytes.Contains(raw, []byte("s3cret")) || bytes.Contains(raw, []byte(`"{env.IIS_TEST_SECRET}`)) || bytes.Contains(raw, []byte("static_response")) {
		t.Errorf("got %s", raw)
	}
}
