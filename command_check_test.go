package caddyiis_test

import (
	"bytes"
	"encoding/json"
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
	expired, expiredKey := ts.PEMValid(t, -48*time.Hour, -24*time.Hour, "www.contoso.test")
	plain := func(body string) string {
		return fmt.Sprintf("site 1 {\nserver_bindings :%d:www.contoso.test\n%s\n}", port, body)
	}
	both := func(cert, key, body string) string {
		return fmt.Sprintf("certificate c %q %q\nsite 1 {\nserver_bindings :%d:www.contoso.test\nsecure_bindings :%d:www.contoso.test\ncertificate c\n%s\n}", cert, key, port, securePort, body)
	}
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
			message: fmt.Sprintf("upstream 127.0.0.1:%d (site 1) takes no connections: connection refused: visitors get status 502", nobody),
		},
		{
			name: "no bindings", code: "no-bindings", severity: adminapi.SeverityWarning, plain: true,
			wrong: "site 1 \"Main\" {\nrespond ok\n}", right: "site 1 {\nautostart off\n}",
			message: `site 1 "Main" has no bindings: nobody can reach it`,
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
