package iisimport_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestNamesInAnotherCase: a name in another case than that of IIS is none. IIS answers 500.19 for
// the place of a web.config that has one, and so does Caddy; the report has the name that was
// meant. Other names that IIS does not have are not taken for it.
func TestNamesInAnotherCase(t *testing.T) {
	in := func(sections string) string { return "<system.webServer>" + sections + "</system.webServer>" }
	forms := []struct{ web, meant string }{
		{in(`<Security><ipSecurity allowUnlisted="false" /></Security>`), "system.webServer/security"},
		{in(`<security><IpSecurity allowUnlisted="false" /></security>`), "system.webServer/security/ipSecurity"},
		{in(`<security><ipSecurity AllowUnlisted="false" /></security>`), "allowUnlisted"},
		{in(`<security><ipSecurity><add IpAddress="127.0.0.1" allowed="false" /></ipSecurity></security>`), "ipAddress"},
		{in(`<security><authentication><AnonymousAuthentication enabled="false" /></authentication></security>`), "system.webServer/security/authentication/anonymousAuthentication"},
		{in(`<security><authentication><windowsAuthentication><Providers /></windowsAuthentication></authentication></security>`), "providers"},
		{in(`<security><authorization><Remove users="*" /></authorization></security>`), "remove"},
		{in(`<security><dynamicIpSecurity><DenyByRequestRate enabled="true" /></dynamicIpSecurity></security>`), "denyByRequestRate"},
		{in(`<security><requestFiltering><HiddenSegments><add segment="x.txt" /></HiddenSegments></requestFiltering></security>`), "hiddenSegments"},
		{in(`<security><requestFiltering><requestLimits maxURL="1" /></requestFiltering></security>`), "maxUrl"},
		{in(`<security><requestFiltering><requestLimits><HeaderLimits /></requestLimits></requestFiltering></security>`), "headerLimits"},
		{in(`<security><requestFiltering><filteringRules><filteringRule name="r"><DenyStrings /></filteringRule></filteringRules></requestFiltering></security>`), "denyStrings"},
		{in(`<security ConfigSource="x.config" />`), "configSource"},
		{in(`<security LOCKITEM="true" />`), "lockItem"},
		{in(`<handlers accesspolicy="None" />`), "accessPolicy"},
		{in(`<handlers accessPolicy="Read" AccessPolicy="None" />`), "accessPolicy"},
		{in(`<handlers><Clear /></handlers>`), "clear"},
		{in(`<handlers><remove Name="StaticFile" /></handlers>`), "name"},
		{in(`<handlers LockElements="add" />`), "lockElements"},
		{in(`<Handlers><clear /></Handlers>`), "system.webServer/handlers"},
		{in(`<aspNetCore><EnvironmentVariables /></aspNetCore>`), "environmentVariables"},
		{in(`<modules RunAllManagedModulesForAllRequests="true" />`), "runAllManagedModulesForAllRequests"},
		{in(`<httpredirect enabled="true" destination="/" />`), "system.webServer/httpRedirect"},
		{in(`<httpRedirect Enabled="true" destination="/" />`), "enabled"},
		{in(`<httpRedirect ConfigSource="x.config" />`), "configSource"},
		{in(`<httpErrors><Error statusCode="404" path="x" /></httpErrors>`), "error"},
		{in(`<httpProtocol><CustomHeaders><clear /></CustomHeaders></httpProtocol>`), "customHeaders"},
		{in(`<staticContent><clientcache cacheControlMode="DisableCache" /></staticContent>`), "clientCache"},
		{in(`<defaultDocument><Files /></defaultDocument>`), "files"},
		{in(`<rewrite><rules><Rule name="r"><match url="x" /><action type="AbortRequest" /></Rule></rules></rewrite>`), "rule"},
		{in(`<rewrite><rules><rule name="r"><Match url="x" /><action type="AbortRequest" /></rule></rules></rewrite>`), "match"},
		{in(`<rewrite><rules><rule name="r"><match url="x" /><conditions><Add input="x" /></conditions><action type="AbortRequest" /></rule></rules></rewrite>`), "add"},
		{in(`<rewrite><outboundRules><PreConditions /></outboundRules></rewrite>`), "preConditions"},
		{in(`<Caching enabled="false" />`), "system.webServer/caching"},
		{in(`<ISAPIFilters />`), "system.webServer/isapiFilters"},
		{`<system.webserver><handlers accessPolicy="None" /></system.webserver>`, "system.webServer"},
		{`<configSections><section name="system.webserver" type="X" /></configSections><system.webserver />`, "system.webServer"},
		{`<Location path="in">` + in(`<handlers accessPolicy="None" />`) + `</Location>`, "location"},
		{`<location Path="in">` + in(`<directoryBrowse enabled="true" />`) + `</location>`, "path"},
		{`<location path="in" allowoverride="false">` + in(`<directoryBrowse enabled="true" />`) + `</location>`, "allowOverride"},
		{`<ConfigSections><section name="x" type="X" /></ConfigSections>`, "configSections"},
		{`<configSections><Section name="x" type="X" /></configSections>`, "section"},
		{`<configSections><sectionGroup Name="x" /></configSections>`, "name"},
		{`<configSections><section Name="x" type="X" /></configSections>`, "name"},
		{`<System.Web><authorization><deny users="*" /></authorization></System.Web>`, "system.web"},
		{`<Sites />`, "sites"},

		{in(`<handlers other="x" />`), ""},
		{in(`<httpProtocol><other /></httpProtocol>`), ""},
		{in(`<other><Handlers accesspolicy="None" /></other>`), ""},
		{`<other><Location Path="x" /></other>`, ""},
		{`<configSections><section name="AppSettings" type="X" /></configSections><AppSettings />`, ""},
	}
	var more []iisconfig.File
	var paths []string
	for i, form := range forms {
		more = append(more, iisconfig.File{Name: fmt.Sprintf("export/w/f%d/web.config", i), Data: []byte("<configuration>" + form.web + "</configuration>")})
		paths = append(paths, fmt.Sprintf("/f%d/x.txt", i))
	}
	addr, plan := startHost(t, hostOf("", "", "", ""), "", iisimport.Options{}, more...)
	got := strings.Fields(statuses(t, addr, append(paths, "/x.txt")...))
	if got[len(forms)] != "200" {
		t.Errorf("beside them: %s", got[len(forms)])
	}
	for i, form := range forms {
		told := ""
		if form.meant != "" {
			told = fmt.Sprintf(", which IIS knows as %s only", form.meant)
		}
		if (got[i] == "500") != (form.meant != "") { // what is of .NET goes to its worker process
			t.Errorf("%s: %s", form.web, got[i])
		}
		closed := slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool {
			return strings.Contains(l.String(), "IIS answers 500.19 here: ") && strings.Contains(l.String(), more[i].Name+":") && strings.Contains(l.String(), told)
		})
		if closed != (form.meant != "") {
			t.Errorf("%s: closed %t in the report, as %q", form.web, closed, form.meant)
		}
	}
}

// TestServersNamesInAnotherCase: so it is with what the server says of a place, and in a location
// without a path that IIS knows, or around all places, with everything.
func TestServersNamesInAnotherCase(t *testing.T) {
	const off = `<system.webServer><Handlers accessPolicy="None" /></system.webServer></location>`
	for name, c := range map[string]struct{ root, more, web, want string }{
		"a section of a place":              {more: `<location path="S/dir">` + off, want: "200 500 200"},
		"a section of a web.config's place": {web: `<location path="dir">` + off, want: "200 500 200"},
		"a location":                        {more: `<location Path="S/dir"><system.webServer><directoryBrowse enabled="true" /></system.webServer></location>`, want: "500 500 500"},
		"an application":                    {root: `EnabledProtocols="net.tcp"`, want: "500 500 500"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, plan := startHost(t, hostOf("", c.root, "", c.more), c.web, iisimport.Options{})
			if got := statuses(t, addr, "/x.txt", "/dir/x.txt", "/sub/x.txt"); got != c.want {
				t.Errorf("got %s, want %s\n%s", got, c.want, plan.Caddyfile())
			}
		})
	}
}
