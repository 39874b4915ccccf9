package iisimport_test

import (
	"fmt"
	"net/http"
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

// TestPoolsWithoutNET: where the application pool runs no .NET, or another version, nothing
// reads what is of .NET, nor do its handlers exist.
func TestPoolsWithoutNET(t *testing.T) {
	const (
		settings = `<system.web><customErrors mode="Off"/></system.web><appSettings/><connectionStrings/>`
		handler  = `<system.webServer><handlers><add name="h" path="*.txt" verb="*" type="A.B" preCondition="integratedMode,%s" /></handlers></system.webServer>`
		files    = `<system.webServer><handlers><add name="h" path="*.net" verb="*" type="System.Web.StaticFileHandler" /></handlers></system.webServer>`
	)
	for _, c := range []struct {
		pool, web string
		files     bool // what is there is sent, and not asked for at the worker process
	}{
		{`managedRuntimeVersion=""`, settings, true},
		{`managedRuntimeVersion="v4.0"`, settings, false},
		{``, settings, false},
		{`managedRuntimeVersion=""`, settings + files, false},
		{`managedRuntimeVersion=""`, fmt.Sprintf(handler, "runtimeVersionv4.0"), true},
		{`managedRuntimeVersion="v2.0"`, fmt.Sprintf(handler, "runtimeVersionv4.0"), true},
		{`managedRuntimeVersion="v4.0"`, fmt.Sprintf(handler, "runtimeVersionv2.0"), true},
		{`managedRuntimeVersion="v4.0"`, fmt.Sprintf(handler, "runtimeVersionv4.0"), false},
		{``, fmt.Sprintf(handler, "runtimeVersionv4.0"), false},
	} {
		host := strings.Replace(hostOf("", `applicationPool="p"`, "", ""), "<sites>", `<applicationPools><add name="p" `+c.pool+` /></applicationPools><sites>`, 1)
		addr, plan := startHost(t, host, c.web, iisimport.Options{Upstream: workerOf(t)})
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/x.txt"})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Status == http.StatusOK && a.Header.Get("Server") == "Caddy"; got != c.files {
			t.Errorf("pool %s, %s: the file is sent: %v, want %v\n%s", c.pool, c.web, got, c.files, plan.Caddyfile())
		}
		var told []string
		for _, l := range plan.Report.Lines {
			if l.Outcome == iisimport.Dropped && strings.Contains(l.Message, "No Managed Code") {
				told = append(told, strings.TrimPrefix(l.What, "the section "))
			}
		}
		want := ""
		if c.files && c.web == settings {
			want = "system.web appSettings connectionStrings"
		}
		if got := strings.Join(told, " "); got != want {
			t.Errorf("pool %s, %s: the report tells of %q, want %q", c.pool, c.web, got, want)
		}
	}
}
