package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// coreSites are sites of ASP.NET Core, each with its web.config in a folder of its own.
func coreSites(t *testing.T, opts iisimport.Options, webs ...string) (*iisconfig.Server, *iisimport.Plan) {
	t.Helper()
	var sites strings.Builder
	files := []iisconfig.File{{}}
	for i, web := range webs {
		name := fmt.Sprintf("s%d", i+1)
		fmt.Fprintf(&sites, `<site name="%[1]s" id="%[2]d"><application path="/" applicationPool="Pool%[2]d"><virtualDirectory path="/" physicalPath="C:\web\%[1]s" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:%[1]s.test" /></bindings></site>`, name, i+1)
		files = append(files, iisconfig.File{Name: "export/web/" + name + "/web.config", Data: []byte(`<configuration><system.webServer>` + web + `</system.webServer></configuration>`)})
	}
	files[0] = iisconfig.File{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>` + sites.String() + `</sites></system.applicationHost></configuration>`)}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return server, iisimport.Import(server, opts)
}

func core(attributes, variables string) string {
	return `<handlers><add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore ` + attributes + `>` + variables + `</aspNetCore>`
}

// TestServices: a program of ASP.NET Core has a unit that systemd takes, with its secrets in
// a file of their own alone, and sites that differ in nothing but their programs share a template.
func TestServices(t *testing.T) {
	needs.SystemdAnalyze(t)
	const secret = "p$ss%w0rd\"`\\"
	dir := t.TempDir()
	for i := range 4 {
		app := filepath.Join(dir, fmt.Sprintf("s%d", i+1), "App")
		if err := os.MkdirAll(filepath.Dir(app), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(app, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	opts := iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: dir}}}
	_, plan := coreSites(t, opts,
		core(`processPath=".\App.exe" arguments="--name &quot;a b&quot; --rate 100% $HOME ; %ASPNETCORE_PORT% C:\web\s1\x.dll" startupTimeLimit="60" shutdownTimeLimit="7" rapidFailsPerMinute="3" stdoutLogEnabled="true"`,
			`<environmentVariables><environmentVariable name="ConnectionStrings:Main" value="p$ss%w0rd&quot;`+"`"+`\" /><environmentVariable name="ASPNETCORE_URLS" value="http://*:1" /></environmentVariables>`),
		core(`processPath="C:\web\s2\App.exe"`, ``), core(`processPath=".\App.exe"`, ``), core(`processPath=".\App.exe"`, ``))
	if len(plan.Services) != 4 {
		t.Fatalf("%d services: %v", len(plan.Services), plan.Report.Lines)
	}
	units := t.TempDir()
	var names []string
	for _, s := range plan.Services {
		file := filepath.Join(units, s.Name+".service")
		if err := os.WriteFile(file, s.Unit, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, file)
		if strings.Contains(string(s.Unit), "w0rd") {
			t.Errorf("a secret is in the unit:\n%s", s.Unit)
		}
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--recursive-errors=no", "--man=no"}, names...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "iis-s") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	first, port := string(plan.Services[0].Unit), portOf(plan.Services[0])
	for _, want := range []string{
		"\nExecStart=" + dir + `/s1/App "--name" "a b" "--rate" "100%%" "$$HOME" ";" "` + port + `" "` + dir + `/s1/x.dll"` + "\n",
		"\nWorkingDirectory=" + dir + "/s1\n", "\nTimeoutStartSec=60\n", "\nTimeoutStopSec=7\n", "\nStartLimitBurst=3\n", "\nStandardOutput=journal\n",
		"\nEnvironmentFile=/etc/caddy/iis-1-s1.env\n", "ASPNETCORE_URLS=http://127.0.0.1:" + port + " ASPNETCORE_PREFERHOSTINGURLS=true ",
		"\nSocketBindAllow=tcp:" + port + "\nSocketBindDeny=any\n",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if second := string(plan.Services[1].Unit); !strings.Contains(second, "\nTimeoutStartSec=120\n") || !strings.Contains(second, "\nStandardOutput=null\n") || strings.Contains(second, "EnvironmentFile") {
		t.Error(second)
	}
	if got := string(plan.Services[0].Environment); strings.Contains(got, "URLS") || readEnvironment(t, plan.Services[0].Environment, "ConnectionStrings__Main") != secret {
		t.Errorf("environment: %s", got)
	}
	caddyfile := string(plan.Caddyfile())
	for _, line := range plan.Report.Lines {
		if strings.Contains(line.String(), "w0rd") {
			t.Errorf("a secret is in the report: %s", line)
		}
	}
	if strings.Contains(caddyfile, "w0rd") || strings.Contains(caddyfile, "IIS_UPSTREAM:") || plan.Report.Summary.Places.Upstreams != 0 {
		t.Errorf("%d upstreams\n%s", plan.Report.Summary.Places.Upstreams, caddyfile)
	}
	addresses := make([]string, 0, len(plan.Services))
	for _, s := range plan.Services {
		addresses = append(addresses, s.Address)
	}
	slices.Sort(addresses)
	if strings.Count(caddyfile, "reverse_proxy") != 1 || !strings.Contains(caddyfile, "to "+strings.Join(addresses, " ")+"\n") {
		t.Errorf("no template:\n%s", caddyfile)
	}
	adapt(t, plan.Caddyfile())
}

func portOf(s *iisimport.Service) string { return s.Address[strings.LastIndexByte(s.Address, ':')+1:] }

// TestServiceIsKept: another import gives an application what it has, whatever other sites
// there are, and none of it to two; no rule and no farm asks a service.
func TestServiceIsKept(t *testing.T) {
	opts := iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}}
	read := func(ids ...int) map[string]*iisimport.Service {
		var sites strings.Builder
		files := []iisconfig.File{{}}
		for _, id := range ids {
			fmt.Fprintf(&sites, `<site name="same" id="%[1]d"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\%[1]d" /></application></site>`, id)
			files = append(files, iisconfig.File{Name: fmt.Sprintf("export/web/%d/web.config", id), Data: []byte(`<configuration><system.webServer>` + core(`processPath="dotnet"`, ``) + `</system.webServer></configuration>`)})
		}
		files[0] = iisconfig.File{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>` + sites.String() + `</sites></system.applicationHost></configuration>`)}
		server, err := iisconfig.Read(files, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, addresses := make(map[string]*iisimport.Service), make(map[string]bool)
		for _, s := range iisimport.Import(server, opts).Services {
			out[s.Name], addresses[s.Address] = s, true
		}
		if len(out) != len(ids) || len(addresses) != len(ids) {
			t.Fatalf("%d names, %d addresses of %d", len(out), len(addresses), len(ids))
		}
		return out
	}
	all := read(1, 2, 3)
	for name, s := range read(2, 3) {
		if all[name] == nil || all[name].Address != s.Address {
			t.Errorf("%s at %s was %v", name, s.Address, all[name])
		}
	}
	many := make([]int, 300)
	for i := range many {
		many[i] = i + 1
	}
	read(many...)

	own := core(`processPath="dotnet"`, ``)
	_, plan := coreSites(t, opts, own)
	taken := plan.Services[0].Address
	rule := `<rewrite><rules><rule name="r"><match url=".*" /><action type="Rewrite" url="http://localhost:` + portOf(plan.Services[0]) + `/" /></rule></rules></rewrite>`
	if _, plan = coreSites(t, opts, own, rule); plan.Services[0].Address == taken {
		t.Errorf("%s is that of a rule", taken)
	}
}

// TestServiceOfApplication: IIS starts one program for an application, which is asked below
// it as well; what its path or Kestrel's own settings say opens nothing.
func TestServiceOfApplication(t *testing.T) {
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="s" id="1">
			<application path="/"><virtualDirectory path="/" physicalPath="C:\web\s" /></application>
			<application path="/x&#10;ExecStartPre=+/bin/true&#10;"><virtualDirectory path="/" physicalPath="C:\web\x" /></application></site></sites></system.applicationHost></configuration>`)},
		{Name: "export/web/s/web.config", Data: []byte(`<configuration><system.webServer>` + core(`processPath="dotnet" arguments="Web.dll --password=secret"`,
			`<environmentVariables><environmentVariable name="Kestrel:Endpoints:Http:Url" value="http://*:5000" /></environmentVariables>`) + `</system.webServer>
			<location path="api"><system.webServer><aspNetCore processPath="dotnet" arguments="Api.dll" /></system.webServer></location></configuration>`)},
		{Name: "export/web/x/web.config", Data: []byte(`<configuration><system.webServer>` + core(`processPath="dotnet"`, ``) + `</system.webServer></configuration>`)},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}})
	if len(plan.Services) != 2 {
		t.Fatalf("%d services", len(plan.Services))
	}
	told := false
	for _, line := range plan.Report.Lines {
		told = told || line.What == "program of /api"
		if strings.Contains(line.String(), "secret") {
			t.Errorf("the report: %s", line)
		}
	}
	if !told {
		t.Error("nothing is said of the program that is not started")
	}
	for _, s := range plan.Services {
		if strings.Contains(string(s.Unit), "\nExecStartPre") || strings.Contains(string(s.Environment), "Kestrel") {
			t.Errorf("%s%s", s.Unit, s.Environment)
		}
	}
	if text := string(plan.Caddyfile()); strings.Contains(text, "secret") {
		t.Error(text)
	}
	adapt(t, plan.Caddyfile())
}

// readEnvironment reads a variable as a shell does, whose quotes those of systemd are.
func readEnvironment(t *testing.T, file []byte, name string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(at, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$1"; eval "printf %s \"\$$2\""`, "sh", at, name).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	return string(out)
}

// TestServiceEnvironment: whatever a value is, the program gets it or the report names its
// variable.
func TestServiceEnvironment(t *testing.T) {
	needs.Shell(t)
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.StringOfN(rapid.RuneFrom([]rune("ab %$\"'`\\;#\t{}ä=!&<>")), 1, 12, -1).Draw(r, "value")
		escaped := strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", "\t", "&#9;").Replace(value)
		_, plan := coreSites(t, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}},
			core(`processPath="dotnet" arguments="a.dll"`, `<environmentVariables><environmentVariable name="A" value="`+escaped+`" /></environmentVariables>`))
		s := plan.Services[0]
		if s.Environment == nil {
			for _, line := range plan.Report.Lines {
				if line.What == "environment variable A" {
					return
				}
			}
			r.Fatalf("%q is lost", value)
		}
		if got := readEnvironment(t, s.Environment, "A"); got != value {
			r.Fatalf("%q became %q in %s", value, got, s.Environment)
		}
	})
}

// TestServiceArguments: the words of a command line are those that a program of Windows gets.
func TestServiceArguments(t *testing.T) {
	for line, want := range map[string]string{
		`a.dll`:                    `"a.dll"`,
		`.\a.dll`:                  `"/srv/web/s1/a.dll"`,
		`"a b" c`:                  `"a b" "c"`,
		`a\\b c\`:                  `"a\\\\b" "c\\"`,
		`"a\\" b`:                  `"a\\" "b"`,
		`a\"b`:                     `"a\"b"`,
		`"" x`:                     `"" "x"`,
		`50% $x`:                   `"50%%" "$$x"`,
		`--port=%aspnetcore_port%`: `"--port={port}"`,
	} {
		_, plan := coreSites(t, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}},
			core(`processPath="C:\Program Files\dotnet\dotnet.exe" arguments="`+strings.ReplaceAll(line, `"`, "&quot;")+`"`, ``))
		if len(plan.Services) != 1 || !strings.Contains(string(plan.Services[0].Unit), "\nExecStart=dotnet "+strings.ReplaceAll(want, "{port}", portOf(plan.Services[0]))+"\n") {
			t.Errorf("%s: want %s in %v", line, want, plan.Services)
		}
	}
	// What has no form has no unit, and its requests go on to where others go.
	for name, attributes := range map[string]string{
		"a variable of Windows": `processPath="%LAUNCHER_PATH%" arguments="%LAUNCHER_ARGS%"`,
		"no program":            `arguments="a.dll"`,
		"an odd name":           `processPath="do$it"`,
		"a control character":   `processPath="dotnet" arguments="a&#10;ExecStartPost=b"`,
	} {
		_, plan := coreSites(t, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}}, core(attributes, ``))
		if len(plan.Services) != 0 || !strings.Contains(string(plan.Caddyfile()), "{$IIS_UPSTREAM:") {
			t.Errorf("%s: %v", name, plan.Services)
		}
	}
	_, plan := coreSites(t, iisimport.Options{Services: true}, core(`processPath="dotnet" arguments="a.dll"`, ``))
	if len(plan.Services) != 0 {
		t.Errorf("a folder that is not translated: %s", plan.Services[0].Unit)
	}
}

// TestPoolUpstreams: pools have addresses of their own, sites that are otherwise alike share
// a template, and each is served by its own, by the name that the client has used.
func TestPoolUpstreams(t *testing.T) {
	pools := make(map[string]string)
	for i := range 3 {
		worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, i+1, " ", r.Host) }))
		t.Cleanup(worker.Close)
		pools[fmt.Sprintf("pool%d", i+1)] = worker.Listener.Addr().String()
	}
	web := core(`processPath="dotnet" arguments="a.dll"`, ``)
	server, _ := coreSites(t, iisimport.Options{}, web, web, web)
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{PoolUpstreams: pools})
	if text := string(plan.Caddyfile()); strings.Count(text, "reverse_proxy") != 1 {
		t.Errorf("no template:\n%s", text)
	}
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for i := range 3 {
		host := fmt.Sprintf("s%d.test", i+1)
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: host, Path: "/"})
		if want := fmt.Sprintf("%d %s", i+1, host); err != nil || !strings.HasPrefix(a.Body, want) {
			t.Errorf("%s: %q, %v, want %q", host, a.Body, err, want)
		}
	}
}

// TestUpstreamHost: an application that is asked by https gets the client's host, too.
func TestUpstreamHost(t *testing.T) {
	worker := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	t.Cleanup(worker.Close)
	server, _ := coreSites(t, iisimport.Options{}, core(`processPath="dotnet"`, ``))
	addr := httpOnly(t, server)
	text := string(iisimport.Import(server, iisimport.Options{Upstream: worker.URL}).Caddyfile())
	text = strings.Replace(text, "header_up Host", "transport http {\n tls_insecure_skip_verify\n}\nheader_up Host", 1)
	_, body, _ := cutBefore(text, "{\n\tiis")
	ts.Start(t, body)
	a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "s1.test", Path: "/"})
	if err != nil || !strings.HasPrefix(a.Body, "s1.test") {
		t.Errorf("Host %q, %v\n%s", a.Body, err, text)
	}
}

// TestRequestTimeout: a program has as long for its answer as IIS gave it, unless it ran in
// the process of IIS.
func TestRequestTimeout(t *testing.T) {
	release := make(chan struct{})
	worker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(worker.Close)
	t.Cleanup(func() { close(release) })
	server, plan := coreSites(t, iisimport.Options{Upstream: worker.Listener.Addr().String()}, core(`processPath="dotnet" requestTimeout="00:00:01"`, ``))
	told := slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool {
		return l.Outcome == iisimport.Translated && l.What == "requestTimeout 00:00:01"
	})
	addr := httpOnly(t, server)
	_, body, _ := cutBefore(string(iisimport.Import(server, iisimport.Options{Upstream: worker.Listener.Addr().String()}).Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "s1.test", Path: "/"})
	if err != nil || a.Status != http.StatusGatewayTimeout || !told {
		t.Errorf("%v, %v: %v", a, err, plan.Report.Lines)
	}
	for attributes, outcome := range map[string]iisimport.Outcome{
		`requestTimeout="360:00:00"`:                         iisimport.Translated,
		`requestTimeout="soon"`:                              iisimport.Decide,
		`requestTimeout="00:00:00"`:                          iisimport.Decide,
		`requestTimeout="00:00:01" hostingModel="InProcess"`: iisimport.Dropped,
		``: "",
	} {
		_, plan := coreSites(t, iisimport.Options{}, core(`processPath="dotnet" `+attributes, ``))
		i := slices.IndexFunc(plan.Report.Lines, func(l iisimport.Line) bool { return strings.HasPrefix(l.What, "requestTimeout ") })
		if i < 0 && outcome != "" || i >= 0 && plan.Report.Lines[i].Outcome != outcome {
			t.Errorf("%s: want %q: %v", attributes, outcome, plan.Report.Lines)
		}
		if has := strings.Contains(string(plan.Caddyfile()), "response_header_timeout"); has != (outcome == iisimport.Translated) {
			t.Errorf("%s:\n%s", attributes, plan.Caddyfile())
		}
	}
}

// TestServiceKinds: only ASP.NET Core is told where in the site it is, and what is printed is
// said to be where it is.
func TestServiceKinds(t *testing.T) {
	for section, want := range map[string]string{
		`<aspNetCore processPath="dotnet" stdoutLogEnabled="true" stdoutLogFile=".\logs\out" />`:   "UsePathBase, stdoutLogEnabled, stdoutLogFile .\\logs\\out translated",
		`<aspNetCore processPath="dotnet" stdoutLogEnabled="false" stdoutLogFile=".\logs\out" />`:  "UsePathBase, stdoutLogFile .\\logs\\out dropped",
		`<aspNetCore processPath="dotnet" />`:                                                      "UsePathBase",
		`<httpPlatform processPath="java" stdoutLogEnabled="true" stdoutLogFile=".\logs\out" />`:   "stdoutLogEnabled, stdoutLogFile .\\logs\\out translated",
		`<httpPlatform processPath="java" arguments="-Dport=%HTTP_PLATFORM_PORT% -jar app.jar" />`: "",
	} {
		server, err := iisconfig.Read([]iisconfig.File{
			{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="s" id="1">
				<application path="/"><virtualDirectory path="/" physicalPath="C:\web\s" /></application>
				<application path="/x"><virtualDirectory path="/" physicalPath="C:\web\x" /></application></site></sites></system.applicationHost></configuration>`)},
			{Name: "export/web/x/web.config", Data: []byte(`<configuration><system.webServer><handlers><add name="all" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers>` + section + `</system.webServer></configuration>`)},
		}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range iisimport.Import(server, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}}).Report.Lines {
			switch {
			case strings.Contains(l.Fix, "UsePathBase"):
				got = append(got, "UsePathBase")
			case strings.HasPrefix(l.What, "stdout"):
				got = append(got, l.What+" "+string(l.Outcome))
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: got %q, want %q", section, text, want)
		}
	}
}

// TestStoppedServices: what IIS does not start by itself, systemd does not either.
func TestStoppedServices(t *testing.T) {
	for name, c := range map[string]struct {
		site, pool, states string
		stopped            bool
	}{
		"running":                     {},
		"a site that is not started":  {site: `serverAutoStart="false"`, stopped: true},
		"a site that was stopped":     {states: `SITE "s" (id:1,bindings:http/*:80:,state:Stopped)`, stopped: true},
		"a pool that is not started":  {pool: `autoStart="false"`, stopped: true},
		"a pool that was stopped":     {states: `APPPOOL "p" (MgdVersion:v4.0,MgdMode:Integrated,state:Stopped)`, stopped: true},
		"a pool of others is stopped": {states: `APPPOOL "q" (MgdVersion:v4.0,MgdMode:Integrated,state:Stopped)`},
	} {
		files := []iisconfig.File{
			{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><applicationPools><add name="p" ` + c.pool + ` /><add name="q" /></applicationPools>
				<sites><site name="s" id="1" ` + c.site + `><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="C:\web\s" /></application>
				<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost></configuration>`)},
			{Name: "export/web/s/web.config", Data: []byte(`<configuration><system.webServer>` + core(`processPath="dotnet"`, ``) + `</system.webServer></configuration>`)},
		}
		if c.states != "" {
			files = append(files, iisconfig.File{Name: "export/states.txt", Data: []byte(c.states + "\r\n")})
		}
		server, err := iisconfig.Read(files, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{Services: true, Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}})
		unit := string(plan.Services[0].Unit)
		told := slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool { return strings.Contains(l.Message, "nothing starts it by itself") })
		if stopped := !strings.Contains(unit, "WantedBy="); stopped != c.stopped || told != c.stopped {
			t.Errorf("%s: stopped %v, told %v\n%s", name, stopped, told, unit)
		}
	}
}
