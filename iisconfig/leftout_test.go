package iisconfig

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// nested writes a section below its groups, system.webServer outside, with attributes and contents.
func nested(name, attributes, inside string) string {
	parts := strings.Split(name, "/")
	last := len(parts) - 1
	text := "<" + parts[last] + " " + attributes + ">" + inside + "</" + parts[last] + ">"
	for _, group := range slices.Backward(parts[:last]) {
		text = "<" + group + ">" + text + "</" + group + ">"
	}
	return text
}

// declared writes the declaration of a section.
func declared(name, attributes string) string {
	parts := strings.Split(name, "/")
	last := len(parts) - 1
	text := `<section name="` + parts[last] + `" ` + attributes + `/>`
	for _, group := range slices.Backward(parts[:last]) {
		text = `<sectionGroup name="` + group + `">` + text + `</sectionGroup>`
	}
	return text
}

// TestLocksOfAllSections: what the server locks no web.config may have, whatever the section, also
// one that nothing here reads, or that nobody knows.
func TestLocksOfAllSections(t *testing.T) {
	names := slices.Concat(slices.Collect(maps.Keys(sectionReaders)), slices.Collect(maps.Keys(leftOut)), []string{"system.webServer/odd", "system.webServer/security/odd"})
	tried := 0
	for _, name := range names {
		if !strings.HasPrefix(name, webServer) || serverOnly[name] {
			continue
		}
		tried++
		web := map[string]string{"a": "<configuration>" + nested(name, "", "") + "</configuration>"}
		for how, s := range map[string]*Server{
			"by its declaration":     hosted(t, declared(name, `overrideModeDefault="Deny"`), "", web),
			"by its allowDefinition": hosted(t, declared(name, `allowDefinition="AppHostOnly"`), "", web),
			"by a location":          hosted(t, declared(name, ""), `<location path="A" overrideMode="Deny">`+nested(name, "", "")+"</location>", web),
			"by lockItem":            hosted(t, declared(name, ""), nested(name, `lockItem="true"`, ""), web),
		} {
			if got := faultCodes(s.SiteByName("A").At("/")); !slices.Equal(slices.Compact(got), []string{CodeLocked}) {
				t.Errorf("%s locked %s: %v", name, how, got)
			}
			if got := faultCodes(s.SiteByName("B").At("/")); got != nil {
				t.Errorf("%s locked %s: the other site has %v", name, how, got)
			}
		}
		if name != "system.webServer/rewrite/allowedServerVariables" { // locked by the module itself
			s := hosted(t, declared(name, ""), "", web)
			if got := faultCodes(s.SiteByName("A").At("/")); got != nil {
				t.Errorf("%s, not locked: %v", name, got)
			}
		}
	}
	if tried < 40 {
		t.Errorf("%d sections", tried)
	}
}

// TestSectionsLeftOut: what IIS answers 500.19 for is so also in sections of which nothing is
// translated.
func TestSectionsLeftOut(t *testing.T) {
	for _, c := range []struct{ section, attributes, inside, want string }{
		{"caching", `enabled="false"`, `<profiles><add extension=".a" policy="CacheUntilChange" duration="00:00:30"/><remove extension=".b"/><clear/></profiles>`, ""},
		{"caching", `Enabled="false"`, ``, CodeUnknown},
		{"caching", `enabled="no"`, ``, CodeBadValue},
		{"caching", `maxCacheSize="-1"`, ``, CodeBadValue},
		{"caching", ``, `<Profiles/>`, CodeUnknown},
		{"caching", ``, `<profiles><add extension=".a" Policy="DontCache"/></profiles>`, CodeUnknown},
		{"caching", ``, `<profiles><add extension=".a" policy="Sometimes"/></profiles>`, CodeBadValue},
		{"caching", ``, `<profiles><Clear/></profiles>`, CodeUnknown},
		{"caching", `newer="1"`, `<newer/>`, ""},
		{"asp", `enableParentPaths="yes"`, ``, CodeBadValue},
		{"asp", ``, `<session AllowSessionState="true"/>`, CodeUnknown},
		{"asp", ``, `<limits requestQueueMax="many"/>`, CodeBadValue},
		{"cgi", `createProcessAsUser="x"`, ``, CodeBadValue},
		{"fastCgi", ``, `<application fullPath="C:\php.exe" protocol="Pipe"/>`, CodeBadValue},
		{"fastCgi", ``, `<application fullPath="C:\php.exe"><environmentVariables><EnvironmentVariable name="A" value="b"/></environmentVariables></application>`, CodeUnknown},
		{"httpCompression", ``, `<scheme name="gzip" DLL="x.dll"/>`, CodeUnknown},
		{"httpCompression", ``, `<dynamicTypes><add mimeType="a/b" enabled="True"/></dynamicTypes>`, ""},
		{"httpCompression", ``, `<dynamicTypes><add mimeType="a/b" enabled="on"/></dynamicTypes>`, CodeBadValue},
		{"httpLogging", `selectiveLogging="LogSome"`, ``, CodeBadValue},
		{"httpTracing", ``, `<TraceUrls/>`, CodeUnknown},
		{"odbcLogging", `DataSource="x"`, ``, CodeUnknown},
		{"serverSideInclude", `ssiExecDisable="1x"`, ``, CodeBadValue},
		{"tracing/traceFailedRequests", ``, `<add path="*"><traceAreas><add provider="ASP" verbosity="Loud"/></traceAreas></add>`, CodeBadValue},
		{"tracing/traceFailedRequests", ``, `<add path="*"><FailureDefinitions statusCodes="500"/></add>`, CodeUnknown},
		{"tracing/traceProviderDefinitions", ``, `<add name="a" guid="b"><areas><add Name="x" value="1"/></areas></add>`, CodeUnknown},
		{"Tracing/traceFailedRequests", ``, ``, CodeUnknown},
		{"tracing/TraceFailedRequests", ``, ``, CodeUnknown},
		{"validation", `validateIntegratedModeConfiguration="flase"`, ``, CodeBadValue},
		{"webdav/authoring", ``, `<Locks enabled="true"/>`, CodeUnknown},
		{"webdav/authoringRules", `allowNonMimeMapFiles="x"`, ``, CodeBadValue},
		{"applicationInitialization", ``, `<add InitializationPage="/x"/>`, CodeUnknown},
		{"caching", `configSource="..\x.config"`, ``, CodeRefused},
		{"caching", `lockitem="true"`, ``, CodeUnknown},
	} {
		name := webServer + c.section
		s := hosted(t, "", "", map[string]string{"a": "<configuration>" + nested(name, c.attributes, c.inside) + "</configuration>"})
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := faultCodes(s.SiteByName("A").At("/x")); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", nested(name, c.attributes, c.inside), got, want)
		}
	}
	// Parts that the server has locked.
	s := hosted(t, "", `<system.webServer><caching lockAttributes="enabled"><profiles lockElements="add"/></caching></system.webServer>`, map[string]string{
		"a": inWeb(`<caching enabled="true"/>`), "b": inWeb(`<caching enableKernelCache="true"/>`),
	})
	if got := faultCodes(s.SiteByName("A").At("/")); !slices.Equal(got, []string{CodeLocked}) {
		t.Errorf("a locked attribute: %v", got)
	}
	if got := faultCodes(s.SiteByName("B").At("/")); got != nil {
		t.Errorf("beside a locked attribute: %v", got)
	}
	s = hosted(t, "", `<system.webServer><caching><profiles lockElements="add"/></caching></system.webServer>`, map[string]string{
		"a": inWeb(`<caching><profiles><add extension=".a"/></profiles></caching>`),
	})
	if got := faultCodes(s.SiteByName("A").At("/")); !slices.Equal(got, []string{CodeLocked}) {
		t.Errorf("a locked element: %v", got)
	}
}
