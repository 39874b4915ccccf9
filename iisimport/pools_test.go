package iisimport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestStoppedPools: an application whose pool was stopped answers 503, whatever letters name
// the pool, and others of the site go on.
func TestStoppedPools(t *testing.T) {
	for name, c := range map[string]struct {
		root, sub, stopped string
		want               string // of the root, and of the application below
	}{
		"none":                {root: "P", sub: "Q", stopped: "Z", want: "200 200"},
		"that below":          {root: "P", sub: "Q", stopped: "Q", want: "200 503"},
		"in other letters":    {root: "P", sub: "q", stopped: "Q", want: "200 503"},
		"the root":            {root: "q", sub: "P", stopped: "Q", want: "503 200"},
		"both":                {root: "Q", sub: "q", stopped: "Q", want: "503 503"},
		"of another site too": {root: "P", sub: "P", stopped: "P", want: "503 503"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, folder := range []string{"w", "s"} {
				if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, folder, "x.txt"), []byte(folder), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			host := fmt.Sprintf(`<configuration><system.applicationHost><applicationPools><add name="P" /><add name="Q" /><add name="Z" /></applicationPools><sites><site name="S" id="1">`+
				`<application path="/" applicationPool=%q><virtualDirectory path="/" physicalPath="C:\w" /></application>`+
				`<application path="/sub" applicationPool=%q><virtualDirectory path="/" physicalPath="C:\s" /></application>`+
				`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost></configuration>`, c.root, c.sub)
			server, err := iisconfig.Read([]iisconfig.File{
				{Name: "export/applicationHost.config", Data: []byte(host)},
				{Name: "export/states.txt", Data: fmt.Appendf(nil, "APPPOOL %q (MgdVersion:v4.0,MgdMode:Integrated,state:Stopped)\r\n", c.stopped)},
			}, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			addr := httpOnly(t, server)
			plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\`, To: dir}}})
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, body)
			var got []string
			for _, path := range []string{"/x.txt", "/sub/x.txt"} {
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(a.Status))
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s, want %s\n%s", text, c.want, plan.Caddyfile())
			}
		})
	}
}
