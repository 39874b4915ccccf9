package iisimport_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestDynamicIPSecurity: the limits that are on are written, one whose action nobody knows is closed.
func TestDynamicIPSecurity(t *testing.T) {
	for section, want := range map[string]string{
		`<dynamicIpSecurity><denyByConcurrentRequests enabled="true" maxConcurrentRequests="10" /></dynamicIpSecurity>`:                                                                                                  "iis_dynamic_ip_security {\n max_concurrent 10\n }",
		`<dynamicIpSecurity enableProxyMode="true" enableLoggingOnlyMode="true" denyAction="AbortRequest"><denyByRequestRate enabled="true" maxRequests="30" requestIntervalInMilliseconds="300" /></dynamicIpSecurity>`: "iis_dynamic_ip_security {\n max_requests 30 300ms\n logging_only\n proxy_mode\n deny_action abort\n }",
		`<dynamicIpSecurity><denyByRequestRate enabled="false" maxRequests="30" /></dynamicIpSecurity>`:                                                                                                                  "",
	} {
		server, err := iisconfig.Read([]iisconfig.File{
			{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>
<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>
<system.webServer><security>` + section + `</security></system.webServer></configuration>`)},
		}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		text := string(iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\a`, To: t.TempDir()}}}).Caddyfile())
		plain := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\t' }), " ")
		if want == "" && strings.Contains(text, "iis_dynamic_ip_security") || !strings.Contains(strings.ReplaceAll(plain, "\n  ", "\n "), want) {
			t.Errorf("%s: want %q in\n%s", section, want, text)
		}
	}
}
