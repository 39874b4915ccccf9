package iisimport_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestStock: what every server has is one line of the report, and what somebody wrote is
// named.
func TestStock(t *testing.T) {
	pages := ""
	for _, status := range []int{401, 403, 404, 500} {
		pages += fmt.Sprintf(`<error statusCode="%d" prefixLanguageFilePath="%%SystemDrive%%\inetpub\custerr" path="%d.htm" />`+"\n", status, status)
	}
	server, err := iisconfig.Read([]iisconfig.File{{Name: "a.config", Data: []byte(`<configuration><configProtectedData><providers><add name="x" /></providers></configProtectedData>
<system.applicationHost><log /><listenerAdapters /><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>
<system.webServer><httpErrors>` + pages + `<error statusCode="402" path="C:\own\402.htm" /></httpErrors><caching enabled="true" /></system.webServer></configuration>`)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var stock, own []string
	for _, l := range iisimport.Import(server, iisimport.Options{}).Report.Lines {
		switch {
		case l.What == "what IIS brings along":
			stock = append(stock, l.Message)
		case strings.Contains(l.What, "page"):
			own = append(own, l.What)
		}
	}
	if len(stock) != 1 || !strings.Contains(stock[0], "error pages of IIS (4, in 4 to 7)") || !strings.Contains(stock[0], "configProtectedData, it names the keys of encrypted attributes (1)") ||
		!strings.Contains(stock[0], "system.webServer/caching, it is about the cache of IIS (8)") || len(own) != 1 || !strings.Contains(own[0], "402") {
		t.Errorf("%q, %q", stock, own)
	}
}

// TestStockOfIIS6: of a real MetaBase.xml, few lines are to decide.
func TestStockOfIIS6(t *testing.T) {
	server, err := readFile(filepath.Join(needs.Fixtures(t), "metabase", "modSIC-metabaseSample.xml"))
	if err != nil {
		t.Fatal(err)
	}
	report := iisimport.Import(server, iisimport.Options{}).Report
	if s := report.Summary; s.ToDecide > 4 || s.Dropped > 7 {
		var sb bytes.Buffer
		_ = report.WriteText(&sb)
		t.Errorf("%d to decide, %d dropped:\n%s", s.ToDecide, s.Dropped, sb.String())
	}
}

// TestCertificateNames: a certificate is named after its subject, wherever it is used.
func TestCertificateNames(t *testing.T) {
	dir := t.TempDir()
	cert, key := ts.PEM(t, "*.shops.example.com")
	for from, to := range map[string]string{cert: "a.pem", key: "a.key"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certs, err := iisimport.FindCertificates(os.DirFS(dir), "certs", "")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := withRecord(t, certs.Thumbprints()[0], certs)
	if !strings.Contains(caddyfile, "\n\t\tcertificate wildcard.shops.example.com certs/a.pem certs/a.key\n") {
		t.Errorf("got\n%s", caddyfile)
	}
}
