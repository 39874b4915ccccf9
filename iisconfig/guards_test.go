package iisconfig

import (
	"slices"
	"testing"
)

// TestGuardsOfTheServer: in a part of an applicationHost.config, which does not tell what is
// locked, no web.config takes off what the server protects a place by. Where the server
// protects nothing, or has unlocked it, the web.config counts.
func TestGuardsOfTheServer(t *testing.T) {
	for _, c := range []struct{ guard, none, off string }{
		{
			`<security><access sslFlags="Ssl"/></security>`, `<security><access sslFlags="None"/></security>`,
			`<security><access sslFlags="None"/></security>`,
		},
		{
			`<security><ipSecurity allowUnlisted="false"/></security>`, `<security><ipSecurity/></security>`,
			`<security><ipSecurity allowUnlisted="true"/></security>`,
		},
		{
			`<security><ipSecurity><add ipAddress="10.0.0.1"/></ipSecurity></security>`, `<security><ipSecurity allowUnlisted="true"/></security>`,
			`<security><ipSecurity><remove ipAddress="10.0.0.1"/></ipSecurity></security>`,
		},
		{
			`<security><dynamicIpSecurity><denyByRequestRate enabled="true"/></dynamicIpSecurity></security>`, `<security><dynamicIpSecurity/></security>`,
			`<security><dynamicIpSecurity><denyByRequestRate enabled="false"/></dynamicIpSecurity></security>`,
		},
		{
			`<security><authentication><anonymousAuthentication enabled="false"/></authentication></security>`,
			`<security><authentication><anonymousAuthentication enabled="true"/></authentication></security>`,
			`<security><authentication><anonymousAuthentication enabled="true"/></authentication></security>`,
		},
		{`<serverRuntime enabled="false"/>`, `<serverRuntime enabled="true"/>`, `<serverRuntime enabled="true"/>`},
	} {
		location := func(mode, sections string) string {
			return `<location path="A"` + mode + `><system.webServer>` + sections + `</system.webServer></location>`
		}
		for _, w := range []struct {
			name, declared, server string
			locked                 bool
		}{
			{"for a site", "", location("", c.guard), true},
			{"for the server", "", `<system.webServer>` + c.guard + `</system.webServer>`, true},
			{"above a location that has none", "", `<system.webServer>` + c.guard + `</system.webServer>` + location("", c.none), true},
			{"none", "", location("", c.none), false},
			{"not there", "", "", false},
			{"for another site", "", `<location path="B"><system.webServer>` + c.guard + `</system.webServer></location>`, false},
			{"unlocked by a location", "", location(` overrideMode="Allow"`, c.guard), false},
			{"unlocked by its declaration", unlocked, location("", c.guard), false},
		} {
			s := hosted(t, w.declared, w.server, map[string]string{"a/sub": inWeb(c.off)})
			set := s.SiteByName("A").At("/sub")
			if got := slices.Equal(faultCodes(set), []string{CodeLocked}); got != w.locked || !got && set.Faults != nil {
				t.Errorf("%s, %s: locked is %v, want %v: %v", c.guard, w.name, got, w.locked, set.Faults)
			}
			if above := s.SiteByName("A").At("/"); above.Faults != nil {
				t.Errorf("%s, %s: the place above has %v", c.guard, w.name, above.Faults)
			}
		}
	}
}

// TestSectionsTwice: IIS answers 500.19 wherever a web.config is in force that has a section
// twice.
func TestSectionsTwice(t *testing.T) {
	const filtering = `<security><requestFiltering/></security>`
	at := func(path string) string {
		return `<location path="` + path + `"><system.webServer><staticContent/></system.webServer></location>`
	}
	for _, c := range []struct {
		web   string
		twice bool
	}{
		{inWeb(filtering + filtering), true},
		{inWeb(`<staticContent/><staticContent/>`), true},
		{inWeb(`<caching/><caching/>`), true},
		{`<configuration><system.webServer><staticContent/></system.webServer><system.webServer><staticContent/></system.webServer></configuration>`, true},
		{`<configuration>` + at("x") + at("X/") + `</configuration>`, true},
		{`<configuration>` + at("x") + at("y") + `</configuration>`, false},
		{`<configuration>` + at(".") + `<system.webServer><staticContent/></system.webServer></configuration>`, false},
		{`<configuration><system.webServer>` + filtering + `</system.webServer><system.webServer><staticContent/></system.webServer></configuration>`, false},
		{`<configuration><system.web/><system.web/></configuration>`, false},
	} {
		s := hosted(t, "", "", map[string]string{"a": c.web})
		for _, path := range []string{"/", "/z"} {
			if got := slices.Equal(faultCodes(s.SiteByName("A").At(path)), []string{CodeDuplicate}); got != c.twice {
				t.Errorf("%s: %s is closed: %v, want %v; %v", c.web, path, got, c.twice, s.Findings)
			}
		}
		if f := s.SiteByName("B").At("/").Faults; f != nil {
			t.Errorf("%s: the other site has %v", c.web, f)
		}
	}
}
