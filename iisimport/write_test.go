package iisimport_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"pgregory.net/rapid"

	_ "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// adapted returns the handler with a name that a directive adapts to.
func adapted(t *rapid.T, handler string, words ...string) map[string]any {
	text := iisimport.OneDirective(words...)
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var root any
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	found := findHandler(root, handler)
	if found == nil {
		t.Fatalf("no %s in %s\n%s", handler, raw, text)
	}
	return found
}

func findHandler(node any, name string) map[string]any {
	switch v := node.(type) {
	case []any:
		for _, kid := range v {
			if found := findHandler(kid, name); found != nil {
				return found
			}
		}
	case map[string]any:
		if v["handler"] == name {
			return v
		}
		for _, kid := range v {
			if found := findHandler(kid, name); found != nil {
				return found
			}
		}
	}
	return nil
}

// hostileText has what Caddyfiles give a meaning.
var hostileText = rapid.OneOf(
	rapid.String(),
	rapid.StringMatching("[ -~]{0,12}"),
	rapid.StringMatching("[{}$\"`\\\\<#@*/ a-zA-Z:.?()|^+\\[\\]éK\u2028-]{0,16}"),
	rapid.SampledFrom([]string{
		"{$HOME}", "{$HOME:x}", "{env.HOME}", "{path}", "{%uri}", "{?query}", "{re.x.1}", "{http.request.uri}", "{HTTP_HOST}", "{R:1}", "{C:0}/{ToLower:{R:1}}",
		"{", "}", "{}", "\\", "\\\"", "`\\", "`\"", "`", "\"", "<<EOF", "#x", "@m", "/new", "*", "import", "import x", "\\{$HOME}", "a{block}", "{args[0]}", "not", "",
		"^(www\\.)?(.+)$", "^a{2,3}$", "\\{path\\}", "{file./etc/passwd}", "{vars.x}", "{path.0}", "{args[:]}", "{blocks.x}",
	}),
)

// TestWordsMeanThemselves: what was meant is what is adapted, wherever a text of the
// source stands and whatever is in it.
func TestWordsMeanThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := hostileText.Draw(t, "text")
		if iisimport.Expressible(text) {
			got := adapted(t, "iis_closed", "iis_closed", "*", "403", text)
			if why, _ := got["why"].(string); why != text {
				t.Fatalf("%q came out as %q", text, why)
			}
		}
		if !iisimport.Expressible(iisimport.Literal(text)) {
			return
		}
		got := adapted(t, "headers", "header", "*", "X-Test", iisimport.Literal(text))
		set := got["response"].(map[string]any)["set"].(map[string]any)["X-Test"].([]any)[0].(string)
		if out := caddy.NewReplacer().ReplaceAll(set, "?"); out != text {
			t.Fatalf("header %q came out as %q, %q", text, set, out)
		}
	})
}

// TestOwnVariables: the variables that an import writes hold any address that a command
// may give.
func TestOwnVariables(t *testing.T) {
	for _, address := range []string{"127.0.0.1:9000", "[::1]:9000", "unix//run/php/php-fpm.sock", "h2c://a.example:80"} {
		want := "{$IIS_FASTCGI:" + address + "}"
		if got := string(iisimport.OneDirective("reverse_proxy", want)); !strings.Contains(got, "reverse_proxy "+want+"\n") {
			t.Errorf("%s: got %s", want, got)
		}
	}
}

// TestNothingIsChanged: no text of a source is written as another one, wherever it stands. What
// has no form in a Caddyfile is left out or closed, by name.
func TestNothingIsChanged(t *testing.T) {
	text := rapid.OneOf(hostileText, rapid.SampledFrom(hostileTexts))
	places := append(slices.Clone(hostilePlaces), "")
	rapid.Check(t, func(t *rapid.T) {
		escape := func(name string) string {
			var out bytes.Buffer
			_ = xml.EscapeText(&out, []byte(text.Draw(t, name)))
			return out.String()
		}
		web := strings.ReplaceAll(rapid.SampledFrom(places).Draw(t, "place"), `"V"`, `"`+escape("text")+`"`)
		folder, log, name, store, central := escape("folder"), escape("log"), escape("name"), escape("store"), escape("central")
		host := `<configuration><system.applicationHost><sites><site name="` + name + `" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\` + folder + `" /></application>` +
			`<application path="/` + folder + `"><virtualDirectory path="/" physicalPath="` + folder + `" /></application><logFile directory="` + log + `" />` +
			`<bindings><binding protocol="https" bindingInformation="*:443:" certificateHash="` + strings.Repeat("ab", 20) + `" certificateStoreName="` + store + `" /></bindings></site></sites></system.applicationHost>` +
			`<system.webServer>` + web + `</system.webServer></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(host)}}, iisconfig.Options{})
		if err != nil {
			return // it is said that the file cannot be read: nothing is written
		}
		server.CentralStore = &iisconfig.CentralStore{Enabled: true, Location: central}
		plan := iisimport.Import(server, iisimport.Options{WindowsStore: true, CertificateFolder: text.Draw(t, "certificates")})
		if words := plan.Changed(); words != nil {
			t.Fatalf("%q\n%s\n%s", words, host, plan.Caddyfile())
		}
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(plan.Caddyfile(), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Fatalf("%v\n%s", err, plan.Caddyfile())
		}
	})
}
