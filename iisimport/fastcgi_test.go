package iisimport_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// fastCGIServer answers each request with what it was told.
func fastCGIServer(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answerFastCGI(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// answerFastCGI reads records until the end of the input, and answers.
func answerFastCGI(conn net.Conn) {
	var params bytes.Buffer
	var id [2]byte
	for {
		var header [8]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		content := make([]byte, int(binary.BigEndian.Uint16(header[4:6]))+int(header[6]))
		if _, err := io.ReadFull(conn, content); err != nil {
			return
		}
		content = content[:len(content)-int(header[6])]
		id = [2]byte(header[2:4])
		if header[1] == 4 {
			params.Write(content)
		}
		if header[1] == 5 && len(content) == 0 {
			break
		}
	}
	env := make(map[string]string)
	length := func() int {
		b, _ := params.ReadByte()
		if b < 128 {
			return int(b)
		}
		rest := params.Next(3)
		return int(b&127)<<24 | int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
	}
	for params.Len() > 0 {
		name, value := length(), length()
		key := string(params.Next(name))
		env[key] = string(params.Next(value))
	}
	body := fmt.Sprintf("Content-Type: text/plain\r\n\r\n%s|%s|%s|%s|%s", env["SCRIPT_NAME"], env["PATH_INFO"], filepath.ToSlash(env["SCRIPT_FILENAME"]), env["QUERY_STRING"], env["APP_MODE"])
	if status, ok := strings.CutPrefix(env["QUERY_STRING"], "status="); ok {
		body = "Status: " + status + "\r\n" + body
	}
	record := func(kind byte, content []byte) {
		_, _ = conn.Write(append([]byte{1, kind, id[0], id[1], byte(len(content) >> 8), byte(len(content)), 0, 0}, content...))
	}
	record(6, []byte(body))
	record(6, nil)
	record(3, make([]byte, 8))
}

// TestFastCGI runs scripts by FastCGI as fastCgi says, behind what protects them.
func TestFastCGI(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	for _, name := range []string{"main/a.php", "main/index.php", "main/private/a.php", "main/dir/x.txt", "shop/b.php", "main/x.php", "main/x.phpfoo/y.php", "main/get/a.php", "main/read/a.php", "main/other/a.php5", "main/replaced/a.php"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("SOURCE"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host := `<configuration><system.applicationHost><sites><site name="Main" id="1"><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="C:\inetpub\main" /><virtualDirectory path="/shop" physicalPath="C:\inetpub\shop" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>
<system.webServer><fastCgi><application fullPath="C:\PHP\php-cgi.exe" maxInstances="8" activityTimeout="600" requestTimeout="700" instanceMaxRequests="10000"><environmentVariables><environmentVariable name="APP_MODE" value="live" /></environmentVariables></application><application fullPath="C:\php5\php-cgi.exe" /></fastCgi>
<handlers><add name="PHP" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" resourceType="Either" /><add name="PHP5" path="*.php5" verb="*" modules="FastCgiModule" scriptProcessor="C:\php5\php-cgi.exe" /><add name="Gone" path="*.php6" verb="*" modules="FastCgiModule" scriptProcessor="C:\php6\php-cgi.exe" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read" /></handlers></system.webServer></configuration>`
	web := `<configuration><system.webServer><defaultDocument><files><clear /><add value="index.php" /></files></defaultDocument>
<security><requestFiltering><hiddenSegments><add segment="private" /></hiddenSegments><denyUrlSequences><add sequence="evil" /></denyUrlSequences></requestFiltering></security></system.webServer>
<location path="shop"><system.webServer><security><authorization><add accessType="Deny" users="?" verbs="POST" /></authorization></security></system.webServer></location>
<location path="get"><system.webServer><handlers><remove name="PHP" /><add name="get" path="*.php" verb="GET,HEAD" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" /><add name="put" path="*.php" verb="PUT" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" /></handlers></system.webServer></location>
<location path="replaced"><system.webServer><httpErrors existingResponse="Replace" /></system.webServer></location>
<location path="read"><system.webServer><handlers accessPolicy="Read" /></system.webServer></location></configuration>`
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "export/applicationHost.config", Data: []byte(host)}, {Name: "export/inetpub/main/web.config", Data: []byte(web)},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}, FastCGI: fastCGIServer(t)})
	caddyfile := string(plan.Caddyfile())
	for _, want := range []string{"read_timeout 600s", "env APP_MODE {env.IIS_FASTCGI_APP_MODE}", "{$IIS_FASTCGI:", "*.php5 *.php6"} {
		if !strings.Contains(caddyfile, want) {
			t.Errorf("no %q in\n%s", want, caddyfile)
		}
	}
	if got := string(plan.Environment); got != "IIS_FASTCGI_APP_MODE=\"live\"\n" || strings.Contains(caddyfile, " live") {
		t.Errorf("environment %q\n%s", got, caddyfile)
	}
	t.Setenv("IIS_FASTCGI_APP_MODE", "live")
	told := false
	for _, l := range plan.Report.Lines {
		told = told || l.Outcome == iisimport.Upstream && strings.Contains(l.Message, "8 processes") && strings.Contains(l.Message, "10000 requests")
	}
	if !told || plan.Report.Summary.Places.Upstreams == 0 {
		t.Errorf("the report does not tell the size of the pool: %+v", plan.Report)
	}
	_, body, _ := cutBefore(caddyfile, "{\n\tiis")
	ts.Start(t, body)
	const empty = " "
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/a.php?x=1", 200, "/a.php||" + dir + "/main/a.php|x=1|live"},
		{"GET", "/a.php/in/fo", 200, "/a.php|/in/fo|" + dir + "/main/a.php||live"},
		{"GET", "/", 200, "/index.php||" + dir + "/main/index.php||live"},
		{"GET", "/shop/b.php", 200, "/shop/b.php||" + dir + "/shop/b.php||live"},
		{"POST", "/shop/b.php", 401, ""},
		{"GET", "/none.php", 404, ""},
		{"GET", "/dir/x.txt/y.php", 404, ""},
		{"GET", "/private/a.php", 404, ""},
		{"GET", "/a.php?/../evil", 200, "/a.php||" + dir + "/main/a.php|/../evil|live"},
		{"GET", "/a.php/evil", 404, ""},
		{"GET", "/shop/a.php", 404, ""},
		{"GET", "/x.phpfoo/y.php", 404, ""},
		{"GET", "/X.PHPfoo/y.php", 404, ""},
		{"GET", "/x.phpfoo", 301, ""},
		{"GET", "/get/a.php", 200, ""},
		{"PUT", "/get/a.php", 200, ""},
		{"POST", "/get/a.php", 405, ""},
		{"get", "/get/a.php", 405, ""},
		{"GET", "/read/a.php", 404, ""},
		{"GET", "/other/a.php5", 404, ""},
		{"GET", "/replaced/a.php", 200, "/replaced/a.php||" + dir + "/main/replaced/a.php||live"},
		{"GET", "/replaced/a.php?status=500", 500, empty},
		{"GET", "/a.php?status=500", 500, "/a.php||" + dir + "/main/a.php|status=500|live"},
	} {
		r, err := http.NewRequest(c.method, "http://"+addr+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil || a.StatusCode != c.status || c.body != "" && string(got) != strings.TrimSpace(c.body) || strings.Contains(string(got), "SOURCE") {
			t.Errorf("%s %s: %d %s %v, want %d %s", c.method, c.path, a.StatusCode, got, err, c.status, c.body)
		}
	}
}

// TestFastCGIFolders: folders whose names have what patterns and placeholders have run their
// own scripts, and none of a folder that such a pattern fits.
func TestFastCGIFolders(t *testing.T) {
	names := []string{"plain", "w [1]", "w{path}", "w{1}", "w[a-z]*", "w?{x", "w*"}
	if runtime.GOOS == "windows" {
		names = names[:4] // no folder there has such a name
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := filepath.ToSlash(ts.Folder(t))
			files := []string{name + "/a.php", name + "/a[1].php", name + "/x.txt", name + "/[i].html", "w 1/only.php", "wa1/only.php", "wx/only.php", "wx{x/only.php"}
			for _, file := range files {
				file = filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte("SOURCE"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			host := `<configuration><system.applicationHost><sites><site name="S" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\w" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>
<system.webServer><fastCgi><application fullPath="C:\php-cgi.exe" /></fastCgi><handlers><add name="PHP" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php-cgi.exe" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read" /></handlers></system.webServer></configuration>`
			web := `<configuration><system.webServer><defaultDocument><files><clear /><add value="{path}" /><add value="*.html" /><add value="[i].html" /></files></defaultDocument></system.webServer></configuration>`
			server, err := iisconfig.Read([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}, {Name: "export/w/web.config", Data: []byte(web)}}, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			addr := httpOnly(t, server)
			plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: dir + "/" + name}}, FastCGI: fastCGIServer(t)})
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, body)
			for path, want := range map[string]string{
				"/a.php": "200 /a.php||" + dir + "/" + name + "/a.php||", "/a[1].php": "200 /a[1].php||" + dir + "/" + name + "/a[1].php||",
				"/x.txt": "200 SOURCE", "/": "200 SOURCE", "/only.php": "404 ", "/a.php/more": "200 /a.php|/more|" + dir + "/" + name + "/a.php||", "/none.php": "404 ",
			} {
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(a.Status, " ", a.Body); got != want {
					t.Errorf("%s: %q, want %q\n%s", path, got, want, body)
				}
			}
		})
	}
}
