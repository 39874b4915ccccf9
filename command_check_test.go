package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// found runs check and returns the findings by their codes.
func found(t *testing.T, args ...string) (map[string][]adminapi.Finding, int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := caddyiis.RunCommand(&out, &errOut, append([]string{"check", "--json"}, args...)...)
	var list []adminapi.Finding
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || list == nil || errOut.Len() > 0 {
		t.Fatalf("exit code %d, %s, %s: %v", code, out.String(), errOut.String(), err)
	}
	byCode := make(map[string][]adminapi.Finding)
	for _, f := range list {
		byCode[f.Code] = append(byCode[f.Code], f)
	}
	return byCode, code
}

// TestCheckWorlds: each world has its finding, in the running configuration and in a
// file, and with the fault mended it has none.
func TestCheckWorlds(t *testing.T) {
	port, securePort, nobody := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	dir := t.TempDir()
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	good, goodKey := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	chain := issue(t, 7, nil, "www.contoso.test")
	leaf, _ := pem.Decode(chain.cert)
	alone, aloneKey := filepath.Join(dir, "alone.pem"), filepath.Join(dir, "alone.key")
	for file, data := range map[string][]byte{alone: pem.EncodeToMemory(leaf), aloneKey: chain.key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expired, expiredKey := ts.PEMValid(t, -48*time.Hour, -24*time.Hour, "www.contoso.test")
	plain := func(body string) string {
		return fmt.Sprintf("site 1 {\nserver_bindings :%d:www.contoso.test\n%s\n}", port, body)
	}
	both := func(cert, key, body string) string {
		return fmt.Sprintf("certificate c %q %q\nsite 1 {\nserver_bindings :%d:www.contoso.test\nsecure_bindings :%d:www.contoso.test\ncertificate c\n%s\n}", cert, key, port, securePort, body)
	}
	files := fmt.Sprintf("template files {\nsite_vars {\nroot {\nbelow %q\n}\n}\nroot * {iis.vars.root}\nfile_server\n}\n", dir)
	// On Windows itself such a folder is only missing.
	windows, ofWindows := "root-foreign", `root D:\shop (site 1) is a path of Windows, and this is `
	if runtime.GOOS == "windows" {
		windows, ofWindows = "root-missing", `root D:\shop (site 1) does not exist`
	}
	for _, c := range []struct {
		name, code   string
		severity     string
		wrong, right string
		message      string
		plain        bool // it stands in the configuration: --no-probe has it all the same
	}{
		{
			name: "root", code: "root-missing", severity: adminapi.SeverityWarning,
			wrong: plain(fmt.Sprintf("root * %q\nfile_server", filepath.Join(dir, "missing"))), right: plain(fmt.Sprintf("root * %q\nfile_server", dir)),
			message: fmt.Sprintf("root %s (site 1) does not exist: what is asked for there is not found", filepath.Join(dir, "missing")),
		},
		{
			name: "root of Windows", code: windows, severity: adminapi.SeverityWarning,
			wrong: plain(`root * "D:\shop"` + "\nfile_server"), right: plain(fmt.Sprintf("root * %q\nfile_server", dir)),
			message: ofWindows,
		},
		{
			name: "upstream", code: "upstream-refuses", severity: adminapi.SeverityWarning,
			wrong: plain(fmt.Sprintf("reverse_proxy 127.0.0.1:%d", nobody)), right: plain("reverse_proxy " + upstream.Addr().String()),
			message: fmt.Sprintf("upstream 127.0.0.1:%d (site 1) takes no connections: %s: visitors get status 502", nobody, ts.Nobody()),
		},
		{
			name: "no bindings", code: "no-bindings", severity: adminapi.SeverityWarning, plain: true,
			wrong: "site 1 \"Main\" {\nrespond ok\n}", right: "site 1 {\nautostart off\n}",
			message: `site 1 "Main" has no bindings: nobody can reach it`,
		},
		{
			name: "variable that is not set", code: "variable-not-set", severity: adminapi.SeverityWarning, plain: true,
			wrong: plain("reverse_proxy {env.APP_UPSTREAM_NOBODY_SETS}"), right: plain("reverse_proxy " + upstream.Addr().String()),
			message: "site 1 is served with {env.APP_UPSTREAM_NOBODY_SETS}, which Caddy's environment does not have, or has empty",
		},
		{
			name: "variable that was not set", code: "no-upstream", severity: adminapi.SeverityWarning, plain: true,
			wrong: plain("reverse_proxy {$APP_UPSTREAM_NOBODY_SETS}"), right: plain("reverse_proxy {$APP_UPSTREAM_NOBODY_SETS:" + upstream.Addr().String() + "}"),
			message: "site 1 is served by a reverse_proxy without an upstream: visitors get status 503",
		},
		{
			name: "variable of a site", code: "root-missing", severity: adminapi.SeverityWarning,
			wrong:   files + plain(fmt.Sprintf("template files\nsite_vars root %q", filepath.Join(dir, "missing"))),
			right:   files + plain(fmt.Sprintf("template files\nsite_vars root %q", dir)),
			message: fmt.Sprintf("root %s (site 1) does not exist", filepath.Join(dir, "missing")),
		},
		{
			name: "upstream of an import", code: "upstream-refuses", severity: adminapi.SeverityWarning,
			wrong: plain(fmt.Sprintf("vars iis_upstream 127.0.0.1:%[1]d\nreverse_proxy {$IIS_UPSTREAM_NOBODY_SETS:127.0.0.1:%[1]d}", nobody)), right: plain("reverse_proxy " + upstream.Addr().String()),
			message: fmt.Sprintf("upstream 127.0.0.1:%d (site 1) takes no connections", nobody),
		},
		{
			name: "chain", code: "certificate-chain-incomplete", severity: adminapi.SeverityInfo, plain: true,
			wrong: both(alone, aloneKey, "require_ssl redirect"), right: both(good, goodKey, "require_ssl redirect"),
			message: `certificate "c" `,
		},
		{
			name: "expired", code: "certificate-expired", severity: adminapi.SeverityWarning, plain: true,
			wrong: both(expired, expiredKey, "require_ssl redirect"), right: both(good, goodKey, "require_ssl redirect"),
			message: `certificate "c" has expired on `,
		},
		{
			name: "no redirect", code: "no-redirect-to-https", severity: adminapi.SeverityInfo, plain: true,
			wrong: both(good, goodKey, "respond ok"), right: both(good, goodKey, "redir https://{host}{uri}"),
			message: "site 1 answers http as well as https for the same host, and nothing redirects clients to https",
		},
		{
			name: "no redirect, but a demand", code: "no-redirect-to-https", severity: adminapi.SeverityInfo, plain: true,
			wrong: both(good, goodKey, "respond ok"), right: both(good, goodKey, "require_ssl"),
			message: "site 1 answers http as well as https for the same host, and nothing redirects clients to https",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "Caddyfile")
			write := func(iis string) {
				if err := os.WriteFile(file, []byte(iisConfig(iis)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := startIIS(t, c.wrong)
			write(c.wrong)
			for _, args := range [][]string{{"--address", s.AdminAddr()}, {"--config", file}} {
				got, code := found(t, args...)
				want := map[string]int{adminapi.SeverityWarning: cli.ExitWarnings, adminapi.SeverityInfo: cli.ExitOK}[c.severity]
				if f := got[c.code]; len(f) != 1 || code != want || f[0].Severity != c.severity || !strings.HasPrefix(f[0].Message, c.message) || f[0].Fix == "" {
					t.Errorf("%v: exit code %d, %+v", args, code, got)
				}
				if got, _ := found(t, append(args, "--no-probe")...); (len(got[c.code]) == 1) != c.plain {
					t.Errorf("%v --no-probe: %+v", args, got)
				}
			}
			if err := s.Load(iisConfig(c.right)); err != nil {
				t.Fatal(err)
			}
			write(c.right)
			for _, args := range [][]string{{"--address", s.AdminAddr()}, {"--config", file}} {
				if got, code := found(t, args...); len(got) > 0 || code != cli.ExitOK {
					t.Errorf("mended: %v: exit code %d, %+v", args, code, got)
				}
			}
		})
	}
}

// TestCheckRows: rows of a source and of a sites file have the findings that sites of the
// configuration have, and those that are mended have none.
func TestCheckRows(t *testing.T) {
	port, securePort, nobody := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	dir := t.TempDir()
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	good, goodKey := ts.PEM(t, "www.contoso.test", "*.contoso.test")
	expired, expiredKey := ts.PEMValid(t, -48*time.Hour, -24*time.Hour, "old.contoso.test")
	chain := issue(t, 7, nil, "chain.contoso.test")
	leaf, _ := pem.Decode(chain.cert)
	alone, aloneKey, db, lines := filepath.Join(dir, "alone.pem"), filepath.Join(dir, "alone.key"), filepath.Join(dir, "sites.db"), filepath.Join(dir, "sites.jsonl")
	for file, data := range map[string][]byte{alone: pem.EncodeToMemory(leaf), aloneKey: chain.key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shared := fmt.Sprintf(`
		certificate good %q %q
		certificate expired %q %q
		certificate alone %q %q
		template files {
			site_vars {
				root {
					below %q "D:\sites"
				}
			}
			root * {iis.vars.root}
			file_server
		}
		template app {
			site_vars {
				upstream {
					to 127.0.0.0/8
				}
			}
			reverse_proxy {iis.vars.upstream}
		}
		template env {
			root * {env.ROOT_NOBODY_SETS}
			file_server
		}
		template unset {
			reverse_proxy {$UPSTREAM_NOBODY_SETS}
		}
		template page {
			respond ok
		}
	`, good, goodKey, expired, expiredKey, alone, aloneKey, dir)
	windows := "root-foreign"
	if runtime.GOOS == "windows" {
		windows = "root-missing"
	}
	files := func(root string) string { return fmt.Sprintf(`"template":"files","vars":{"root":%q}`, root) }
	app := func(address string) string {
		return fmt.Sprintf(`"template":"app","vars":{"upstream":%q}`, address)
	}
	bound := func(id int) string { return fmt.Sprintf(`,"server_bindings":[":%d:s%d.contoso.test"]`, port, id) }
	secure := func(host, certificate string) string {
		return fmt.Sprintf(`"template":"page","bindings":[{"protocol":"https","binding":"*:%d:%s","flags":1,"certificate":%q}]`, securePort, host, certificate)
	}
	const mended = `"template":"page"`
	worlds := []struct{ code, wrong, right string }{
		{"root-missing", files(filepath.Join(dir, "missing")) + bound(10), files(dir) + bound(10)},
		{windows, files(`D:\sites\shop`) + bound(11), files(dir) + bound(11)},
		{"upstream-refuses", app(fmt.Sprintf("127.0.0.1:%d", nobody)) + bound(12), app(upstream.Addr().String()) + bound(12)},
		{"variable-not-set", `"template":"env"` + bound(13), mended + bound(13)},
		{"no-upstream", `"template":"unset"` + bound(14), mended + bound(14)},
		{"no-bindings", mended, mended + bound(15)},
		{"certificate-expired", secure("old.contoso.test", "expired"), ""}, // the configuration has it, also for nobody
		{"certificate-chain-incomplete", secure("chain.contoso.test", "alone"), ""},
		{"no-redirect-to-https", secure("both.contoso.test", "good") + fmt.Sprintf(`,"server_bindings":[":%d:both.contoso.test"]`, port), secure("both.contoso.test", "good")},
	}
	inFile := iisConfig(shared + fmt.Sprintf("sites_file %q", lines))
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(inFile), 0o600); err != nil {
		t.Fatal(err)
	}
	inSource := ts.Start(t, iisConfig(shared+fmt.Sprintf("sites_from bolt %q {\nallow {\nports %d %d\n}\n}", db, port, securePort)))
	look := func(t *testing.T, right bool, args ...string) {
		t.Helper()
		got, _ := found(t, args...)
		for i, w := range worlds {
			if n := len(got[w.code]); right && w.right != "" && n > 0 || !right && (n != 1 || got[w.code][0].Site != 0 && got[w.code][0].Site != uint32(10+i)) {
				t.Errorf("%v, mended %t: %s: %+v", args, right, w.code, got[w.code])
			}
		}
	}
	for _, right := range []bool{false, true} {
		var sb strings.Builder
		for i, w := range worlds {
			row := w.wrong
			if right && w.right != "" {
				row = w.right
			}
			fmt.Fprintf(&sb, "{\"id\":%d,%s}\n", 10+i, row)
			if status, answer := inSource.Admin("PUT", fmt.Sprintf("/iis/sites/%d", 10+i), "{"+row+"}"); status != 200 && status != 201 {
				t.Fatalf("%s: %d %s", row, status, answer)
			}
		}
		if err := os.WriteFile(lines, []byte(sb.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		look(t, right, "--address", inSource.AdminAddr())
		look(t, right, "--config", file)
	}
	if err := inSource.Load(inFile); err != nil {
		t.Fatal(err)
	}
	look(t, true, "--address", inSource.AdminAddr())
}

// TestCheckDNS: a name of nobody is asked for only if somebody wants it. Here there may
// be no name server.
func TestCheckDNS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(iisConfig(fmt.Sprintf("site 1 {\nserver_bindings :%d:nobody.invalid\n}", ts.FreePort(t)))), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := found(t, "--config", file); len(got) > 0 {
		t.Errorf("without --dns: %+v", got)
	}
	got, _ := found(t, "--config", file, "--dns")
	if f := append(got["host-not-in-dns"], got["not-all-looked-at"]...); len(f) != 1 || !strings.Contains(f[0].Message, "nobody.invalid") || len(got["host-elsewhere"]) > 0 {
		t.Errorf("%+v", got)
	}
	for want, args := range map[string][]string{
		"Error: --here is for --dns: add it\n":                              {"--here", "192.0.2.7"},
		"Error: --here: \"balancer\" is no IP address, such as 192.0.2.7\n": {"--dns", "--here", "balancer"},
	} {
		var out, errOut bytes.Buffer
		if code := caddyiis.RunCommand(&out, &errOut, append([]string{"check", "--config", file}, args...)...); code != cli.ExitNotAsked || errOut.String() != want {
			t.Errorf("%v: exit code %d, %s%s", args, code, out.String(), errOut.String())
		}
	}
}
