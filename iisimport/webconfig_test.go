package iisimport_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// siteFiles are in the folder of every site of TestWebConfig.
var siteFiles = strings.Fields(`index.html index.htm article.txt new.txt product.txt nf.html sub/index.html sub/a.txt css/a.css
	private/x.txt secret/a.txt sec/a.txt c/t.txt d/t.txt x x.bak backup.sql key.pem .env .git/config noext web.config.bak a.json
	a.foo sel.txt dir/a.txt`)

// webCase is a request to a site with a web.config and what IIS answers.
type webCase struct {
	WebConfig string `json:"web_config"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Host      string `json:"host"`
	Status    any    `json:"status"`
	Location  string `json:"location"`
	Body      string `json:"body_or_header"`
	Size      int    `json:"body_bytes"`
}

// TestWebConfig imports each web.config of the fixtures in a site of its own and makes
// the requests whose answers are known. An answer is right, closed (an error where IIS
// serves) or wrong; none may be wrong, and of what IIS serves 95 % must be served.
func TestWebConfig(t *testing.T) {
	dir := filepath.Join(needs.Fixtures(t), "webconfig")
	cases := readCases(t, filepath.Join(dir, "cases.jsonl"))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "UPSTREAM "+r.URL.Path) }))
	defer upstream.Close()
	sites := make(map[string]string) // web.config by the name of its file
	for _, c := range cases {
		data, err := os.ReadFile(filepath.Join(dir, c.WebConfig))
		if err != nil {
			t.Fatal(err)
		}
		sites[c.WebConfig] = strings.ReplaceAll(string(data), "127.0.0.1:21990", upstream.Listener.Addr().String())
	}
	addrs := serveWebConfigs(t, sites, upstream.Listener.Addr().String())
	right, closed, wrong, served := 0, 0, 0, 0
	for _, c := range cases {
		verdict := c.ask(t, addrs[c.WebConfig])
		if c.served() {
			served++
		}
		switch {
		case verdict == "":
			right++
		case strings.HasPrefix(verdict, "closed"):
			closed++
			t.Logf("%s %s %s %s: %s", c.WebConfig, c.Method, c.Host, c.Path, verdict)
		default:
			wrong++
			t.Errorf("%s %s %s %s: %s", c.WebConfig, c.Method, c.Host, c.Path, verdict)
		}
	}
	t.Logf("%d right, %d closed, %d wrong; IIS serves %d", right, closed, wrong, served)
	if wrong > 0 || closed*20 > served {
		t.Errorf("%d wrong, %d closed of %d that IIS serves", wrong, closed, served)
	}
}

func readCases(t *testing.T, name string) []webCase {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []webCase
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		var c webCase
		if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// frame is the applicationHost.config of a plain server with FastCGI and ASP.NET Core, with
// all sections open for web.config files and the proxy on.
func frame(t *testing.T, sites string) []byte {
	data, err := os.ReadFile(filepath.Join(needs.Fixtures(t), "applicationhost", "Carbon-Server2012R2-default.config"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), `overrideModeDefault="Deny"`, `overrideModeDefault="Allow"`)
	at := strings.LastIndex(text, "<system.webServer>") + len("<system.webServer>") // the others are in comments
	text = text[:at] + `<proxy enabled="true" />` + text[at:]
	for _, end := range []string{"</globalModules>", "</modules>"} {
		text = strings.Replace(text, end, `<add name="FastCgiModule" /><add name="AspNetCoreModule" /><add name="AspNetCoreModuleV2" /><add name="IsapiModule" />`+end, 1)
	}
	return []byte(regexp.MustCompile(`(?s)<site name="Default Web Site".*?</site>`).ReplaceAllLiteralString(text, sites))
}

// serveWebConfigs imports and serves a site for each web.config, and returns their
// addresses.
func serveWebConfigs(t *testing.T, webConfigs map[string]string, upstream string) map[string]string {
	t.Helper()
	dir := needs.OpenFolder(t)
	addrs := make(map[string]string)
	var sites strings.Builder
	var files []iisconfig.File
	names := make([]string, 0, len(webConfigs))
	for name := range webConfigs {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		folder := strings.TrimSuffix(name, ".web.config")
		port := ts.FreePort(t)
		addrs[name] = fmt.Sprintf("127.0.0.1:%d", port)
		fmt.Fprintf(&sites, `<site name="%s" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\%s" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:%d:" /></bindings></site>`, folder, i+1, folder, port)
		files = append(files, iisconfig.File{Name: "export/inetpub/" + folder + "/web.config", Data: []byte(webConfigs[name])})
		writeSite(t, filepath.Join(dir, folder), webConfigs[name])
	}
	files = append(files, iisconfig.File{Name: "export/applicationHost.config", Data: frame(t, sites.String())})
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{Upstream: upstream, Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	if testing.Verbose() {
		t.Log(body)
	}
	ts.Start(t, body)
	return addrs
}

func writeSite(t *testing.T, dir, webConfig string) {
	for _, name := range append([]string{"web.config"}, siteFiles...) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		text := "FILE " + name
		if name == "web.config" {
			text = webConfig
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// served tells whether IIS answers the case with something other than a refusal.
func (c webCase) served() bool {
	n, ok := c.Status.(float64)
	return ok && n < 400 || !ok && strings.HasPrefix(fmt.Sprint(c.Status), "3")
}

var reStatus = regexp.MustCompile(`[1-5]\d\d`)

// ask makes the request: "" for the right answer, or what is wrong with it.
func (c webCase) ask(t *testing.T, addr string) string {
	t.Helper()
	body := strings.NewReader(strings.Repeat("x", c.Size))
	req, err := http.NewRequest(c.Method, "http://"+addr+c.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "" {
		req.Host = c.Host
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text := new(strings.Builder)
	if _, err := bufio.NewReader(resp.Body).WriteTo(text); err != nil {
		return err.Error()
	}
	want := fmt.Sprint(c.Status)
	accepted := reStatus.FindAllString(want, -1)
	got := fmt.Sprint(resp.StatusCode)
	answer := fmt.Sprintf("%d %s %.40q, want %s %s %s", resp.StatusCode, resp.Header.Get("Location"), text, want, c.Location, c.Body)
	if strings.Contains(want, "UPSTREAM") && strings.HasPrefix(text.String(), "UPSTREAM") {
		return "until somebody has decided: " + answer
	}
	switch {
	case !slices.Contains(accepted, got) && c.served() && resp.StatusCode >= 400:
		return "closed: " + answer
	case !slices.Contains(accepted, got),
		c.Location != "" && resolve(t, req.URL, c.Host, resp.Header.Get("Location")) != resolve(t, req.URL, c.Host, c.Location),
		strings.HasPrefix(c.Body, "FILE") && !strings.HasPrefix(text.String(), c.Body),
		!c.hasHeaders(resp.Header):
		return answer
	}
	return ""
}

// hasHeaders tells whether each word of the case that is no file is in a header.
func (c webCase) hasHeaders(h http.Header) bool {
	if strings.HasPrefix(c.Body, "FILE") {
		return true
	}
	var all strings.Builder
	_ = h.Write(&all)
	for word := range strings.FieldsSeq(strings.Replace(c.Body, "CSP", "Content-Security-Policy", 1)) {
		if !strings.Contains(all.String(), word) {
			return false
		}
	}
	return true
}

// resolve makes a Location absolute.
func resolve(t *testing.T, base *url.URL, host, location string) string {
	at := *base
	if host != "" {
		at.Host = host
	}
	if _, _, err := net.SplitHostPort(at.Host); err != nil && at.Host == "" {
		t.Fatal(base)
	}
	u, err := at.Parse(location)
	if err != nil {
		return "unreadable: " + location
	}
	return u.String()
}
