package caddyiis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// caddyProgram is the environment variable that makes this test program Caddy, with the
// arguments of its own command line.
const caddyProgram = "CADDY_IIS_TEST_PROGRAM"

func runCaddyProgram() {
	os.Args[0] = "caddy"
	caddycmd.Main() // exits unless the exit code is 0
	os.Exit(0)
}

// powershell is text as PowerShell's > writes it: UTF-16 with a byte order mark.
func powershell(text string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(text, "\n", "\r\n"))) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

// guideBlocks returns the code blocks in a language below a heading of docs/migrate.md,
// without their indentation.
func guideBlocks(t *testing.T, heading, language string) []string {
	t.Helper()
	return pageBlocks(t, "docs/migrate.md", heading, language)
}

// pageBlocks are those of another page.
func pageBlocks(t *testing.T, page, heading, language string) []string {
	t.Helper()
	guide, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(guide), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^([ \t]*)```"+language+"\n(.*?)^[ \t]*```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, regexp.MustCompile("(?m)^"+m[1]).ReplaceAllString(m[2], ""))
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s under %q", page, language, heading)
	}
	return blocks
}

// road is a machine on which somebody follows the guide.
type road struct {
	t           *testing.T
	dir         string
	env         []string
	http, https int
	thumbprint  string
	worker      string
	admin       string
	as          func(*exec.Cmd) // who runs commands, if not nil
}

// applicationHost is a server with three sites: two below C:\inetpub, written in the two
// ways of IIS, and one on another drive.
func (r *road) applicationHost() string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<configuration>
  <configSections><sectionGroup name="system.applicationHost"><section name="sites" allowDefinition="AppHostOnly" overrideModeDefault="Deny" /></sectionGroup></configSections>
  <system.applicationHost>
    <applicationPools><add name="DefaultAppPool" /></applicationPools>
    <sites>
      <siteDefaults><logFile logFormat="W3C" directory="%%SystemDrive%%\inetpub\logs\LogFiles" /></siteDefaults>
      <site name="Main" id="1">
        <application path="/" applicationPool="DefaultAppPool"><virtualDirectory path="/" physicalPath="%%SystemDrive%%\inetpub\main" /></application>
        <application path="/app" applicationPool="DefaultAppPool"><virtualDirectory path="/" physicalPath="C:\inetpub\app" /></application>
        <bindings><binding protocol="http" bindingInformation="*:%[1]d:www.example.com" /><binding protocol="https" bindingInformation="*:%[2]d:www.example.com" sslFlags="1" /></bindings>
      </site>
      <site name="Shop" id="2">
        <application path="/" applicationPool="DefaultAppPool"><virtualDirectory path="/" physicalPath="c:\Inetpub\shop\" /></application>
        <bindings><binding protocol="http" bindingInformation="*:%[1]d:shop.example.com" /></bindings>
      </site>
      <site name="Third" id="3" serverAutoStart="false">
        <application path="/"><virtualDirectory path="/" physicalPath="D:\sites\third" /></application>
        <bindings><binding protocol="http" bindingInformation="*:%[1]d:third.example.com" /></bindings>
      </site>
    </sites>
  </system.applicationHost>
  <system.webServer>
    <handlers accessPolicy="Read, Script"><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule,DirectoryListingModule" resourceType="Either" requireAccess="Read" /></handlers>
    <security><requestFiltering><hiddenSegments><add segment="web.config" /></hiddenSegments></requestFiltering></security>
    <staticContent><mimeMap fileExtension=".html" mimeType="text/html" /><mimeMap fileExtension=".txt" mimeType="text/plain" /></staticContent>
  </system.webServer>
</configuration>
`, r.http, r.https)
}

// export makes exactly the files that step 1 of the guide makes.
func (r *road) export() map[string][]byte {
	pair := issue(r.t, 1, nil, "www.example.com")
	parsed, err := certfile.PEM(pair.cert, pair.key, "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.thumbprint = certfile.Thumbprint(parsed.Certificate[0])
	record := "\n    %-24s : %s:%d\n    Zertifikathash           : " + strings.ToLower(r.thumbprint) +
		"\n    Anwendungs-ID            : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Zertifikatspeichername   : My\n"
	return map[string][]byte{
		"applicationHost.config": []byte(r.applicationHost()),
		"redirection.config":     []byte("<configuration>\r\n  <configurationRedirection enabled=\"false\" path=\"\" />\r\n</configuration>\r\n"),
		"sslcert.txt": powershell("\nSSL-Zertifikatbindungen:\n-------------------------\n" +
			fmt.Sprintf(record, "Hostname:Port", "www.example.com", r.https) + fmt.Sprintf(record, "IP:Port", "0.0.0.0", r.https)),
		"iplisten.txt": powershell("\nIP-Adressen in der IP-Abhörliste:\n---------------------------------\n\n    127.0.0.1\n\n"),
		"sites.txt": powershell(fmt.Sprintf("SITE \"Main\" (id:1,bindings:http/*:%[1]d:www.example.com,https/*:%[2]d:www.example.com,state:Started)\n"+
			"SITE \"Shop\" (id:2,bindings:http/*:%[1]d:shop.example.com,state:Started)\nSITE \"Third\" (id:3,bindings:http/*:%[1]d:third.example.com,state:Stopped)\n", r.http, r.https)),
		"pools.txt":                             powershell("APPPOOL \"DefaultAppPool\" (MgdVersion:v4.0,MgdMode:Integrated,state:Started)\n"),
		"centralstore.reg":                      powershell("Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\IIS\\CentralCertProvider]\n\"Enabled\"=dword:00000000\n"),
		"certificates/" + r.thumbprint + ".pfx": pair.pfx(r.t, "secret"),
		"certificates/client-ca.pem":            pair.cert,
		"inetpub/main/web.config": []byte(`<configuration><system.webServer><defaultDocument><files><clear /><add value="start.html" /></files></defaultDocument>
<security><requestFiltering><hiddenSegments><add segment="private" /></hiddenSegments></requestFiltering></security></system.webServer></configuration>`),
		"inetpub/app/web.config":  []byte(`<configuration><system.webServer><handlers><add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" /></handlers><aspNetCore processPath="dotnet" arguments=".\app.dll" /></system.webServer></configuration>`),
		"inetpub/shop/web.config": []byte("\xEF\xBB\xBF" + `<configuration><system.webServer><httpRedirect enabled="true" destination="https://www.example.com/shop" exactDestination="true" httpResponseStatus="Permanent" /></system.webServer></configuration>`),
		"sites/third/web.config":  []byte(`<configuration><system.webServer><directoryBrowse enabled="true" /></system.webServer></configuration>`),
	}
}

func (r *road) write(dir string, files map[string][]byte) {
	r.t.Helper()
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// shell makes the command for a block of the guide, with the program that is tested as
// caddy. Only what the guide leaves to the reader is filled in.
func (r *road) shell(ctx context.Context, block string) *exec.Cmd {
	for from, to := range map[string]string{"=/srv/www": "=" + filepath.Join(r.dir, "srv", "www"), "10.0.0.20:8080": r.worker} {
		block = strings.ReplaceAll(block, from, to)
	}
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", block)
	cmd.Dir, cmd.Env = r.dir, r.env
	if r.as != nil {
		r.as(cmd)
	}
	return cmd
}

// run runs a block to its end. What it exports is there for those behind it.
func (r *road) run(block string, also ...int) (out, errOut string) {
	r.t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)=(.*)$`).FindAllStringSubmatch(block, -1) {
		value := strings.NewReplacer("...", "secret", "10.0.0.20:8080", r.worker).Replace(m[2])
		r.env = append(r.env, m[1]+"="+value)
	}
	block = regexp.MustCompile(`(?m)^export .*\n`).ReplaceAllString(block, "")
	var stdout, stderr bytes.Buffer
	cmd := r.shell(r.t.Context(), block)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && !slices.Contains(also, cmd.ProcessState.ExitCode()) {
		r.t.Fatalf("%s: %v\n%s%s", block, err, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String()
}

func newRoad(t *testing.T) *road {
	needs.Shell(t)
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "worker "+r.URL.Path) }))
	t.Cleanup(worker.Close)
	r := &road{t: t, dir: t.TempDir(), http: ts.FreePort(t), https: ts.FreePort(t), worker: worker.Listener.Addr().String()}
	r.admin = fmt.Sprintf("127.0.0.1:%d", ts.FreePort(t))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.write(r.dir, map[string][]byte{"bin/caddy": []byte("#!/bin/sh\n" + caddyProgram + "=1 exec '" + program + "' \"$@\"\n")})
	if err := os.Chmod(filepath.Join(r.dir, "bin", "caddy"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.env = append(os.Environ(), "PATH="+filepath.Join(r.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"HOME="+r.dir, "XDG_DATA_HOME="+r.dir, "XDG_CONFIG_HOME="+r.dir, "CADDY_ADMIN="+r.admin)
	return r
}

// TestGuide follows docs/migrate.md as it is written, from the files that step 1 makes to
// requests that a Caddy of its own serves.
func TestGuide(t *testing.T) {
	r := newRoad(t)
	files := r.export()
	collected := guideBlocks(t, "1. Copy off the server", "powershell")
	for _, m := range regexp.MustCompile(`\$to\\([\w.\\-]+)`).FindAllStringSubmatch(strings.Join(collected, ""), -1) {
		name := strings.ReplaceAll(m[1], `\`, "/")
		found := files[name] != nil
		for file := range files {
			found = found || strings.HasPrefix(file, strings.TrimSuffix(name, "/")+"/")
		}
		if !found {
			t.Errorf("the guide collects %s, and this test does not", name)
		}
	}
	r.write(filepath.Join(r.dir, "export"), files)
	r.write(filepath.Join(r.dir, "srv", "www"), map[string][]byte{
		"main/start.html": []byte("main"), "main/private/x.txt": []byte("private"), "main/index.html": []byte("wrong"), "shop/index.html": []byte("wrong"),
	})

	out, errOut := r.run(guideBlocks(t, "2. Import", "sh")[0])
	if out != "" || !strings.Contains(errOut, "3 sites, 4 bindings, 1 certificate (0 files missing)") {
		t.Errorf("the import wrote %q, %q", out, errOut)
	}
	report := r.file("report.txt")
	for name := range files {
		if !strings.HasSuffix(name, "web.config") && !strings.Contains(report, "export/"+name) {
			t.Errorf("the report does not name %s:\n%s", name, report)
		}
	}
	for _, want := range []string{"4 web.config files", "iplisten 127.0.0.1: listen 127.0.0.1"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in the report:\n%s", want, report)
		}
	}
	for _, never := range []string{"cannot be used", "in no folder of a site", "none is among the files"} {
		if strings.Contains(report+errOut, never) {
			t.Errorf("a web.config is lost:\n%s%s", report, errOut)
		}
	}
	if caddyfile := r.file("Caddyfile"); !strings.Contains(caddyfile, "listen 127.0.0.1\n") {
		t.Errorf("no listen in\n%s", caddyfile)
	}
	r.run(guideBlocks(t, "3. Decide", "sh")[0])
	// The folder of the stopped site was not mapped, which is a warning.
	out, errOut = r.run(guideBlocks(t, "4. Check", "sh")[0], 1)
	if !strings.Contains(out+errOut, "Valid configuration") || !strings.Contains(out, "no errors, 1 warning") || !strings.Contains(out, "root-foreign") {
		t.Errorf("check: %s%s", out, errOut)
	}
	r.serve(guideBlocks(t, "5. Run side by side", "sh")[0])
}

func (r *road) file(name string) string {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// serve runs Caddy, and what is to be run beside it, and asks it.
func (r *road) serve(block string, beside ...string) {
	t := r.t
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	cmd := r.shell(ctx, strings.Replace(block, "caddy run", "exec caddy run", 1))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { cancel(); <-ended }()

	web, tls := fmt.Sprintf("127.0.0.1:%d", r.http), fmt.Sprintf("127.0.0.1:%d", r.https)
	deadline := time.After(30 * time.Second)
	for ready := false; ; {
		if !ready && len(beside) > 0 {
			if a, err := http.Get("http://" + r.admin + "/iis/ready"); err == nil {
				_ = a.Body.Close()
				if ready = a.StatusCode == http.StatusOK; ready {
					r.run(strings.Join(beside, "\n"))
				}
			}
		}
		_, err := ts.Do(ts.Request{Addr: web, Plain: true, Host: "www.example.com"})
		if err == nil {
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("caddy run: %v\n%s", err, log.String())
		case <-deadline:
			t.Fatalf("Caddy does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, c := range []struct {
		request ts.Request
		status  int
		want    string // the body, or Location
	}{
		{ts.Request{Addr: web, Plain: true, Host: "www.example.com"}, 200, "main"},
		{ts.Request{Addr: tls, SNI: "www.example.com"}, 200, "main"},
		{ts.Request{Addr: web, Plain: true, Host: "www.example.com", Path: "/private/x.txt"}, 404, ""},
		{ts.Request{Addr: web, Plain: true, Host: "www.example.com", Path: "/web.config"}, 404, ""},
		{ts.Request{Addr: web, Plain: true, Host: "www.example.com", Path: "/app/x"}, 200, "worker /app/x"},
		{ts.Request{Addr: web, Plain: true, Host: "shop.example.com", Path: "/x"}, 301, "https://www.example.com/shop"},
	} {
		a, err := ts.Do(c.request)
		if err != nil {
			t.Errorf("%+v: %v", c.request, err)
			continue
		}
		got := a.Body
		if a.Status == http.StatusMovedPermanently {
			got = a.Header.Get("Location")
		}
		if a.Status != c.status || c.want != "" && got != c.want {
			t.Errorf("%s%s: %d %q, want %d %q", c.request.Host, c.request.Path, a.Status, got, c.status, c.want)
		}
	}
	a, err := ts.Do(ts.Request{Addr: web, Plain: true, Host: "third.example.com"})
	if err == nil && a.Status == http.StatusOK {
		t.Errorf("a stopped site answers: %d %q", a.Status, a.Body)
	}
}

// TestImportCopies: where contents will be, and where copies are, are two things.
func TestImportCopies(t *testing.T) {
	r := newRoad(t)
	files := r.export()
	r.write(filepath.Join(r.dir, "export"), files)
	// The same with the copies elsewhere, and with names that tell nothing.
	moved := make(map[string][]byte)
	for name, data := range files {
		rest, in := strings.CutPrefix(name, "inetpub/")
		other, on := strings.CutPrefix(name, "sites/")
		switch {
		case in:
			r.write(filepath.Join(r.dir, "c-drive"), map[string][]byte{rest: data})
		case on:
			moved["d/"+other] = data
		default:
			moved[name] = data
		}
	}
	r.write(filepath.Join(r.dir, "moved"), moved)
	r.write(filepath.Join(r.dir, "here"), map[string][]byte{"main/web.config": files["inetpub/main/web.config"], "main/start.html": []byte("main")})
	t.Chdir(r.dir)
	t.Setenv("IIS_PFX_PASSWORD", "secret")
	for name, args := range map[string][]string{
		"by names":                    {"--map", `C:\inetpub=/srv/www`, "--map", `D:\sites=/srv/sites`, "export"},
		"by names, absolute":          {"--map", `%SystemDrive%\inetpub=/srv/www`, "--map", `d:/sites/=/srv/sites`, filepath.Join(r.dir, "export")},
		"copies":                      {"--map", `C:\inetpub=/srv/www`, "--map", `D:\sites=/srv/sites`, "--copies", `%SYSTEMDRIVE%\inetpub\=c-drive`, "--copies", `D:\sites=moved/d`, "moved"},
		"copies, absolute":            {"--map", `C:\inetpub=/srv/www`, "--map", `D:\sites=/srv/sites`, "--copies", `\\?\C:\Inetpub=` + filepath.Join(r.dir, "c-drive"), "--copies", `D:\sites=` + filepath.Join(r.dir, "moved", "d"), "moved"},
		"contents that are here":      {"--map", `C:\inetpub=here`, "--map", `D:\sites=/srv/sites`, "--copies", `C:\inetpub\app=c-drive/app`, "--copies", `C:\inetpub\shop=c-drive/shop`, "--copies", `D:\sites=moved/d`, "moved"},
		"copies of single files":      {"--map", `C:\inetpub=/srv/www`, "--map", `D:\sites=/srv/sites`, "export/applicationHost.config", "export/sslcert.txt", "export/inetpub/main/web.config", "export/inetpub", "export/sites"},
		"the copies are the contents": {"--map", `C:\inetpub=export/inetpub`, "--map", `D:\sites=export/sites`, "export"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if code := caddyiis.RunCommand(&out, &errOut, append([]string{"import", "--report", "-"}, args...)...); code != 0 {
				t.Fatalf("exit code %d: %s", code, errOut.String())
			}
			for _, want := range []string{"start.html", "https://www.example.com/shop", "browse", "private"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q: a web.config is lost:\n%s\n%s", want, out.String(), errOut.String())
				}
			}
			if strings.Contains(errOut.String(), "in no folder of a site") || strings.Contains(errOut.String(), "no --map translates") {
				t.Errorf("the report:\n%s", errOut.String())
			}
		})
	}
}

// TestImportRefuses: what is not there, or matches nothing, is an error that names it;
// nothing is written to the standard output.
func TestImportRefuses(t *testing.T) {
	r := newRoad(t)
	r.write(filepath.Join(r.dir, "export"), r.export())
	r.write(r.dir, map[string][]byte{
		"nosite/sslcert.txt": r.export()["sslcert.txt"], "nosite/notes.txt": []byte("hello"), "bare/readme.txt": []byte("x"),
		"tenant/web.config": []byte(`<configuration><system.applicationHost><sites><site name="Evil" id="1"/></sites></system.applicationHost></configuration>`),
	})
	if err := os.MkdirAll(filepath.Join(r.dir, "empty", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(r.dir)
	t.Setenv("IIS_PFX_PASSWORD", "secret")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--certificates", "nowhere", "export"}, "--certificates: stat nowhere"},
		{[]string{"--certificates", "export/sites.txt", "export"}, "export/sites.txt is not a folder"},
		{[]string{"--copies", `C:\inetpub=nowhere`, "export"}, "--copies: stat nowhere"},
		{[]string{"--copies", `C:\inetpub=empty`, "export"}, "no web.config in empty"},
		{[]string{"--copies", `X:\inetpub=export/inetpub`, "export"}, `no folder of the server is in X:\inetpub; it has %SystemDrive%\inetpub\main`},
		{[]string{"--map", `C:\inetpup=/srv/www`, "export"}, `--map: no folder of the server is in C:\inetpup`},
		{[]string{"--map", `C:\inetpub\main\sub=/srv/www`, "export"}, "--map: no folder of the server"},
		{[]string{"empty"}, "the folder empty has no files"},
		{[]string{"nowhere"}, "stat nowhere"},
		{[]string{"nosite"}, "no site was found in nosite"},
		{[]string{"bare"}, "no site was found in bare"},
		{[]string{"tenant/web.config"}, "no site was found"},
		{[]string{"tenant"}, "no site was found"},
	} {
		var out, errOut bytes.Buffer
		if code := caddyiis.RunCommand(&out, &errOut, append([]string{"import"}, c.args...)...); code == 0 || !strings.Contains(errOut.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v: exit code %d, %q, %q; want %q", c.args, code, out.String(), errOut.String(), c.want)
		}
	}
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "import", "--report", "report.txt", "nosite"); code == 0 || !strings.Contains(r.file("report.txt"), "nosite/notes.txt") {
		t.Errorf("exit code %d, %s", code, errOut.String())
	}
}

// TestImportNumbers: numbers and warnings are on the standard error in any case, and the
// standard output has the configuration alone.
func TestImportNumbers(t *testing.T) {
	r := newRoad(t)
	files := r.export()
	files["redirection.config"] = []byte(`<configuration><configurationRedirection enabled="true" path="\\share\config" userName="x" password="y" /></configuration>`)
	r.write(filepath.Join(r.dir, "export"), files)
	t.Chdir(r.dir)
	t.Setenv("IIS_PFX_PASSWORD", "secret")
	for _, report := range [][]string{nil, {"--report", "report.txt"}, {"--report", "report.json"}, {"--report", "-"}, {"--report", "report.txt", "--format", "json"}} {
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, append(append([]string{"import"}, report...), "export")...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errOut.String())
		}
		for _, want := range []string{"3 sites, 4 bindings", "closed", "for a decision", "upstream", `redirected to \\share\config`} {
			if !strings.Contains(errOut.String(), want) {
				t.Errorf("%v: no %q on the standard error:\n%s", report, want, errOut.String())
			}
		}
		first, _, _ := strings.Cut(out.String(), "\n")
		if !strings.HasPrefix(first, "# Made from") && first != "{" || strings.Contains(out.String(), "3 sites") {
			t.Errorf("%v: the standard output begins with %q", report, first)
		}
	}
	if errors.Is(r.exists("report.json"), os.ErrNotExist) {
		t.Error("there is no report.json")
	}
}

func (r *road) exists(name string) error {
	_, err := os.Stat(filepath.Join(r.dir, name))
	return err
}
