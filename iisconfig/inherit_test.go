package iisconfig_test

import (
	"fmt"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// TestAttributesInherit: a section of a deeper level that does not say an attribute leaves it
// as it is above, also in a section of single values.
func TestAttributesInherit(t *testing.T) {
	for _, c := range []struct {
		server, below, want string
		of                  func(*iisconfig.Settings) any
	}{
		{`<security><access sslFlags="Ssl" /></security>`, `<security><access /></security>`, "Ssl", func(s *iisconfig.Settings) any { return s.Access.SSLFlags }},
		{`<security><access sslFlags="Ssl" /></security>`, `<security><access sslFlags="None" /></security>`, "None", func(s *iisconfig.Settings) any { return s.Access.SSLFlags }},
		{`<webSocket enabled="false" />`, `<webSocket pingInterval="00:01:00" />`, "false", func(s *iisconfig.Settings) any { return s.WebSocket.Enabled }},
		{`<webSocket pingInterval="00:01:00" />`, `<webSocket receiveBufferLimit="1" />`, "true", func(s *iisconfig.Settings) any { return s.WebSocket.Enabled }},
		{`<serverRuntime enabled="false" />`, `<serverRuntime maxRequestEntityAllowed="7" />`, "false", func(s *iisconfig.Settings) any { return s.ServerRuntime.Enabled }},
		{`<serverRuntime maxRequestEntityAllowed="7" />`, `<serverRuntime enabled="true" />`, "7", func(s *iisconfig.Settings) any { return s.ServerRuntime.MaxRequestEntity }},
		{
			`<security><dynamicIpSecurity><denyByConcurrentRequests enabled="true" maxConcurrentRequests="9" /></dynamicIpSecurity></security>`,
			`<security><dynamicIpSecurity><denyByConcurrentRequests maxConcurrentRequests="8" /></dynamicIpSecurity></security>`, "8",
			func(s *iisconfig.Settings) any { return s.DynamicIPSecurity.MaxConcurrent },
		},
		{
			`<security><dynamicIpSecurity><denyByRequestRate maxRequests="30" requestIntervalInMilliseconds="400" /></dynamicIpSecurity></security>`,
			`<security><dynamicIpSecurity><denyByRequestRate enabled="true" /></dynamicIpSecurity></security>`, "30 400",
			func(s *iisconfig.Settings) any {
				return fmt.Sprint(s.DynamicIPSecurity.MaxRequests, s.DynamicIPSecurity.Interval)
			},
		},
		{
			`<security><dynamicIpSecurity><denyByRequestRate enabled="true" /></dynamicIpSecurity></security>`,
			`<security><dynamicIpSecurity><denyByRequestRate enabled="false" /><denyByConcurrentRequests enabled="true" /></dynamicIpSecurity></security>`, "0 0 5",
			func(s *iisconfig.Settings) any {
				return fmt.Sprint(s.DynamicIPSecurity.MaxRequests, s.DynamicIPSecurity.Interval, s.DynamicIPSecurity.MaxConcurrent)
			},
		},
	} {
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="a" id="1">` +
			`<application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application></site></sites></system.applicationHost>` +
			`<system.webServer>` + c.server + `</system.webServer><location path="a/b"><system.webServer>` + c.below + `</system.webServer></location></configuration>`)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.of(server.Sites[0].At("/b"))); got != c.want {
			t.Errorf("%s below %s: got %s, want %s", c.below, c.server, got, c.want)
		}
	}
}
