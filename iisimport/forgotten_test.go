package iisimport_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// workerOf is a worker process that answers with its name in Server, and takes WebSockets.
func workerOf(t *testing.T) string {
	t.Helper()
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Server", "Worker/1")
			fmt.Fprint(w, "worker")
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("taking over the connection: %v", err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}))
	t.Cleanup(worker.Close)
	return worker.Listener.Addr().String()
}

// TestServerHeader: with removeServerHeader, nothing that the site answers names a server:
// files, errors with a page and without, redirects, and applications behind it.
func TestServerHeader(t *testing.T) {
	const web = `<system.webServer><security><requestFiltering %s /></security>
<httpErrors><remove statusCode="404" /><error statusCode="404" path="x.txt" responseMode="File" /></httpErrors>
<rewrite><rules><rule name="r"><match url="^old$" /><action type="Redirect" url="/new" /></rule></rules></rewrite>
<handlers><add name="run" path="*.run" verb="*" modules="IsapiModule" scriptProcessor="C:\r.dll" /></handlers></system.webServer>
<location path="private"><system.webServer><security><ipSecurity allowUnlisted="false" /></security></system.webServer></location>`
	const accounts = `<location path="sub"><system.webServer><security>%s<authorization><remove users="*" roles="" verbs="" /><add accessType="Allow" users="a" /></authorization></security></system.webServer></location>`
	for name, c := range map[string]struct {
		attr, below string
		want        bool
	}{
		"named":                {"", "", true},
		"hidden":               {`removeServerHeader="true"`, "", false},
		"hidden for one place": {"", `<requestFiltering removeServerHeader="true" />`, false},
	} {
		t.Run(name, func(t *testing.T) {
			addr, plan := startHost(t, hostOf("", "", "", ""), fmt.Sprintf(web, c.attr)+fmt.Sprintf(accounts, c.below), iisimport.Options{Upstream: workerOf(t)})
			for path, want := range map[string]int{"/x.txt": 200, "/none.txt": 404, "/old": 301, "/private/x.txt": 403, "/sub/x.txt": 401, "/a.run": 200} {
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
				if err != nil {
					t.Fatal(err)
				}
				if server := a.Header.Get("Server"); (server != "") != c.want || a.Status != want {
					t.Errorf("%s: %d, Server %q, want %d\n%s", path, a.Status, server, want, plan.Caddyfile())
				}
			}
		})
	}
}

// TestWebSocketOff: where IIS has WebSockets switched off, nobody gets one from an application
// behind Caddy, but from Node.js in IIS, for which the switch is off.
func TestWebSocketOff(t *testing.T) {
	const node = `<handlers><add name="node" path="app.js" verb="*" modules="iisnode" /></handlers>`
	const (
		installed = `<globalModules><add name="StaticFileModule" /><add name="IsapiModule" /><add name="AnonymousAuthenticationModule" />%[1]s</globalModules>` +
			`<modules><add name="StaticFileModule" /><add name="IsapiModule" /><add name="AnonymousAuthenticationModule" />%[1]s</modules>`
		without = `<modules><remove name="WebSocketModule" /></modules>`
	)
	has, hasNot := fmt.Sprintf(installed, `<add name="WebSocketModule" />`), fmt.Sprintf(installed, "")
	for name, c := range map[string]struct{ server, section, want string }{
		"nothing said":           {"", "", "101"},
		"on":                     {"", `<webSocket enabled="true" />`, "101"},
		"off":                    {"", `<webSocket enabled="false" />`, "400"},
		"off, Node.js":           {"", `<webSocket enabled="false" />` + node, "101"},
		"not installed":          {hasNot, "", "400"},
		"on, not installed":      {hasNot, `<webSocket enabled="true" />`, "400"},
		"not installed, Node.js": {hasNot, node, "101"},
		"installed":              {has, "", "101"},
		"taken out":              {has, without, "400"},
		"taken out, not known":   {"", without, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			web := `<system.webServer>` + c.section + `<handlers><add name="run" path="*.run" verb="*" modules="IsapiModule" scriptProcessor="C:\r.dll" /></handlers></system.webServer>`
			web = strings.Replace(web, "</handlers><handlers>", "", 1)
			host := hostOf("", "", "", `<system.webServer>`+c.server+`<handlers accessPolicy="Read, Script"><add name="StaticFile" path="*" verb="*" modules="StaticFileModule" requireAccess="Read" /></handlers></system.webServer>`)
			addr, plan := startHost(t, host, web, iisimport.Options{Upstream: workerOf(t)})
			for upgrade, want := range map[string]string{"websocket": c.want, "WebSocket": c.want} {
				if got := upgraded(t, addr, upgrade); got != want {
					t.Errorf("%s: got %s, want %s\n%s", upgrade, got, want, plan.Caddyfile())
				}
			}
			if got := statuses(t, addr, "/a.run", "/x.txt"); got != "200 200" {
				t.Errorf("other requests: %s", got)
			}
			told := false
			for _, l := range plan.Report.Lines {
				told = told || strings.HasPrefix(strings.ToLower(l.What), "websocket")
			}
			if (strings.Contains(c.section, "false") || c.want == "400") != told {
				t.Errorf("the report: %v", plan.Report.Lines)
			}
		})
	}
}

// upgraded asks for another protocol, and returns the status.
func upgraded(t *testing.T, addr, protocol string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /a.run HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if f := strings.Fields(line); err == nil && len(f) > 1 {
		return f[1]
	}
	t.Fatal(line, err)
	return ""
}

// TestRedirectHeaders: redirectHeaders are those of redirects, customHeaders those of all.
func TestRedirectHeaders(t *testing.T) {
	web := `<system.webServer><httpProtocol allowKeepAlive="false"><customHeaders><add name="X-All" value="1" /></customHeaders><redirectHeaders><add name="X-Moved" value="2" /></redirectHeaders></httpProtocol>
<rewrite><rules><rule name="r"><match url="^old$" /><action type="Redirect" url="/new" /></rule></rules></rewrite></system.webServer>
<location path="moved"><system.webServer><httpRedirect enabled="true" destination="/x.txt" /></system.webServer></location>`
	addr, plan := startHost(t, hostOf("", "", "", ""), web, iisimport.Options{})
	for path, want := range map[string]string{"/x.txt": "200 1 ", "/none.txt": "404 1 ", "/old": "301 1 2", "/moved": "302 1 2"} {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %s %s", a.Status, a.Header.Get("X-All"), a.Header.Get("X-Moved")); got != want {
			t.Errorf("%s: %q, want %q\n%s", path, got, want, plan.Caddyfile())
		}
	}
	var told []string
	for _, l := range plan.Report.Lines {
		if strings.Contains(l.What, "redirectHeaders") || strings.Contains(l.What, "allowKeepAlive") {
			told = append(told, l.What+": "+string(l.Outcome))
		}
	}
	slices.Sort(told)
	if got := strings.Join(told, "; "); got != "httpProtocol allowKeepAlive=false: dropped; redirectHeaders X-Moved: translated" {
		t.Errorf("the report tells %q", got)
	}
}

// TestNamed: what a section says beside what is executed is in the report, and not where it
// says nothing.
func TestNamed(t *testing.T) {
	rule := func(attribute string) string {
		return `<rewrite><rules><rule name="r"><match url="^a$" /><action type="Rewrite" url="/b" ` + attribute + ` /></rule></rules></rewrite>`
	}
	outbound := func(list, match string) string {
		return `<rewrite><outboundRules ` + list + `><rule name="o"><match ` + match + ` pattern="x" /><action type="Rewrite" value="y" /></rule></outboundRules></rewrite>`
	}
	auth := func(inside string) string {
		return `<security><authentication><anonymousAuthentication enabled="false" />` + inside + `</authentication></security>`
	}
	page := func(path string) string {
		return `<httpErrors><remove statusCode="404" /><error statusCode="404" path="` + path + `" responseMode="File" /></httpErrors>`
	}
	for name, c := range map[string]struct{ with, without, want string }{
		"showFlags":          {`<directoryBrowse enabled="true" showFlags="Time, Extension" />`, `<directoryBrowse enabled="false" showFlags="Time, Extension" />`, "dropped: directoryBrowse showFlags Time, Extension: "},
		"logRewrittenUrl":    {rule(`logRewrittenUrl="true"`), rule(""), "dropped: rewrite rule r logRewrittenUrl: "},
		"rewriteBeforeCache": {outbound(`rewriteBeforeCache="true"`, `serverVariable="RESPONSE_X"`), outbound(`rewriteBeforeCache="false"`, `serverVariable="RESPONSE_X"`), "rewriteBeforeCache is about the output cache"},
		"occurrences":        {outbound("", `serverVariable="RESPONSE_X" occurrences="3"`), outbound("", `serverVariable="RESPONSE_X"`), "dropped: outbound rule o occurrences 3: "},
		"in bodies":          {outbound("", `filterByTags="A, CustomTags" customTags="t" occurrences="3"`), outbound("", `serverVariable="RESPONSE_X"`), "it changes bodies of answers, filterByTags A, CustomTags, customTags t, occurrences 3"},
		"realm":              {auth(`<basicAuthentication enabled="true" realm="Shop" />`), auth(`<basicAuthentication enabled="false" realm="Shop" />`), "dropped: basic realm Shop: "},
		"enableReverseDns":   {`<security><ipSecurity enableReverseDns="true" /></security>`, `<security><ipSecurity enableReverseDns="false" /></security>`, "dropped: ipSecurity enableReverseDns: "},
		"static compression": {`<urlCompression doStaticCompression="false" doDynamicCompression="true" />`, `<urlCompression doStaticCompression="true" doDynamicCompression="true" />`, "also for files"},
		"an absolute page":   {page(`C:\x\e.htm`), page(`x\e.htm`), "allowAbsolutePathsWhenDelegated"},
		"allowPathInfo": {
			`<handlers><add name="h" path="*.h" verb="*" modules="IsapiModule" scriptProcessor="C:\h.dll" allowPathInfo="true" /></handlers>`,
			`<handlers><add name="h" path="*.h" verb="*" modules="IsapiModule" scriptProcessor="C:\h.dll" /></handlers>`, "(Unspecified, Script, allowPathInfo)",
		},
	} {
		for section, want := range map[string]bool{c.with: true, c.without: false} {
			_, plan := coreSites(t, iisimport.Options{}, section)
			told := slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool { return strings.Contains(l.String(), c.want) })
			if told != want {
				t.Errorf("%s: told %t, want %t: %v", name, told, want, plan.Report.Lines)
			}
		}
	}
	for providers, want := range map[string]string{`<providers><clear /><add value="Negotiate" /><add value="NTLM" /></providers>`: "windows providers Negotiate NTLM", "": "windows"} {
		host := hostOf("", "", "", "<system.webServer>"+auth(`<windowsAuthentication enabled="true">`+providers+`</windowsAuthentication>`)+"</system.webServer>")
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(host)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{})
		if !slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool { return l.What == want }) {
			t.Errorf("no %q in %v", want, plan.Report.Lines)
		}
	}
}
