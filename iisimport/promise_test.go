package iisimport_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/places"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// promiseParts are parts of a web.config, of each list one at most, of which some close their
// place, some answer, and some have no effect where others close.
var promiseParts = [][]string{
	{
		`<security><requestFiltering><hiddenSegments><add segment="hidden" /></hiddenSegments></requestFiltering></security>`,
		`<security><requestFiltering><hiddenSegments><add segment="{path}" /></hiddenSegments></requestFiltering></security>`,
		`<security><requestFiltering odd="true"><hiddenSegments><add segment="hidden" /></hiddenSegments></requestFiltering></security>`,
		`<security><ipSecurity><add ipAddress="10.0.0.1" /></ipSecurity></security>`,
		`<security><ipSecurity><add domainName="a.test" /></ipSecurity></security>`,
		`<security><ipSecurity denyAction="odd"><add ipAddress="10.0.0.1" /></ipSecurity><requestFiltering><hiddenSegments><add segment="hidden" /></hiddenSegments></requestFiltering></security>`,
		`<security><dynamicIpSecurity><denyByRequestRate enabled="true" maxRequests="4000000000" requestIntervalInMilliseconds="0" /></dynamicIpSecurity></security>`,
		`<security><dynamicIpSecurity><denyByConcurrentRequests enabled="true" maxConcurrentRequests="1000" /></dynamicIpSecurity></security>`,
		`<security><access sslFlags="Ssl, SslRequireCert" /></security>`,
		`<security><access sslFlags="odd" /></security>`,
	},
	{
		`<rewrite><rules><rule name="r"><match url="^old$" /><action type="Redirect" url="/new" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r"><match url="^old$" /><action type="Rewrite" url="a.txt" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r"><match url="^old$" /><action type="None" /></rule><rule name="q"><match url="(.*)" /><action type="Rewrite" url="{odd:{R:1}}" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r"><match url="^old$" /><action type="Redirect" url="/new" /></rule><rule name="q"><match url="(" /><action type="None" /></rule><rule name="s"><match url="^more$" /><action type="Redirect" url="/x" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r" stopProcessing="true"><match url="^a\.txt$" /><action type="None" /></rule><rule name="q"><match url=".*" odd="true" /><action type="None" /></rule></rules></rewrite>`,
		`<rewrite><rewriteMaps><rewriteMap name="m" defaultValue="{path}"><add key="a" value="b" /></rewriteMap></rewriteMaps><rules><rule name="r"><match url="^old$" /><action type="Redirect" url="/{m:{URL}}" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r" patternSyntax="Wildcard"><match url="*" /><conditions><add input="{odd:x}" pattern="x" /></conditions><action type="AbortRequest" /></rule></rules></rewrite>`,
		`<rewrite><rules><rule name="r"><match url="(.*)" /><conditions><add input="{HTTP_HOST}" pattern="^127" /></conditions><action type="Redirect" url="http://a.test/" /></rule></rules></rewrite>`,
	},
	{
		`<httpRedirect enabled="true" destination="http://a.test/" childOnly="true" />`,
		`<httpRedirect enabled="true" destination="http://a.test/" />`,
		`<httpRedirect enabled="true" destination="{path}" />`,
		`<httpRedirect enabled="true" destination="http://a.test/$Z{" httpResponseStatus="odd" />`,
	},
	{
		`<handlers><add name="php" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php.exe" /></handlers>`,
		`<handlers><clear /></handlers>`,
		`<handlers><clear /><add name="txt" path="*.txt" verb="*" modules="StaticFileModule" resourceType="File" requireAccess="Read" /></handlers>`,
		`<handlers accessPolicy="Script" />`,
		`<handlers accessPolicy="None"><add name="x" path="*.x" verb="*" modules="IsapiModule" scriptProcessor="C:\x.dll" /></handlers>`,
		`<handlers><add name="odd" path="*a*b*" verb="*" modules="IsapiModule" scriptProcessor="C:\x.dll" /></handlers>`,
		`<handlers><add name="core" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="dotnet" />`,
		`<handlers><add name="never" path="*" verb="*" modules="OddModule" /></handlers>`,
	},
	{`<modules><add name="odd" type="a.b" /></modules>`, `<modules><remove name="AnonymousAuthenticationModule" /></modules>`},
	{
		`<staticContent><mimeMap fileExtension=".zz" mimeType="text/x" /></staticContent>`,
		`<staticContent><mimeMap fileExtension=".zz" mimeType="{path}" /><clientCache cacheControlMode="UseMaxAge" /></staticContent>`,
		`<staticContent><clientCache cacheControlMode="UseExpires" httpExpires="odd" /></staticContent>`,
	},
	{`<defaultDocument><files><clear /><add value="a.txt" /></files></defaultDocument>`, `<defaultDocument odd="true"><files><clear /><add value="a.txt" /></files></defaultDocument>`},
	{`<directoryBrowse enabled="true" />`},
	{`<httpErrors><remove statusCode="404" /><error statusCode="404" path="a.htm" responseMode="File" /></httpErrors>`},
	{`<httpProtocol><customHeaders><add name="X-A" value="b" /></customHeaders></httpProtocol>`},
	{`<urlCompression doStaticCompression="true" doDynamicCompression="true" />`},
	{`<odd /`},
}

// promiseHost is the server of sites of which promiseParts are parts.
const promiseHost = `<configuration><system.applicationHost><sites>%s</sites></system.applicationHost><system.webServer><proxy enabled="true" />
<globalModules><add name="StaticFileModule" /><add name="DefaultDocumentModule" /><add name="DirectoryListingModule" /><add name="AnonymousAuthenticationModule" />
<add name="FastCgiModule" /><add name="IsapiModule" /><add name="AspNetCoreModuleV2" /><add name="RewriteModule" /><add name="RequestFilteringModule" /></globalModules>
<handlers accessPolicy="Read, Script"><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule,DirectoryListingModule" resourceType="Either" requireAccess="Read" /></handlers>
<staticContent><mimeMap fileExtension=".txt" mimeType="text/plain" /><mimeMap fileExtension=".html" mimeType="text/html" /></staticContent>
<defaultDocument><files><add value="index.html" /></files></defaultDocument></system.webServer></configuration>`

var (
	promisePlaces  = []string{"/", "/p", "/p/q", "/app"}
	promiseTargets = strings.Fields("/ /index.html /a.txt /a.zz /x.php /x.x /old /more /hidden/a.txt /nope /aXb.txt")
	rePromiseRule  = regexp.MustCompile(`(?s)(rule "?closed: [^\n]*\n.*?action respond )403`)
	reClosed       = regexp.MustCompile(`(iis_closed \* )\d{3}`)
	reFiles        = regexp.MustCompile(`root and file_server|iis_content_types|file_server browse`)
)

// promiseWeb makes a web.config.
func promiseWeb(t *rapid.T) string {
	text := ""
	for i, list := range promiseParts {
		odds := 3
		if i == len(promiseParts)-1 {
			odds = 20
		}
		if sometimes(t, fmt.Sprint("part ", i), odds) {
			text += rapid.SampledFrom(list).Draw(t, fmt.Sprint("choice ", i)) + "\n"
		}
	}
	return "<configuration><system.webServer>\n" + text + "</system.webServer></configuration>"
}

// promised is a place that was asked.
type promised struct {
	closed  bool // every answer refuses, and some because the place is closed
	some    bool // some answer says that it is closed
	waits   bool // some answer asks who the user is
	moves   bool // some answer is a redirect of everything
	content bool // some answer has something
}

// TestPromise: no line of the report says translated of a place that is closed, nor dropped
// for that of one that is not. What is closed answers 418 here, which nothing of IIS does.
func TestPromise(t *testing.T) {
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "worker") }))
	defer worker.Close()
	closed, back := 0, 0
	for round := range *pipelineRounds {
		t.Run(fmt.Sprint(*pipelineSeed+round), func(t *testing.T) {
			dir := ts.Folder(t)
			var sites strings.Builder
			var files []iisconfig.File
			addrs := make(map[string]string)
			generator := rapid.Custom(promiseWeb)
			for i := range pipelineSites {
				name, port := fmt.Sprintf("s%d", i), ts.FreePort(t)
				addrs[name] = fmt.Sprintf("127.0.0.1:%d", port)
				fmt.Fprintf(&sites, `<site name="%[1]s" id="%[2]d"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\%[1]s" /></application>`+
					`<application path="/app"><virtualDirectory path="/" physicalPath="C:\web\%[1]s\app" /></application>`+
					`<bindings><binding protocol="http" bindingInformation="*:%[3]d:" /></bindings></site>`, name, i+1, port)
				for j, place := range promisePlaces {
					for _, file := range []string{"index.html", "a.txt", "a.zz", "x.php", "hidden/a.txt"} {
						file = filepath.Join(dir, name, place, file)
						if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					if seed := ((*pipelineSeed+round)*pipelineSites+i)*len(promisePlaces) + j; seed%3 > 0 {
						files = append(files, iisconfig.File{Name: "export/web/" + name + place + "/web.config", Data: []byte(generator.Example(seed))})
					}
				}
			}
			files = append(files, iisconfig.File{Name: "export/applicationHost.config", Data: fmt.Appendf(nil, promiseHost, sites.String())})
			server, err := iisconfig.Read(files, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			plan := iisimport.Import(server, iisimport.Options{Upstream: worker.Listener.Addr().String(), Folders: []iisimport.Folder{{From: `C:\web`, To: dir}}})
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, rePromiseRule.ReplaceAllString(reClosed.ReplaceAllString(body, "${1}418"), "${1}418"))
			asked := make(map[string]promised)
			for name, addr := range addrs {
				for _, place := range promisePlaces {
					p := askPromised(t, addr, strings.TrimSuffix(place, "/"))
					asked[strings.TrimSuffix(name+place, "/")] = p
					if p.closed {
						closed++
					}
				}
			}
			checkCount(t, plan, asked)
			for _, l := range plan.Report.Lines {
				if l.Message == iisimport.TakenBack {
					back++
				}
				checkPromise(t, l, asked, files)
			}
		})
	}
	if closed < *pipelineRounds*5 || back < *pipelineRounds*5 {
		t.Errorf("%d places are closed, %d lines are taken back", closed, back)
	}
}

// checkCount compares what the report counts with what check counts in the result, and with how
// the sites answer.
func checkCount(t *testing.T, plan *iisimport.Plan, asked map[string]promised) {
	t.Helper()
	var config struct {
		Apps struct {
			IIS json.RawMessage `json:"iis"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(adapt(t, plan.Caddyfile()), &config); err != nil {
		t.Fatal(err)
	}
	counter, err := places.New(config.Apps.IIS)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Sites {
		counter.Site(s.ID)
	}
	got := plan.Report.Summary.Places
	if want := counter.Count(); got != want {
		t.Errorf("the report has %+v, check %+v", got, want)
	}
	nothing := 0
	for name := range pipelineSites {
		name := fmt.Sprintf("s%d", name)
		something := false
		for place, p := range asked {
			if place == name || strings.HasPrefix(place, name+"/") {
				something = something || p.content || p.moves
			}
		}
		if !something {
			nothing++
		}
	}
	if got.Sites.Closed > nothing || got.Sites.Closed+got.Sites.Partly+got.Sites.Open != len(plan.Sites) {
		t.Errorf("%+v, and %d sites have nothing for anybody", got.Sites, nothing)
	}
}

func askPromised(t *testing.T, addr, place string) promised {
	t.Helper()
	p := promised{closed: true}
	for _, target := range promiseTargets {
		q := ownRequest{method: "GET", path: place + target}
		status, location, _, err := q.do(addr)
		if err != nil {
			t.Fatal(err)
		}
		p.some = p.some || status == "418"
		p.closed = p.closed && status >= "4"
		p.waits = p.waits || status == "401"
		p.moves = p.moves || strings.HasPrefix(location, "http://a.test/")
		p.content = p.content || status[0] == '2'
	}
	p.closed = p.closed && p.some && !p.waits
	return p
}

// checkPromise compares a line with how its place, and those that inherit it, answer.
func checkPromise(t *testing.T, l iisimport.Line, asked map[string]promised, files []iisconfig.File) {
	t.Helper()
	scope := strings.Trim(l.Source.Scope, "/")
	if scope == "" || strings.HasPrefix(l.What, "site ") || strings.HasPrefix(l.What, "binding ") || strings.HasPrefix(l.What, "access ") && strings.HasPrefix(l.Message, "require_") {
		return
	}
	some := func(is func(promised) bool) bool {
		for place, p := range asked {
			if (place == scope || strings.HasPrefix(place, scope+"/")) && is(p) {
				return true
			}
		}
		return false
	}
	wrong := ""
	switch {
	case l.Outcome == iisimport.Translated && !strings.HasPrefix(l.What, "rewrite rule ") && !strings.HasPrefix(l.What, "httpRedirect ") && !some(func(p promised) bool { return !p.closed }):
		wrong = "every place is closed"
	case l.Outcome == iisimport.Translated && reFiles.MatchString(l.Message) && !some(func(p promised) bool { return p.content || p.moves || !p.some }):
		wrong = "nobody gets contents"
	case l.Message == iisimport.TakenBack && !some(func(p promised) bool { return p.some || p.waits || p.moves }):
		wrong = "no place is closed"
	}
	if wrong != "" {
		i := slices.IndexFunc(files, func(f iisconfig.File) bool { return f.Name == l.Source.File })
		t.Errorf("%s: %v\n%s", wrong, l, files[max(i, 0)].Data)
	}
}
