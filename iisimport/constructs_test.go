package iisimport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// construct is a line of the table of docs/migrate.md: an element, an example of it, and
// what becomes of that. Words in backquotes are in the Caddyfile, those in asterisks are
// outcomes in the report.
type construct struct{ element, example, becomes string }

// The examples are in a web.config, those that begin with a bracket in the server's file.
var constructs = []construct{
	{"sites/site", ``, "`site`, `binding`"},
	{"site/logFile", `[<system.applicationHost><log><centralW3CLogFile enabled="false" /></log><sites><siteDefaults><logFile directory="D:\logs" /></siteDefaults></sites></system.applicationHost>`, "`w3c_log`"},
	{"applicationPools/add", `[<system.applicationHost><applicationPools><add name="p" /></applicationPools></system.applicationHost>`, "*dropped*: there are no worker processes"},
	{"webFarms/webFarm", `[<webFarms><webFarm name="farm"><server address="10.0.0.1" /><server address="10.0.0.2" /></webFarm></webFarms>`, "`to` and `lb_policy` in `iis_proxy`, where a rule names it, and `health_uri`"},
	{"rewrite/rules/rule", `<rewrite><rules><rule name="r"><match url="^a$" /><action type="Redirect" url="b" /></rule></rules></rewrite>`, "`rule` in `iis_rewrite`"},
	{"rewrite/outboundRules/rule", `<rewrite><outboundRules><rule name="r"><match serverVariable="RESPONSE_SERVER" pattern=".+" /><action type="Rewrite" value="" /></rule></outboundRules></rewrite>`, "`outbound_rule` in `iis_rewrite`; for bodies: decide"},
	{"rewrite/rewriteMaps/rewriteMap", `<rewrite><rewriteMaps><rewriteMap name="m"><add key="a" value="b" /></rewriteMap></rewriteMaps><rules><rule name="r"><match url="^(.+)$" /><action type="Redirect" url="{m:{R:1}}" /></rule></rules></rewrite>`, "`map` in `iis_rewrite`"},
	{"security/requestFiltering", `<security><requestFiltering><hiddenSegments><add segment="x" /></hiddenSegments></requestFiltering></security>`, "`iis_filter`"},
	{"security/ipSecurity", `<security><ipSecurity><add ipAddress="10.0.0.1" /></ipSecurity></security>`, "`iis_ip_security`"},
	{"security/dynamicIpSecurity", `<security><dynamicIpSecurity><denyByRequestRate enabled="true" /></dynamicIpSecurity></security>`, "`iis_dynamic_ip_security`"},
	{"security/access", `<security><access sslFlags="Ssl" /></security>`, "`require_ssl`, `require_client_certificate`; for a path: 403 for http"},
	{"security/authentication", `<security><authentication><anonymousAuthentication enabled="false" /></authentication></security>`, "`iis_authorization`, *waiting* for who the users are"},
	{"security/authorization", `<security><authorization><add accessType="Deny" users="?" /></authorization></security>`, "`iis_authorization`, *waiting* likewise"},
	{"httpRedirect", `<httpRedirect enabled="true" destination="https://a.example/" />`, "`iis_redirect`"},
	{"handlers/add", `<handlers><add name="php" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php-cgi.exe" /></handlers>`, "of files: `file_server`; of scripts: *upstream* by `reverse_proxy`, or `transport fastcgi` with `--fastcgi`"},
	{"aspNetCore", `<aspNetCore processPath="dotnet" arguments=".\a.dll" />`, "*upstream* by `reverse_proxy`: the program runs as a service of its own, with `--services` by a [unit of systemd](#programs-of-aspnet-core)"},
	{"staticContent", `<staticContent><mimeMap fileExtension=".x" mimeType="x/x" /></staticContent>`, "`iis_content_types`"},
	{"defaultDocument", `<defaultDocument><files><clear /><add value="a.htm" /></files></defaultDocument>`, "`documents` in `iis_content_types`"},
	{"directoryBrowse", `<directoryBrowse enabled="true" />`, "`browse`"},
	{"httpErrors", `<httpErrors errorMode="Custom"><error statusCode="404" path="a.htm" responseMode="File" /></httpErrors>`, "`handle_errors`"},
	{"httpProtocol/customHeaders", `<httpProtocol><customHeaders><add name="X-A" value="b" /></customHeaders></httpProtocol>`, "`header`"},
	{"urlCompression", `<urlCompression doStaticCompression="true" doDynamicCompression="true" />`, "`encode`"},
	{"modules", `<modules><add name="m" type="a.b" /></modules>`, "*upstream* where a site adds some that see files; those of others for the whole server close it"},
	{"httpCompression", `[<system.webServer><httpCompression directory="D:\cache" /></system.webServer>`, "*dropped*"},
	{"serverSideInclude", `[<system.webServer><serverSideInclude ssiExecDisable="false" /></system.webServer>`, "*dropped*"},
	{"isapiFilters/filter", `[<system.webServer><isapiFilters><filter name="f" path="C:\f.dll" /></isapiFilters></system.webServer>`, "*closed*, with `iis_closed`; those of ASP.NET need nothing"},
}

var reBecomes = regexp.MustCompile("`([^`]+)`|\\*(\\w+)\\*")

// says tells whether a configuration has an element of a construct with something in it.
func says(parts []part, element string) bool {
	names := strings.Split(element, "/")
	return slices.ContainsFunc(parts, func(p part) bool {
		if p.attr == "" {
			return false
		}
		for i := range p.path {
			if i+len(names) <= len(p.path) && slices.Equal(p.path[i:i+len(names)], names) && !slices.Contains(p.path, "configSections") {
				return true
			}
		}
		return false
	})
}

// TestConstructs: the table of the guide says how often each construct is in the fixtures,
// and what becomes of it.
func TestConstructs(t *testing.T) {
	var table strings.Builder
	count := make(map[string]int)
	hosts, webs := 0, 0
	for _, pattern := range []string{"applicationhost/*.config", "webconfig/*.config"} {
		files, err := filepath.Glob(filepath.Join(needs.Fixtures(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.Contains(name, "missing_closing") {
				continue
			}
			if text := string(read(t, name)); strings.Contains(text, "<") {
				if strings.HasPrefix(pattern, "web") {
					webs++
				} else {
					hosts++
				}
				parts := partsOf(t, []byte(text))
				for _, c := range constructs {
					if says(parts, c.element) {
						count[c.element]++
					}
				}
			}
		}
	}
	fmt.Fprintf(&table, "| Element | Of %d server files and %d web.config files | Becomes |\n|---|---|---|\n", hosts, webs)
	for _, c := range constructs {
		c.check(t)
		fmt.Fprintf(&table, "| `%s` | %d | %s |\n", c.element, count[c.element], c.becomes)
	}
	const guide, begin, end = "../docs/migrate.md", "<!-- constructs -->\n", "<!-- end of constructs -->"
	text := string(read(t, guide))
	before, rest, _ := strings.Cut(text, begin)
	have, after, ok := strings.Cut(rest, end)
	if want := "\n" + table.String() + "\n"; !ok || have != want {
		if !*update || !ok {
			t.Fatalf("the table of the guide is another one: go test ./iisimport -run TestConstructs -update; want\n%s", want)
		}
		if err := os.WriteFile(guide, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// check imports the example.
func (c construct) check(t *testing.T) {
	t.Helper()
	const site = `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:" /><binding protocol="https" bindingInformation="*:443:" /></bindings></site>`
	server := ""
	web := `<configuration><system.webServer>` + c.example + `</system.webServer></configuration>`
	if inHost, ok := strings.CutPrefix(c.example, "["); ok {
		server, web = inHost, `<configuration><system.webServer><proxy enabled="true" /><rewrite><rules><rule name="r"><match url="^a/(.*)$" /><action type="Rewrite" url="http://farm/{R:1}" /></rule></rules></rewrite></system.webServer></configuration>`
	}
	sites := `<system.applicationHost><sites>` + site + `</sites></system.applicationHost>`
	if strings.Contains(server, "<sites>") {
		sites = ""
		server = strings.Replace(server, "<sites>", "<sites>"+site, 1)
	}
	host := `<configuration>` + sites + server + `<system.webServer><proxy enabled="true" /></system.webServer></configuration>`
	model, err := iisconfig.Read([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}, {Name: "export/web/web.config", Data: []byte(web)}}, iisconfig.Options{})
	if err != nil {
		t.Errorf("%s: %v", c.element, err)
		return
	}
	plan := iisimport.Import(model, iisimport.Options{})
	if strings.Contains(c.becomes, "--fastcgi") {
		plan = iisimport.Import(model, iisimport.Options{Upstream: "127.0.0.1:9"})
	}
	caddyfile := string(plan.Caddyfile())
	adapt(t, plan.Caddyfile())
	for _, m := range reBecomes.FindAllStringSubmatch(c.becomes, -1) {
		if word := m[1]; word != "" && word != "--fastcgi" && word != "--services" && word != "health_uri" && word != "transport fastcgi" && word != "require_client_certificate" && !regexp.MustCompile(`(?m)(?:^|\s)`+regexp.QuoteMeta(word)+`(?:\s|$)`).MatchString(caddyfile) {
			t.Errorf("%s: no %s in\n%s", c.element, word, caddyfile)
		}
		if outcome := m[2]; outcome != "" && !slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool { return string(l.Outcome) == outcome }) {
			t.Errorf("%s: the report has no line %q: %v", c.element, outcome, plan.Report.Lines)
		}
	}
}
