package iisimport_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// ownFiles are in each folder of the sites of TestOwnWebConfigs, besides siteFiles.
var ownFiles = []string{
	"x.php", "sub/x.php", "page.aspx", "a b.txt", "deep/er/a.txt", "bin/a.txt", "App_Data/a.txt", "page.htm", "a.webp",
	"Mixed/CaSe.TXT", "sub/sub2/a.txt", "php.txt", "private/index.html", "only/page.htm", "a.html", "private/private.txt",
	"f[1].txt", "g [2].txt", "d[1]/a.txt",
}

// ownSite is a site of testdata/webcases. Its lines begin with a word: site, web (the
// inside of system.webServer of a web.config), raw (a whole one), server (what stands in
// applicationHost.config, with SITE for the site's name), app, vdir and ? for a
// request.
type ownSite struct {
	name, where  string
	webs         map[string]string // by the folder below C:\inetpub
	server       string
	apps         []ownApp
	requests     []ownRequest
	addr, folder string
}

type ownApp struct{ path, pool, folder string } // without a pool: a virtual directory

type ownRequest struct {
	where, method, path, host string
	headers                   []string
	size                      int
	want                      []string // statuses or ABORT
	location, body            string
}

// readOwnSites reads a file of testdata/webcases.
func readOwnSites(t *testing.T, name string) (sites []*ownSite) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var s *ownSite
	var text func(string)
	for i, line := range strings.Split(string(data), "\n") {
		where := fmt.Sprintf("%s:%d", filepath.Base(name), i+1)
		word, rest, _ := strings.Cut(line, " ")
		f := strings.Fields(rest)
		switch word {
		case "#", "":
			if text != nil && line != "" && word == "" {
				text(line)
			}
		case "site":
			s = &ownSite{name: f[0], folder: f[0], where: where, webs: make(map[string]string)}
			sites = append(sites, s)
			text = nil
		case "web", "raw":
			folder := s.folder
			if len(f) > 0 {
				folder = s.folder + "/" + f[0]
				if at, ok := strings.CutPrefix(f[0], "@"); ok {
					folder = s.folder + "__" + at
				}
			}
			text = func(line string) {
				if word == "web" {
					s.webs[folder] = strings.TrimSuffix(s.webs[folder], "</system.webServer></configuration>")
					if s.webs[folder] == "" {
						s.webs[folder] = "<configuration><system.webServer>\n"
					}
					line += "\n</system.webServer></configuration>"
				}
				s.webs[folder] += line + "\n"
				s.webs[folder] = strings.TrimSpace(s.webs[folder])
			}
		case "server":
			text = func(line string) { s.server += strings.ReplaceAll(line, "SITE", s.name) + "\n" }
		case "app":
			s.apps = append(s.apps, ownApp{path: f[0], pool: f[1], folder: s.folder + "__" + f[2]})
		case "vdir":
			s.apps = append(s.apps, ownApp{path: f[0], folder: s.folder + "__" + f[1]})
		case "?":
			s.requests = append(s.requests, readOwnRequest(t, where, rest))
		default:
			if text == nil || line[0] != '<' {
				t.Fatalf("%s: %s", where, line)
			}
			text(line)
		}
	}
	return sites
}

// readOwnRequest reads METHOD PATH [host=H] [size=N] [Name=Value]... -> STATUS[,STATUS]
// [loc=L | the beginning of the body].
func readOwnRequest(t *testing.T, where, text string) ownRequest {
	left, right, ok := strings.Cut(text, " -> ")
	f := strings.Fields(left)
	if !ok || len(f) < 2 {
		t.Fatalf("%s: %s", where, text)
	}
	q := ownRequest{where: where, method: f[0], path: f[1]}
	for _, opt := range f[2:] {
		name, value, _ := strings.Cut(opt, "=")
		switch name {
		case "host":
			q.host = value
		case "size":
			q.size, _ = strconv.Atoi(value)
		default:
			q.headers = append(q.headers, name+": "+strings.ReplaceAll(value, "_", " "))
		}
	}
	status, rest, _ := strings.Cut(right, " ")
	q.want = strings.Split(status, ",")
	if loc, ok := strings.CutPrefix(rest, "loc="); ok {
		q.location = loc
	} else {
		q.body = rest
	}
	return q
}

// served tells whether IIS answers with something other than a refusal.
func (q *ownRequest) served() bool { return q.want[0] < "4" }

// ask returns what is wrong with the answer, and whether it is a refusal.
func (q *ownRequest) ask(addr string) (wrong string, refused bool) {
	status, location, body, err := q.do(addr)
	if err != nil {
		return err.Error(), false
	}
	refused = status >= "4"
	got := strings.TrimSpace(fmt.Sprintf("%s %s %.60q", status, location, body))
	switch {
	case !slices.Contains(q.want, status):
		return got, refused
	case q.location != "":
		base := &url.URL{Scheme: "http", Host: addr, Path: "/"}
		if q.host != "" {
			base.Host = q.host
		}
		a, err1 := base.Parse(location)
		b, err2 := base.Parse(q.location)
		if err1 != nil || err2 != nil || a.String() != b.String() {
			return got, refused
		}
	case !strings.HasPrefix(body, q.body):
		return got, refused
	}
	return "", refused
}

// do sends the request as it is written.
func (q *ownRequest) do(addr string) (status, location, body string, err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", "", "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	host := q.host
	if host == "" {
		host = addr
	}
	var sb strings.Builder
	fmt.Fprintf(&sb, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", q.method, q.path, host)
	for _, h := range q.headers {
		sb.WriteString(h + "\r\n")
	}
	if q.size > 0 {
		fmt.Fprintf(&sb, "Content-Length: %d\r\n", q.size)
	}
	sb.WriteString("\r\n" + strings.Repeat("x", q.size))
	if _, err := io.WriteString(conn, sb.String()); err != nil {
		return "", "", "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: q.method})
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || ts.IsReset(err) {
		return "ABORT", "", "", nil
	}
	if err != nil {
		return "", "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode < 400 {
		return "", "", "", err
	}
	return strconv.Itoa(resp.StatusCode), resp.Header.Get("Location"), string(text), nil
}

// serveOwnSites imports the sites together and serves them.
func serveOwnSites(t *testing.T, all []*ownSite, upstream string) {
	t.Helper()
	dir := ts.Folder(t)
	var sites, server strings.Builder
	var files []iisconfig.File
	farm := strings.NewReplacer("127.0.0.1:21990", upstream)
	for i, s := range all {
		port := ts.FreePort(t)
		s.addr = fmt.Sprintf("127.0.0.1:%d", port)
		fmt.Fprintf(&sites, `<site name="%s" id="%d"><application path="/" applicationPool="main"><virtualDirectory path="/" physicalPath="C:\inetpub\%s" />`, s.name, i+1, s.folder)
		for _, app := range s.apps {
			if app.pool == "" {
				fmt.Fprintf(&sites, `<virtualDirectory path="%s" physicalPath="C:\inetpub\%s" />`, app.path, app.folder)
			}
			writeOwnSite(t, dir, app.folder)
		}
		sites.WriteString(`</application>`)
		for _, app := range s.apps {
			if app.pool != "" {
				fmt.Fprintf(&sites, `<application path="%s" applicationPool="%s"><virtualDirectory path="/" physicalPath="C:\inetpub\%s" /></application>`, app.path, app.pool, app.folder)
			}
		}
		fmt.Fprintf(&sites, `<bindings><binding protocol="http" bindingInformation="*:%d:" /></bindings></site>`, port)
		writeOwnSite(t, dir, s.folder)
		for folder, text := range s.webs {
			files = append(files, iisconfig.File{Name: "export/inetpub/" + folder + "/web.config", Data: []byte(farm.Replace(text))})
			name := filepath.Join(dir, folder, "web.config")
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("FILE web.config"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		server.WriteString(farm.Replace(s.server))
	}
	host := strings.TrimSpace(string(frame(t, sites.String())))
	files = append(files, iisconfig.File{Name: "export/applicationHost.config", Data: []byte(strings.TrimSuffix(host, "</configuration>") + server.String() + "</configuration>")})
	slices.SortFunc(files, func(a, b iisconfig.File) int { return strings.Compare(a.Name, b.Name) })
	read, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(read, iisimport.Options{Upstream: upstream, Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	if testing.Verbose() {
		t.Log(body)
	}
	ts.Start(t, body)
}

func writeOwnSite(t *testing.T, dir, folder string) {
	for _, name := range slices.Concat(siteFiles, ownFiles) {
		file := filepath.Join(dir, folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		text := "FILE " + name
		if _, sub, ok := strings.Cut(folder, "__"); ok {
			text = "FILE " + sub + ":" + name
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOwnWebConfigs asks the sites of testdata/webcases: what IIS refuses is refused,
// what it serves is served.
func TestOwnWebConfigs(t *testing.T) {
	needs.Fixtures(t) // for the frame
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "UPSTREAM %s xo=%s", r.URL.RequestURI(), r.Header.Get("X-Original-Url"))
	}))
	defer upstream.Close()
	names, err := filepath.Glob("testdata/webcases/*.txt")
	if err != nil || names == nil {
		t.Fatal(names, err)
	}
	var sites []*ownSite
	for _, name := range names {
		sites = append(sites, readOwnSites(t, name)...)
	}
	serveOwnSites(t, sites, upstream.Listener.Addr().String())
	right, closed, wrong, served := 0, 0, 0, 0
	for _, s := range sites {
		for i := range s.requests {
			q := &s.requests[i]
			got, refused := q.ask(s.addr)
			if q.served() {
				served++
			}
			switch {
			case got == "", refused && !q.served():
				right++
			case refused:
				closed++
			default:
				wrong++
			}
			if got != "" {
				t.Errorf("%s %s: %s %s %v: got %s, want %v %s%s", q.where, s.name, q.method, q.path, q.headers, got, q.want, q.location, q.body)
			}
		}
	}
	t.Logf("%d right, %d closed, %d wrong; IIS serves %d of %d", right, closed, wrong, served, right+closed+wrong)
}
