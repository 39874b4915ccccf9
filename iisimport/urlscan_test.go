package iisimport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

const urlScanINI = `[options]
UseAllowVerbs=%d                ; if 1, the list of those that may come
UseAllowExtensions=0
AllowDotInPath=0
RuleList=Injection
RejectResponseUrl=%s
[AllowVerbs]
GET
[DenyVerbs]
trace
[DenyHeaders]
Translate:
[DenyExtensions]
.exe
[DenyUrlSequences]
secret ; of the owner
[DenyQueryStringSequences]
%%3b ; a semicolon
[RequestLimits]
MaxUrl=100
Max-X-Long=5
[Injection]
AppliesTo=.txt,.htm
DenyDataSection=Injection Texts
ScanQueryString=1
[Injection Texts]
drop table
%s`

// withURLScan imports a server of IIS 6 with UrlScan, and serves it on a port.
func withURLScan(t *testing.T, port int, inis ...string) *iisimport.Plan {
	t.Helper()
	dir := ts.Folder(t)
	for _, name := range []string{"a.txt", "b.exe", "v1.2/a.txt", "secret/a.txt", "bin/a.txt", "a.b.txt", "c.cs"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("FILE "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := []iisconfig.File{{Name: "export/MetaBase.xml", Data: fmt.Appendf(nil, `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty>
<IIsFilter Location="/LM/W3SVC/Filters/urlscan" FilterPath="C:\WINDOWS\system32\inetsrv\urlscan\urlscan.dll"></IIsFilter>
<IIsWebServer Location="/LM/W3SVC/1" ServerBindings=":%d:" ServerComment="a"></IIsWebServer>
<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\a" AccessFlags="AccessRead" MimeMap=".exe,application/octet-stream
		.cs,text/plain
		.txt,text/plain"></IIsWebVirtualDir>
</MBProperty></configuration>`, port)}}
	for i, ini := range inis {
		files = append(files, iisconfig.File{Name: fmt.Sprintf("export/urlscan%d.ini", i), Data: []byte(ini)})
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\a`, To: dir}}})
}

// TestURLScan: what UrlScan refuses is refused, and nothing is served if nobody knows what it
// refuses.
func TestURLScan(t *testing.T) {
	asks := []string{
		"GET /a.txt", "HEAD /a.txt", "TRACE /a.txt", "trace /a.txt", "GET /b.exe", "GET /v1.2/a.txt", "GET /a.b.txt", "GET /secret/a.txt",
		"GET /bin/a.txt", "GET /c.cs", "GET /a.txt?x=1;2", "GET /a.txt?x=1%3b2", "GET /a.txt?q=Drop%20Table", "GET /?q=drop%20table", "GET /a.txt Translate=f", "GET /a.txt X-Long=123456",
		"GET /" + strings.Repeat("a", 100), "GET /a%252e",
	}
	const allowed = "200 404 404 404 404 404 404 404 404 404 404 404 404 403 431 431 404 404"
	for _, c := range []struct {
		name string
		inis []string
		want string
		line string
	}{
		{"as it comes", []string{fmt.Sprintf(urlScanINI, 1, "", "")}, allowed, "iis_filter"},
		{"verbs that are denied", []string{fmt.Sprintf(urlScanINI, 0, "", "")}, strings.Replace(allowed, "404", "200", 1), "iis_filter"},
		{"the first of two", []string{fmt.Sprintf(urlScanINI, 1, "", ""), "[AllowVerbs]\nGET\n"}, allowed, "a second urlscan.ini"},
		{"none", nil, strings.TrimSpace(strings.Repeat("403 ", len(asks))), "import urlscan.ini with the other files"},
		{"a limit that is none", []string{fmt.Sprintf(urlScanINI, 1, "", "[RequestLimits]\nMaxUrl=many")}, strings.TrimSpace(strings.Repeat("403 ", len(asks))), "MaxUrl=many"},
		{"a switch that is none", []string{strings.Replace(fmt.Sprintf(urlScanINI, 1, "", ""), "UseAllowExtensions=0", "UseAllowExtensions=1 , see below", 1)}, strings.TrimSpace(strings.Repeat("403 ", len(asks))), "UseAllowExtensions=1 , see below"},
		{"a section with text behind", []string{strings.Replace(fmt.Sprintf(urlScanINI, 1, "", ""), "[DenyUrlSequences]", "[DenyUrlSequences] # text", 1)}, strings.TrimSpace(strings.Repeat("403 ", len(asks))), "[DenyUrlSequences] # text"},
		{"an extension with text behind", []string{strings.Replace(fmt.Sprintf(urlScanINI, 1, "", ""), ".exe", ".exe # programs", 1)}, strings.TrimSpace(strings.Repeat("403 ", len(asks))), ".exe # programs"},
		{"a rule without texts", []string{strings.Replace(fmt.Sprintf(urlScanINI, 1, "", ""), "=Injection Texts", "=Others", 1)}, strings.TrimSpace(strings.Repeat("403 ", len(asks))), "the rule Injection without its texts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := ts.FreePort(t)
			plan := withURLScan(t, port, c.inis...)
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, body)
			var got []string
			for _, ask := range asks {
				q := readOwnRequest(t, ask, ask+" -> 200")
				status, _, _, err := q.do(fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Fatal(ask, err)
				}
				got = append(got, status)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got  %s\nwant %s\nfor %q\n%s", text, c.want, asks, body)
			}
			if !slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool { return strings.Contains(l.String(), c.line) }) {
				t.Errorf("the report does not tell %q: %v", c.line, plan.Report.Lines)
			}
		})
	}
}

// TestURLScanDefaults: what urlscan.ini does not say is as UrlScan has it, which refuses more
// where Microsoft's documents contradict each other; rules name headers with their colon.
func TestURLScanDefaults(t *testing.T) {
	const ini = `[Options]
RuleList=Header
%s
[AllowVerbs]
GET
[AllowExtensions]
.txt
[Header]
ScanHeaders=X-Rule:, X-More
DenyDataSection=Texts
[Texts]
evil`
	asks := []string{
		"GET /a.txt", "POST /a.txt", "GET /c.cs", "GET /a.b.txt", "GET /%C3%A4.txt", "GET /a%252etxt", "GET /a.txt X-Rule=an_evil_word",
		"GET /a.txt X-More=EVIL", "GET /a.txt X-Other=evil", "GET /a.txt?" + strings.Repeat("a", 2049), "GET /" + strings.Repeat("a", 130) + "/" + strings.Repeat("a", 130) + ".txt",
	}
	for options, want := range map[string]string{
		"": "200 404 404 404 404 404 404 404 200 404 404",
		"UseAllowExtensions=0\nAllowDotInPath=1\nRemoveServerHeader=0\nNormalizeUrlBeforeScan=0\nAlternateServerName=x": "200 404 404 200 404 404 404 404 200 404 404",
	} {
		port := ts.FreePort(t)
		plan := withURLScan(t, port, fmt.Sprintf(ini, options))
		_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
		ts.Start(t, body)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		var got []string
		for _, ask := range asks {
			q := readOwnRequest(t, ask, ask+" -> 200")
			status, _, _, err := q.do(addr)
			if err != nil {
				t.Fatal(ask, err)
			}
			got = append(got, status)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: got  %s\nwant %s\nfor %.80q\n%s", options, text, want, asks, body)
		}
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Path: "/a.txt"})
		if err != nil || (a.Header.Get("Server") == "") != (options == "") {
			t.Errorf("%q: Server %v, %v", options, a, err)
		}
		told := 0
		for _, l := range plan.Report.Lines {
			if strings.Contains(l.Message, "NormalizeUrlBeforeScan=0") || strings.Contains(l.Message, "AlternateServerName") {
				told++
			}
		}
		if (told == 2) != (options != "") {
			t.Errorf("%q: %v", options, plan.Report.Lines)
		}
	}
}

// TestURLScanLogsOnly: one that refuses nothing changes nothing; nor does a file that no filter
// reads, which is said.
func TestURLScanLogsOnly(t *testing.T) {
	plan := withURLScan(t, 80, fmt.Sprintf(urlScanINI, 1, "/~*", ""))
	if text := string(plan.Caddyfile()); strings.Contains(text, "deny_several_dots") || strings.Contains(text, "iis_closed") {
		t.Errorf("it only logs:\n%s", text)
	}
	server, err := iisconfig.Read([]iisconfig.File{{Name: "urlscan.ini", Data: fmt.Appendf(nil, urlScanINI, 1, "", "")}}, iisconfig.Options{})
	if err != nil || !slices.ContainsFunc(server.Findings, func(f iisconfig.Finding) bool { return strings.Contains(f.Message, "it is not used") }) {
		t.Errorf("%v, %v", server, err)
	}
}
