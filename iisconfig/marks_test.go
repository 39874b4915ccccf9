package iisconfig

import (
	"slices"
	"strings"
	"testing"
)

// hosted reads a server with the site A in C:\web\a and, below it, the web.config
// files given, by folder.
func hosted(t *testing.T, declared, server string, webs map[string]string) *Server {
	t.Helper()
	files := map[string]string{"applicationHost.config": `<configuration><configSections>` + declared + `</configSections>
<system.applicationHost><sites><site name="A" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\a"/></application></site>
<site name="B" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\b"/></application></site></sites></system.applicationHost>` + server + `</configuration>`}
	for folder, text := range webs {
		files["web/"+folder+"/web.config"] = text
	}
	s, err := ReadDir(mapFS(files), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inWeb is a web.config with sections of system.webServer.
func inWeb(sections string) string {
	return "<configuration><system.webServer>" + sections + "</system.webServer></configuration>"
}

func faultCodes(s *Settings) (codes []string) {
	for _, f := range s.Faults {
		codes = append(codes, f.Code)
	}
	return codes
}

// TestUnknownParts reads what is not understood where it may protect something: it is
// in the model, for the path and for those below it.
func TestUnknownParts(t *testing.T) {
	for _, test := range []struct{ sections, section, what string }{
		{`<security><access sslFlags="Ssl" more="1"/></security>`, "access", "the attribute more of access"},
		{`<security><ipSecurity><add ipAddress="10.0.0.1" allowed="true" port="1"/></ipSecurity></security>`, "ipSecurity", "the attribute port of add"},
		{`<security><requestFiltering><denyMoon/></requestFiltering></security>`, "requestFiltering", "the element denyMoon in requestFiltering"},
		{`<security><requestFiltering><requestLimits><other/></requestLimits></requestFiltering></security>`, "requestFiltering", "the element other in requestLimits"},
		{`<security><authorization><permit users="*"/></authorization></security>`, "authorization", "the element permit in authorization"},
		{`<security><authentication><moonAuthentication enabled="true"/></authentication></security>`, "authentication/moonAuthentication", "the section"},
		{`<security><guard on="true"/></security>`, "guard", "the section"},
		{`<security><access configSource="gone.config"/></security>`, "access", "the file gone.config"},
		{`<security configSource="gone.config"/>`, "*", "the file gone.config"},
		{`<security><access xmlns:xdt="http://schemas.microsoft.com/XML-Document-Transform" xdt:Transform="Remove"/></security>`, "access", "the transformation xdt:Transform of access"},
	} {
		s := hosted(t, "", "", map[string]string{"a": inWeb(test.sections)}).SiteByName("A")
		for _, path := range []string{"/", "/x/y"} {
			got := s.At(path).Unknown
			if len(got) != 1 || got[0].Section != securityGroup+"/"+test.section || got[0].What != test.what || got[0].Source.Line != 1 {
				t.Errorf("%s at %s: %+v", test.sections, path, got)
			}
		}
	}
	s := hosted(t, "", "", map[string]string{"a": inWeb(`<staticContent colour="red"/><security><applicationDependencies/><isapiCgiRestriction/></security>`)}).SiteByName("A")
	if got := s.At("/").Unknown; got != nil {
		t.Errorf("sections that protect nothing: %+v", got)
	}
}

// TestUnknownInRules keeps in a rule what is not understood in it.
func TestUnknownInRules(t *testing.T) {
	for rule, want := range map[string]string{
		`<rule name="r" mood="good"><match url="x"/></rule>`:                                                    "the attribute mood of rule",
		`<rule name="r"><match url="x" mood="good"/></rule>`:                                                    "the attribute mood of match",
		`<rule name="r"><match url="x"/><only/></rule>`:                                                         "the element only in a rule",
		`<rule name="r"><match url="x"/><conditions><add input="{URL}" pattern="x" v="1"/></conditions></rule>`: "the attribute v of add",
		`<rule name="r"><match url="x"/><action type="None" at="1"/></rule>`:                                    "the attribute at of action",
		`<rule name="r" patternSyntax="Wildcard"><action type="AbortRequest"/></rule>`:                          "a rule with 0 elements match",
		`<rule name="r"><match url="x"/><match url="y"/></rule>`:                                                "a rule with 2 elements match",
	} {
		set := hosted(t, "", "", map[string]string{"a": inWeb(`<rewrite><rules><rule name="first"><match url="y"/></rule>` + rule + `</rules></rewrite>`)}).SiteByName("A").At("/")
		rules := set.Rewrite.Rules
		if len(rules) != 2 || len(rules[0].Unknown) != 0 || len(rules[1].Unknown) != 1 || rules[1].Unknown[0].What != want || len(set.Unknown) != 0 {
			t.Errorf("%s: %+v, settings %+v", rule, rules, set.Unknown)
		}
	}
}

// TestFaults reads what IIS answers 500.19 for.
func TestFaults(t *testing.T) {
	const deny = `<sectionGroup name="system.webServer"><section name="handlers" overrideModeDefault="Deny"/><sectionGroup name="rewrite">
<section name="rules" overrideModeDefault="Deny"/></sectionGroup><sectionGroup name="security"><section name="access" overrideModeDefault="Deny"/><section name="ipSecurity" overrideModeDefault="Allow"/></sectionGroup></sectionGroup>`
	const server = `<system.webServer><security><ipSecurity allowUnlisted="false"><add ipAddress="10.0.0.1" allowed="true"/></ipSecurity></security>
<staticContent><mimeMap fileExtension=".a" mimeType="a/a"/></staticContent></system.webServer>
<location path="A/free" overrideMode="Allow"><system.webServer><handlers/></system.webServer></location>
<location path="A/shut" overrideMode="Deny"><system.webServer><httpRedirect/></system.webServer></location>`
	for _, test := range []struct {
		name, folder, web, path string
		want                    []string
	}{
		{"locked", "a", inWeb(`<handlers><clear/></handlers>`), "/", []string{CodeLocked}},
		{"locked for paths below", "a", inWeb(`<handlers><clear/></handlers>`), "/x/y", []string{CodeLocked}},
		{"unlocked by a location", "a/free/x", inWeb(`<handlers><clear/></handlers>`), "/free/x", nil},
		{"locked by a location", "a/shut", inWeb(`<httpRedirect enabled="true"/>`), "/shut", []string{CodeLocked}},
		{"not locked beside it", "a/open", inWeb(`<httpRedirect enabled="true"/>`), "/open", nil},
		{"locked section of a group", "a", inWeb(`<security><access/></security>`), "/", []string{CodeLocked}},
		{"locked rules", "a", inWeb(`<rewrite><rules><clear/></rules></rewrite>`), "/", []string{CodeLocked}},
		{"global rules", "a", inWeb(`<rewrite><globalRules><clear/></globalRules></rewrite>`), "/", []string{CodeRefused}},
		{"allowed variables", "a", inWeb(`<rewrite><allowedServerVariables><add name="X"/></allowedServerVariables></rewrite>`), "/", []string{CodeLocked}},
		{"locked in a location of the web.config", "a", `<configuration><location path="x"><system.webServer><handlers/></system.webServer></location></configuration>`, "/x", []string{CodeLocked}},
		{"not in force above that location", "a", `<configuration><location path="x"><system.webServer><handlers/></system.webServer></location></configuration>`, "/", nil},
		{"malformed", "a", `<configuration><system.webServer>`, "/x", []string{CodeMalformed}},
		{"malformed in one folder", "a/x", `<configuration`, "/y", nil},
		{"duplicate", "a", inWeb(`<staticContent><mimeMap fileExtension=".A" mimeType="a/b"/></staticContent>`), "/x", []string{CodeDuplicate}},
		{"bad value", "a", inWeb(`<security><ipSecurity allowUnlisted="flase"/></security>`), "/", []string{CodeBadValue}},
		{"bad value that opens nothing", "a", inWeb(`<directoryBrowse enabled="flase"/>`), "/", []string{CodeBadValue}},
		{"bad action", "a", inWeb(`<rewrite><outboundRules><rule name="r"><match pattern="x"/><action type="CustomResponse" statusCode="302"/></rule></outboundRules></rewrite>`), "/", []string{CodeBadValue}},
		{"cleared list of addresses", "a", inWeb(`<security><ipSecurity><clear/></ipSecurity></security>`), "/", []string{CodeRefused}},
		{"key of a map twice", "a", inWeb(`<rewrite><rewriteMaps><rewriteMap name="m"><add key="a" value="1"/><add key="a" value="2"/></rewriteMap></rewriteMaps></rewrite>`), "/", []string{CodeDuplicate}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := hosted(t, deny, server, map[string]string{test.folder: test.web})
			set := s.SiteByName("A").At(test.path)
			if got := faultCodes(set); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v; findings %v", got, test.want, s.Findings)
			}
			if got := faultCodes(s.SiteByName("B").At("/")); got != nil {
				t.Errorf("the other site has %v", got)
			}
			if slices.Contains(test.want, CodeLocked) && (set.Handlers != nil && set.Handlers.Source.File != "applicationHost.config" || set.Access != nil || set.Rewrite != nil) {
				t.Error("a locked section is in force")
			}
		})
	}
}

// TestLockBelow has a web.config lock a section for those below it.
func TestLockBelow(t *testing.T) {
	s := hosted(t, "", "", map[string]string{
		"a":     `<configuration><location overrideMode="Deny"><system.webServer><httpRedirect enabled="false"/></system.webServer></location></configuration>`,
		"a/sub": inWeb(`<httpRedirect enabled="true"/>`),
	}).SiteByName("A")
	if got := faultCodes(s.At("/")); got != nil {
		t.Errorf("its own: %v", got)
	}
	if set := s.At("/sub"); !slices.Equal(faultCodes(set), []string{CodeLocked}) || set.HTTPRedirect.Enabled {
		t.Errorf("%+v", set)
	}
}

// TestFiltering reads every attribute of requestFiltering.
func TestFiltering(t *testing.T) {
	s := hosted(t, "", "<system.webServer><security><requestFiltering>"+`<fileExtensions><add fileExtension=".a" allowed="false"/><add fileExtension=".b"/></fileExtensions>
<verbs allowUnlisted="false"><add verb="GET"/><add verb="trace" allowed="false"/></verbs><requestLimits maxUrl="9"/></requestFiltering></security></system.webServer>`,
		map[string]string{
			"a": inWeb(`<security><requestFiltering allowDoubleEscaping="true" allowHighBitCharacters="false" unescapeQueryString="false" removeServerHeader="true">
<fileExtensions><remove fileExtension=".A"/><add fileExtension=".a"/></fileExtensions><verbs><remove verb="TRACE"/></verbs>
<requestLimits maxAllowedContentLength="0" maxQueryString="7"><headerLimits><add header="X-A" sizeLimit="0"/></headerLimits></requestLimits>
<denyQueryStringSequences><add sequence="q"/></denyQueryStringSequences><alwaysAllowedUrls><add url="/u"/></alwaysAllowedUrls>
<alwaysAllowedQueryStrings><add queryString="a=b"/></alwaysAllowedQueryStrings>
<filteringRules><filteringRule name="r" scanUrl="true" scanQueryString="true" scanAllRaw="true" denyUnescapedPercent="false"><scanHeaders><add requestHeader="H"/></scanHeaders>
<appliesTo><add fileExtension=".x"/></appliesTo><denyStrings><add string="s"/></denyStrings></filteringRule></filteringRules></requestFiltering></security>`),
			"b": inWeb(`<security><requestFiltering><verbs><add verb="TRACE" allowed="false"/></verbs></requestFiltering></security>`),
		})
	if s.Findings != nil {
		t.Error(s.Findings)
	}
	f := s.SiteByName("A").At("/").RequestFiltering
	words := func(values []Value) string {
		var out []string
		for _, v := range values {
			out = append(out, v.Value)
		}
		return strings.Join(out, " ")
	}
	if !f.DoubleEscaping || f.HighBit || f.UnescapeQueryString || !f.RemoveServerHeader || f.UnlistedVerbs || !f.UnlistedExtensions ||
		f.MaxContentLength != 0 || f.MaxURL != 9 || f.MaxQueryString != 7 || len(f.HeaderLimits) != 1 || f.HeaderLimits[0].Header != "X-A" || f.HeaderLimits[0].Size != 0 {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct{ got, want string }{
		{words(f.AllowedExtensions), ".b .a"},
		{words(f.DeniedExtensions), ""},
		{words(f.AllowedVerbs), "GET"},
		{words(f.DeniedVerbs), "trace"},
		{words(f.DeniedQuerySequences), "q"},
		{words(f.AlwaysAllowedURLs), "/u"},
		{words(f.AlwaysAllowedQueries), "a=b"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	if r := f.Rules[0]; !r.ScanURL || !r.ScanQueryString || !r.ScanAllRaw || r.DenyUnescapedPercent || words(r.ScanHeaders) != "H" || words(r.AppliesTo) != ".x" || words(r.DenyStrings) != "s" {
		t.Errorf("%+v", r)
	}
	// Verbs have a case: TRACE is not trace.
	b := s.SiteByName("B").At("/")
	if f := b.RequestFiltering; words(f.DeniedVerbs) != "trace TRACE" || b.Faults != nil || !f.HighBit || f.DoubleEscaping || f.MaxContentLength != 30_000_000 || f.MaxQueryString != 2048 {
		t.Errorf("%+v, %v", f, b.Faults)
	}
}

// TestSecurityFields reads what ipSecurity, dynamicIpSecurity and authentication have.
func TestSecurityFields(t *testing.T) {
	s := hosted(t, unlocked, `<system.webServer><security><authentication><anonymousAuthentication enabled="false"/><windowsAuthentication><providers><add value="Negotiate"/></providers></windowsAuthentication></authentication>
<ipSecurity enableReverseDns="true"><add ipAddress="10.0.0.1" subnetMask="255.255.255.255" allowed="true"/></ipSecurity></security></system.webServer>`,
		map[string]string{"a": inWeb(`<security><authentication><anonymousAuthentication userName=""/></authentication>
<ipSecurity enableProxyMode="true" denyAction="notfound"><remove ipAddress="10.0.0.1"/><add ipAddress="10.0.0.2"/><add domainName="*.x"/></ipSecurity>
<dynamicIpSecurity denyAction="AbortRequest" enableProxyMode="true"><denyByConcurrentRequests enabled="true" maxConcurrentRequests="9"/><denyByRequestRate enabled="true"/></dynamicIpSecurity></security>`)})
	set := s.SiteByName("A").At("/")
	ip := set.IPSecurity
	if !ip.ProxyMode || !ip.ReverseDNS || ip.DenyAction != "NotFound" || len(ip.Entries) != 2 || ip.Entries[0].Allow || ip.Entries[0].Mask != "255.255.255.255" || ip.Entries[1].Mask != "" {
		t.Errorf("%+v", ip)
	}
	if d := set.DynamicIPSecurity; d.MaxConcurrent != 9 || d.MaxRequests != 20 || d.Interval != 200 || d.DenyAction != "AbortRequest" || !d.ProxyMode {
		t.Errorf("%+v", d)
	}
	auth := set.Authentication
	if len(auth) != 2 || auth[0].Enabled || !auth[0].Explicit || auth[0].Source.Scope != "" || auth[1].Explicit || auth[1].Providers[0].Value != "Negotiate" {
		t.Errorf("%+v", auth)
	}
	others := slices.DeleteFunc(slices.Clone(s.Findings), func(f Finding) bool { return f.Code == CodeIgnored })
	if len(others) > 0 || len(s.Findings) != 2 || set.Faults != nil || set.Unknown != nil {
		t.Error(s.Findings, set.Faults, set.Unknown)
	}
}

// TestRewriteFields reads what rules need beside their patterns.
func TestRewriteFields(t *testing.T) {
	s := hosted(t, "", "", map[string]string{"a": inWeb(`<rewrite><rules useOriginalURLEncoding="false"><rule name="r" patternSyntax="exactmatch"><match url="x"/>
<conditions logicalGrouping="MatchAny" trackAllCaptures="true"><add input="{REQUEST_FILENAME}" type="IsFile" negate="true"/></conditions>
<action type="rewrite" url="y" logRewrittenUrl="true"/></rule></rules>
<outboundRules rewriteBeforeCache="true"><rule name="o" preCondition="p"><match filterByTags="A" customTags="t" occurrences="3" pattern="x"/><action type="Rewrite" value="z" replace="false"/></rule>
<preConditions><preCondition name="p" patternSyntax="Wildcard" logicalGrouping="MatchAny"><add input="{RESPONSE_STATUS}" pattern="2*"/></preCondition></preConditions>
<customTags><tags name="t"><tag name="x" attribute="y"/></tags></customTags></outboundRules>
<providers><provider name="Db" type="T"/></providers></rewrite><proxy enabled="true" timeout="00:00:09" includePortInXForwardedFor="false" reverseRewriteHostInResponseHeaders="false" xForwardedByHeaderName="X-By"/>`)})
	set := s.SiteByName("A").At("/")
	r := set.Rewrite
	rule, out := r.Rules[0], r.OutboundRules[0]
	if !r.KeepEncoded || r.GlobalKeepEncoded || !r.BeforeCache || r.CustomTags[0].Value != "t" || r.Providers[0].Value != "Db" {
		t.Errorf("%+v", r)
	}
	if rule.PatternSyntax != "ExactMatch" || !rule.AnyCondition || !rule.TrackAllCaptures || rule.Conditions[0].MatchType != "IsFile" || rule.Action.Type != "Rewrite" || !rule.Action.LogRewrittenURL || rule.Unknown != nil {
		t.Errorf("%+v", rule)
	}
	if out.PreCondition != "p" || !out.TrackAllCaptures || out.Match.Occurrences != 3 || out.Match.CustomTags != "t" || out.Action.Replace || out.Unknown != nil {
		t.Errorf("%+v", out)
	}
	if p := r.PreConditions[0]; p.Name != "p" || p.PatternSyntax != "Wildcard" || !p.AnyCondition || p.Conditions[0].Input != "{RESPONSE_STATUS}" {
		t.Errorf("%+v", p)
	}
	if p := set.Proxy; !p.Enabled || p.Timeout != "00:00:09" || p.ForwardedForPort || p.ReverseRewriteHost || p.ForwardedFor != "X-Forwarded-For" || p.ForwardedBy != "X-By" {
		t.Errorf("%+v", p)
	}
	if set.Unknown != nil || set.Faults != nil {
		t.Error(set.Unknown, set.Faults)
	}
}

// TestItemLocks: parts of sections that the server has locked, in sections that it has
// not.
func TestItemLocks(t *testing.T) {
	const server = `<system.webServer><httpErrors lockAttributes="defaultPath, allowAbsolutePathsWhenDelegated"/>
<handlers><add name="Kept" path="*.a" verb="*" modules="X" lockItem="true"/><add name="Free" path="*.b" verb="*" modules="X"/></handlers>
<staticContent lockElements="clear"><clientCache cacheControlMode="NoControl" lockItem="true"/></staticContent>
<directoryBrowse lockAllAttributesExcept="showFlags"/><urlCompression lockItem="true"/>
<security><requestFiltering lockAllElementsExcept="verbs"><requestLimits lockAttributes="*"/></requestFiltering></security></system.webServer>
<location path="A/sub"><system.webServer><httpRedirect lockAttributes="destination"/></system.webServer></location>`
	for _, test := range []struct {
		folder, sections string
		locked           bool
	}{
		{"a", `<httpErrors errorMode="Custom"/>`, false},
		{"a", `<httpErrors defaultPath="x"/>`, true},
		{"a", `<handlers><remove name="free"/><add name="New" path="*.c" verb="*" modules="X"/></handlers>`, false},
		{"a", `<handlers><remove name="kept"/></handlers>`, true},
		{"a", `<handlers><clear/></handlers>`, true},
		{"a", `<staticContent><mimeMap fileExtension=".x" mimeType="a/x"/></staticContent>`, false},
		{"a", `<staticContent><clear/></staticContent>`, true},
		{"a", `<staticContent><clientCache cacheControlMode="DisableCache"/></staticContent>`, true},
		{"a", `<directoryBrowse showFlags="Date"/>`, false},
		{"a", `<directoryBrowse enabled="true"/>`, true},
		{"a", `<urlCompression doStaticCompression="false"/>`, true},
		{"a", `<security><requestFiltering><verbs allowUnlisted="false"/></requestFiltering></security>`, false},
		{"a", `<security><requestFiltering><hiddenSegments><clear/></hiddenSegments></requestFiltering></security>`, true},
		{"a", `<httpRedirect destination="/x"/>`, false},
		{"a/sub/x", `<httpRedirect destination="/x"/>`, true},
		{"a/sub/x", `<httpRedirect enabled="true"/>`, false},
	} {
		s := hosted(t, "", server, map[string]string{test.folder: inWeb(test.sections)})
		path := strings.TrimPrefix(test.folder, "a")
		set := s.SiteByName("A").At("/" + path)
		if got := slices.Contains(faultCodes(set), CodeLocked); got != test.locked || !got && set.Faults != nil {
			t.Errorf("%s: %v; %v", test.sections, set.Faults, s.Findings)
		}
	}
}

// TestLongPath closes a path that is too long to have settings.
func TestLongPath(t *testing.T) {
	long := strings.Repeat("x/", 200) + "y"
	s := hosted(t, "", `<location path="A/`+long+`"><system.webServer><security><access sslFlags="Ssl"/></security></system.webServer></location>`, nil).SiteByName("A")
	if s.At("/"+long).Unknown == nil || s.At("/x/x").Unknown != nil {
		t.Error("the path is open, or one above it is closed")
	}
}

// unlocked declares guards that the web.config files of a server may have.
const unlocked = `<sectionGroup name="system.webServer"><sectionGroup name="security">
<section name="access" overrideModeDefault="Allow"/><section name="ipSecurity" overrideModeDefault="Allow"/><section name="dynamicIpSecurity" overrideModeDefault="Allow"/>
<sectionGroup name="authentication"><section name="anonymousAuthentication" overrideModeDefault="Allow"/></sectionGroup></sectionGroup>
<section name="serverRuntime" overrideModeDefault="Allow"/></sectionGroup>`
