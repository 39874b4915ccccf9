package iisimport_test

import (
	"fmt"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestProgramsThatAreFiles: where no program may run by its own name, as IIS is installed, those
// that have a MIME type are sent; where one may, and under other handlers, they are not. What a
// site gives to files in front of all else is sent.
func TestProgramsThatAreFiles(t *testing.T) {
	const (
		dll   = `<add name="ISAPI-dll" path="*.dll" verb="*" modules="IsapiModule" resourceType="File" requireAccess="Execute" allowPathInfo="true" />`
		exe   = `<add name="CGI-exe" path="*.exe" verb="*" modules="CgiModule" resourceType="File" requireAccess="Execute" allowPathInfo="true" />`
		ssi   = `<add name="SSINC-shtml" path="*.shtml" verb="GET,HEAD,POST" modules="ServerSideIncludeModule" resourceType="File" />`
		file  = `<add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule,DirectoryListingModule" resourceType="Either" requireAccess="Read" />`
		types = `<staticContent><mimeMap fileExtension=".txt" mimeType="text/plain" /><mimeMap fileExtension=".dll" mimeType="a/d" /><mimeMap fileExtension=".exe" mimeType="a/e" /><mimeMap fileExtension=".shtml" mimeType="text/html" /></staticContent>`
		mine  = `<add name="mine" path="*.%s" verb="*" modules="StaticFileModule" resourceType="File" requireAccess="Read" />`
		first = `<system.webServer><handlers>` + mine + `</handlers></system.webServer>`
		there = `<add name="there" path="*" verb="GET,HEAD" modules="StaticFileModule" resourceType="File" requireAccess="Read" /><add name="all" path="*" verb="*" type="X" />`
	)
	host := func(policy, entries, types string) string {
		return hostOf("", "", "", `<system.webServer><handlers accessPolicy="`+policy+`">`+entries+`</handlers>`+types+`</system.webServer>`)
	}
	for _, c := range []struct{ host, web, want string }{ // x.dll, x.exe, x.shtml, x.txt
		{host("Read, Script", dll+exe+ssi+file, types), "", "200 200 404 200"},
		{host("Read, Script", dll+exe+ssi+file, `<staticContent><mimeMap fileExtension=".txt" mimeType="text/plain" /></staticContent>`), "", "404 404 404 200"},
		{host("Read, Script, Execute", dll+exe+ssi+file, types), "", "404 404 404 200"},
		{host("Read, Script, Execute, NoRemoteExecute", dll+exe+ssi+file, types), "", "404 404 404 200"},
		{host("Script", dll+exe+ssi+file, types), "", "403 403 403 403"},
		{host("Read, Script", `<add name="a" path="*.dll" verb="*" modules="IsapiModule" scriptProcessor="C:\a.dll" requireAccess="Execute" />`+exe+ssi+file, types), "", "404 200 404 200"},
		{host("Read, Script", `<add name="a" path="*.dll" verb="*" modules="IsapiModule" />`+exe+ssi+file, types), "", "404 200 404 200"},
		{host("Read, Script", dll+exe+ssi+file, types), fmt.Sprintf(first, "shtml"), "200 200 200 200"},
		{host("Read, Script, Execute", dll+exe+ssi+file, types), fmt.Sprintf(first, "exe"), "404 200 404 200"},
		{host("Read, Script", dll+exe+ssi+file, types), `<system.webServer><security><requestFiltering><fileExtensions><add fileExtension=".exe" allowed="false" /></fileExtensions></requestFiltering></security></system.webServer>`, "200 404 404 200"},
		// In front of a program, which has what is not there.
		{host("Read, Script", dll+exe+ssi+file, types), `<system.webServer><handlers>` + there + `</handlers></system.webServer>`, "200 200 404 200"},
		{host("Read, Script, Execute", dll+exe+ssi+file, types), `<system.webServer><handlers>` + there + `</handlers></system.webServer>`, "404 404 404 200"},
		{host("Read, Script", dll+exe+ssi+file, types), `<system.webServer><handlers>` + fmt.Sprintf(mine, "shtml") + there + `</handlers></system.webServer>`, "200 200 200 200"},
	} {
		addr, plan := startHost(t, c.host, c.web, iisimport.Options{})
		if got := statuses(t, addr, "/x.dll", "/x.exe", "/x.shtml", "/x.txt"); got != c.want {
			t.Errorf("%s %s: %s, want %s\n%s", c.host, c.web, got, c.want, plan.Caddyfile())
		}
	}
}
