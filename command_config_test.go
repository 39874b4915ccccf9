package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"pgregory.net/rapid"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// ownAsJSON is in a Caddyfile that has a handler of this project as JSON.
const ownAsJSON = `"handler": "iis_`

// written is a configuration as a Caddyfile, and what that adapts to.
type written struct {
	text  string
	count config.Count
	exact bool // the JSON is the same in every letter
}

// roundTrip writes the app of a configuration as a Caddyfile, and has it adapted again. It
// must come to the same.
func roundTrip(t rapid.TB, raw []byte) written {
	t.Helper()
	got, err := tryRoundTrip(t, raw)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// tryRoundTrip is roundTrip for what may be refused.
func tryRoundTrip(t rapid.TB, raw []byte) (written, error) {
	t.Helper()
	want := appOf(t, raw)
	app := new(config.App)
	if err := json.Unmarshal(want, app); err != nil {
		t.Fatal(err)
	}
	out, count, err := app.Caddyfile("Caddyfile")
	if err != nil {
		return written{}, err
	}
	adapted, err := adapt(string(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.HasPrefix(adapted, []byte(`{"apps":{"iis":`)) || len(adapted) != len(`{"apps":{"iis":}}`)+len(appOf(t, adapted)) {
		t.Errorf("more than the app comes of\n%s\nit is %s", out, adapted)
	}
	again := new(config.App)
	if err := json.Unmarshal(appOf(t, adapted), again); err != nil {
		t.Fatal(err)
	}
	if differs := app.Differences(again, "Caddyfile"); len(differs) > 0 {
		t.Errorf("%s\nadapts to\n%s\nand not to\n%s\nit differs in %q", out, appOf(t, adapted), want, differs)
	}
	var a, b any
	for into, raw := range map[*any][]byte{&a: want, &b: appOf(t, adapted)} {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return written{string(out), count, reflect.DeepEqual(a, b)}, nil
}

func appOf(t rapid.TB, raw []byte) json.RawMessage {
	t.Helper()
	var cfg struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg.Apps["iis"]
}

// mostAsJSON is how many handlers of Caddy in testdata no directive says.
const mostAsJSON = 8

// TestConfigRoundTrip writes what the good Caddyfiles of testdata adapt to, and what the
// examples do, as Caddyfiles again: formatted as caddy fmt does it, and with few handlers as
// JSON. Of the figures a test fails that grow: then a directive has lost its writer.
func TestConfigRoundTrip(t *testing.T) {
	t.Setenv("CADDY_IIS_TEST_SITE", "17")
	t.Setenv("CADDY_IIS_TEST_DOMAIN", "example.com")
	files, err := filepath.Glob("testdata/caddyfile/good_*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("examples/*/Caddyfile")
	if err != nil || len(examples) == 0 {
		t.Fatal(err)
	}
	renumbered := []string{"good_json.caddyfiletest"} // groups of routes
	var handlers, asJSON int
	for _, file := range slices.Concat(files, examples) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := roundTrip(t, adaptFile(t, file))
			if !got.exact && !slices.Contains(renumbered, filepath.Base(file)) {
				t.Errorf("other JSON comes of\n%s", got.text)
			}
			if formatted := caddyfile.Format([]byte(got.text)); string(formatted) != got.text {
				t.Errorf("caddy fmt makes of\n%s\n%s", got.text, formatted)
			}
			if strings.Contains(got.text, ownAsJSON) {
				t.Errorf("a handler of this project has no words in\n%s", got.text)
			}
			handlers, asJSON = handlers+got.count.Handlers, asJSON+got.count.AsJSON
		})
	}
	if asJSON > mostAsJSON {
		t.Errorf("%d of %d handlers are JSON, and more than %d shall not be", asJSON, handlers, mostAsJSON)
	}
}

// TestConfigRoundTripOfImports does that with what caddy iis import makes of the fixtures.
func TestConfigRoundTripOfImports(t *testing.T) {
	folders, err := filepath.Glob("iis*/testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	var handlers, asJSON, imported int
	for _, folder := range folders {
		var out, errOut bytes.Buffer
		if caddyiis.RunCommand(&out, &errOut, "import", "--format", "json", folder) != 0 {
			continue // of some fixtures nothing comes
		}
		imported++
		got := roundTrip(t, out.Bytes())
		handlers, asJSON = handlers+got.count.Handlers, asJSON+got.count.AsJSON
	}
	if asJSON > 0 {
		t.Errorf("%d of %d handlers of imports are JSON", asJSON, handlers)
	}
	if imported < 5 || handlers < 200 {
		t.Errorf("only %d fixtures with %d handlers were imported", imported, handlers)
	}
}

// TestConfigIsKept: what a command has changed is in what config writes, and Caddy serves
// the same from that.
func TestConfigIsKept(t *testing.T) {
	port := ts.FreePort(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("files"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startIIS(t, fmt.Sprintf(`
		site 1 Main {
			server_bindings :%d:www.contoso.test
			header X-Main "{http.request.host} and {iis.site.name}"
			handle_path /api/* {
				respond "api {path}"
			}
			handle {
				respond main
			}
		}`, port))
	for _, args := range [][]string{
		{"set", "/w3svc/1/ServerBindings", fmt.Sprintf(":%d:www.contoso.test", port), fmt.Sprintf(":%d:new.contoso.test", port)},
		{"add", "site", "Files", "--http", fmt.Sprintf("*:%d:files.contoso.test", port), "--root", dir},
	} {
		runCommand(t, s, args...)
	}
	asked := []string{"www.contoso.test/", "new.contoso.test/api/x", "files.contoso.test/", "other.contoso.test/", "files.contoso.test/Caddyfile"}
	answers := func() (list []string) {
		for _, target := range asked {
			host, path, _ := strings.Cut(target, "/")
			answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), Plain: true, Host: host, Path: "/" + path})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprint(target, answer.Status, answer.Header.Get("X-Main"), answer.Body))
		}
		return list
	}
	before := answers()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	runCommand(t, s, "config", "--output", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	left, rest, _ := strings.Cut(string(text), "\n") // the server of the test has global options of its own
	if !strings.HasPrefix(left, "# Not in it, since it is the iis app alone: ") || !strings.HasSuffix(left, "admin, logging, storage.") {
		t.Errorf("the file does not say what is not in it: %s", left)
	}
	if err := s.Restart(rest); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if after := answers(); !slices.Equal(after, before) {
		t.Errorf("before:\n%s\nafter:\n%s\nwith\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"), text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 && os.PathSeparator == '/' {
		t.Errorf("others can read %s: %v %v", file, info.Mode(), err)
	}
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "config", "--config", file, "--output", file); code != 1 || !strings.Contains(errOut.String(), "--force") {
		t.Errorf("a file that is there: exit code %d: %s", code, &errOut)
	}
}

func runCommand(t *testing.T, s *ts.Server, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, append(args, "--address", s.AdminAddr())...); code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, &errOut)
	}
	return out.String()
}

// TestConfigOfJSON: what JSON says and no word does comes back as it is, or is refused: what is
// empty is not what is missing, and null is neither.
func TestConfigOfJSON(t *testing.T) {
	for _, c := range []struct {
		code int
		app  string
	}{
		{0, `{"defaults":{"routes":[{"handle":[{"handler":"static_response","body":"all"}]}]},"sites":{"7":{"server_bindings":[":80:x.test"],"routes":[]}}}`},
		{0, `{"defaults":{"site_vars":{"x":{"default":"a","below":[]}}}}`},
		{0, `{"sites":{"7":{"server_bindings":[":80:x.test"],"w3c_log":{"folder":"/l","fields":[]}}}}`},
		{1, `{"endpoints":{"10.0.0.5:443":null}}`},
	} {
		app, code := c.app, c.code
		file := filepath.Join(t.TempDir(), "caddy.json")
		if err := os.WriteFile(file, []byte(`{"apps":{"iis":`+app+`}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		if got := caddyiis.RunCommand(&out, &errOut, "config", "--json", "--config", file); got != code {
			t.Errorf("%s: exit code %d\n%s%s", app, got, out.String(), errOut.String())
		} else if code == 0 {
			var back struct{ Apps struct{ IIS json.RawMessage } }
			var want, have any
			if err := errors.Join(json.Unmarshal(out.Bytes(), &back), json.Unmarshal([]byte(app), &want), json.Unmarshal(back.Apps.IIS, &have)); err != nil || !reflect.DeepEqual(want, have) {
				t.Errorf("%s\nbecame %s, %v", app, back.Apps.IIS, err)
			}
		}
	}
}

// TestConfigReplaces: a file that is replaced keeps its mode and the link that leads to it.
func TestConfigReplaces(t *testing.T) {
	dir := t.TempDir()
	file, link, config := filepath.Join(dir, "real"), filepath.Join(dir, "Caddyfile"), filepath.Join(dir, "caddy.json")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o644), os.WriteFile(config, []byte(`{"apps":{"iis":{}}}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	needs.Symlink(t, file, link)
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "config", "--config", config, "--output", link); code != 1 || !strings.Contains(errOut.String(), "--force") {
		t.Errorf("exit code %d, %s", code, errOut.String())
	}
	if code := caddyiis.RunCommand(&out, &errOut, "config", "--config", config, "--output", link, "--force"); code != 0 {
		t.Fatalf("exit code %d, %s", code, errOut.String())
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "iis") {
		t.Errorf("%q, %v", text, err)
	}
	if info, err = os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}
