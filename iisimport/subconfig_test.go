package iisimport_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestNoSubConfig: where IIS does not read the web.config of a folder, it protects nothing
// there. What .NET reads of it by itself does: the application answers.
func TestNoSubConfig(t *testing.T) {
	const (
		denied = `<system.webServer><security><ipSecurity allowUnlisted="false" /></security></system.webServer>`
		ofNET  = `<system.web><authorization><deny users="?" /></authorization></system.web>`
	)
	for name, c := range map[string]struct{ attribute, web, want, server string }{
		"read":                   {"", denied, "403", ""},
		"read, as it says":       {`allowSubDirConfig="true"`, denied, "403", ""},
		"not read":               {`allowSubDirConfig="false"`, denied, "200", "Caddy"},
		"read by .NET":           {`allowSubDirConfig="false"`, ofNET, "200", "Worker/1"},
		"read by .NET, in parts": {`allowSubDirConfig="false"`, denied + ofNET, "200", "Worker/1"},
		"no XML":                 {`allowSubDirConfig="false"`, "<system.web>", "500", ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := strings.Replace(hostOf("", "", "", ""), `physicalPath="C:\w" `, `physicalPath="C:\w" `+c.attribute+" ", 1)
			file := iisconfig.File{Name: "export/w/dir/web.config", Data: []byte("<configuration>" + c.web + "</configuration>")}
			addr, plan := startHost(t, host, "", iisimport.Options{Upstream: workerOf(t)}, file)
			if got := statuses(t, addr, "/dir/x.txt", "/x.txt"); got != c.want+" 200" {
				t.Errorf("got %s, want %s 200\n%s", got, c.want, plan.Caddyfile())
			}
			a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/dir/x.txt"})
			if err != nil || c.server != "" && a.Header.Get("Server") != c.server {
				t.Errorf("%v, Server %q, want %q\n%s", err, a.Header.Get("Server"), c.server, plan.Caddyfile())
			}
			var told []string
			for _, l := range plan.Report.Lines {
				if strings.Contains(l.String(), "allowSubDirConfig") {
					told = append(told, string(l.Outcome)+" "+l.Source.File)
				}
			}
			want := ""
			if strings.Contains(c.attribute, "false") {
				want = "translated export/applicationHost.config, dropped export/w/dir/web.config"
			}
			if got := strings.Join(told, ", "); got != want {
				t.Errorf("the report tells %q, want %q", got, want)
			}
		})
	}
}
