package iisimport_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// hostilePlaces are the parts of a web.config into which a tenant can write any text.
var hostilePlaces = []string{
	`<httpProtocol><customHeaders><add name="X-T" value="V" /></customHeaders></httpProtocol>`,
	`<httpProtocol><customHeaders><add name="V" value="x" /></customHeaders></httpProtocol>`,
	`<rewrite><rules><rule name="V"><match url="^p$" /><action type="Redirect" url="/x" /></rule></rules></rewrite>`,
	`<rewrite><rules><rule name="r"><match url="V" /><action type="Redirect" url="/x" /></rule></rules></rewrite>`,
	`<rewrite><rules><rule name="r"><match url="^p$" /><action type="Redirect" url="V" /></rule></rules></rewrite>`,
	`<rewrite><rules><rule name="r"><match url="^p$" /><action type="Rewrite" url="V" /></rule></rules></rewrite>`,
	`<rewrite><rules><rule name="r"><match url="^p$" /><action type="CustomResponse" statusCode="410" statusReason="V" statusDescription="V" /></rule></rules></rewrite>`,
	`<rewrite><rules><rule name="r"><match url="^p$" /><conditions><add input="V" pattern="V" /></conditions><action type="Redirect" url="/x" /></rule></rules></rewrite>`,
	`<rewrite><rewriteMaps><rewriteMap name="m" defaultValue="V"><add key="V" value="V" /></rewriteMap></rewriteMaps><rules><rule name="r"><match url="^p$" /><action type="Redirect" url="/{m:{URL}}" /></rule></rules></rewrite>`,
	`<httpRedirect enabled="true" destination="V" />`,
	`<httpRedirect enabled="true" exactDestination="true"><add wildcard="V" destination="V" /></httpRedirect>`,
	`<defaultDocument><files><clear /><add value="V" /></files></defaultDocument>`,
	`<staticContent><mimeMap fileExtension="V" mimeType="text/x" /></staticContent>`,
	`<staticContent><mimeMap fileExtension=".zz" mimeType="V" /></staticContent>`,
	`<staticContent><clientCache cacheControlMode="UseExpires" httpExpires="V" cacheControlCustom="V" /></staticContent>`,
	`<httpErrors><error statusCode="404" path="V" responseMode="Redirect" /></httpErrors>`,
	`<httpErrors><remove statusCode="404" /><error statusCode="404" path="V" responseMode="File" /></httpErrors>`,
	`<handlers><add name="V" path="V" verb="*" modules="FastCgiModule" scriptProcessor="V" /></handlers>`,
	`<security><requestFiltering><hiddenSegments><add segment="V" /></hiddenSegments></requestFiltering></security>`,
	`<security><requestFiltering><fileExtensions><add fileExtension="V" allowed="false" /></fileExtensions></requestFiltering></security>`,
	`<security><requestFiltering><verbs><add verb="V" allowed="false" /></verbs></requestFiltering></security>`,
	`<security><requestFiltering><denyUrlSequences><add sequence="V" /></denyUrlSequences><alwaysAllowedUrls><add url="V" /></alwaysAllowedUrls></requestFiltering></security>`,
	`<security><requestFiltering><denyQueryStringSequences><add sequence="V" /></denyQueryStringSequences></requestFiltering></security>`,
	`<security><requestFiltering><requestLimits><headerLimits><add header="V" sizeLimit="1" /></headerLimits></requestLimits></requestFiltering></security>`,
	`<security><requestFiltering><filteringRules><filteringRule name="V" scanUrl="true"><scanHeaders><add requestHeader="V" /></scanHeaders><appliesTo><add fileExtension="V" /></appliesTo><denyStrings><add string="V" /></denyStrings></filteringRule></filteringRules></requestFiltering></security>`,
	`<security><ipSecurity><add ipAddress="V" subnetMask="V" /></ipSecurity></security>`,
	`<security><authorization><add accessType="Deny" users="V" roles="V" verbs="V" /></authorization></security>`,
	`<aspNetCore processPath="V" arguments="V" />`,
}

// hostileTexts break out of words, comments and blocks, or read what is Caddy's.
var hostileTexts = []string{
	`{env.IIS_TEST_SECRET}`, `{$IIS_TEST_SECRET}`, "{$IIS_TEST_SECRET:`x`}", `{file./etc/hostname}`, `\{env.IIS_TEST_SECRET}`, `{{env.IIS_TEST_SECRET}}`,
	`{http.request.header.X-A}`, "a\nrespond \"IIS_TEST\"", "}\n}\n:1234 {\nrespond hi\n}", "`", "```", `"`, `\"`, `\`, "` {", `{`, `}`, `{}`, `import /etc/passwd`,
	`import`, `# x`, `<<EOF`, "<<EOF\nEOF", `@m`, `*`, `/*`, `not`, `*.*`, `.`, `..`, `/`, `\\host\share`, `C:\`, `../../etc/passwd`, `%00`, `%`, `%2`, `a,b`, ` `, "\t",
	"\u2028", "\ufeff", "\u0085", "\ufffd", strings.Repeat("a", 5000), strings.Repeat("(", 300), `(?R)`, `(a+)+$`, `[[:alpha:]]`, `$1`, `{R:0}`, `{C:9}`, `{R:99}`, `{m:{m:{m:x}}}`,
	`javascript:x`, `//evil.example`, `http://{HTTP_HOST}/`, `http://127.0.0.1:1/{R:1}`, `ftp://x/`, `off`, `none`, `default`, `scripts`, `-`, `users`,
}

// TestHostileWebConfigs imports web.config files with texts that mean something to Caddy:
// the result loads, as one server, and gives nothing of Caddy away.
func TestHostileWebConfigs(t *testing.T) {
	needs.Fixtures(t) // for the frame
	t.Setenv("IIS_TEST_SECRET", "leaked-secret")
	const perServer = 16
	for from := 0; from < len(hostileTexts); from += perServer {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			sites := []*ownSite{{name: "good", folder: "good", webs: make(map[string]string)}}
			for i, text := range hostileTexts[from:min(from+perServer, len(hostileTexts))] {
				var escaped bytes.Buffer
				if err := xml.EscapeText(&escaped, []byte(text)); err != nil {
					t.Fatal(err)
				}
				s := &ownSite{name: fmt.Sprintf("h%d", i), folder: fmt.Sprintf("h%d", i), webs: make(map[string]string)}
				for j, place := range hostilePlaces {
					place = strings.ReplaceAll(place, `"V"`, `"`+escaped.String()+`"`)
					s.webs[fmt.Sprintf("%s/p%d", s.folder, j)] = "<configuration><system.webServer>" + place + "</system.webServer></configuration>"
				}
				sites = append(sites, s)
			}
			serveOwnSites(t, sites, "127.0.0.1:1")
			for _, s := range sites {
				q := ownRequest{method: "GET", path: "/a.html"}
				if status, _, body, _ := q.do(s.addr); status != "200" || body != "FILE a.html" {
					t.Errorf("%s: the site itself answers %s %s", s.name, status, body)
				}
				for j := range hostilePlaces {
					for _, target := range []string{"/p", "/", "/nope", "/x.zz"} {
						target = fmt.Sprintf("/p%d%s", j, target)
						answer, err := ts.Raw(s.addr, "GET "+target+" HTTP/1.1\r\nHost: "+s.addr+"\r\nX-A: header-secret\r\nConnection: close\r\n\r\n")
						if err != nil {
							t.Fatal(err)
						}
						if strings.Contains(answer, "-secret") || strings.Contains(answer, "root:") {
							t.Errorf("%s %s: %s", s.name, target, answer)
						}
					}
				}
			}
		})
	}
}
