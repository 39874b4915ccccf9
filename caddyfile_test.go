package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the modules of an ordinary Caddy

	caddyiis "github.com/caddy-iis/caddy-iis"
)

var update = flag.Bool("update", false, "rewrite the JSON that the good Caddyfiles of testdata/caddyfile adapt to")

func init() {
	// Directives as third parties may have them: one without a place in the
	// order of directives, one that sets more than routes.
	httpcaddyfile.RegisterHandlerDirective("test_unordered", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return &caddyhttp.StaticResponse{Body: strings.Join(h.RemainingArgs(), " ")}, nil
	})
	httpcaddyfile.RegisterDirective("test_wrapper", func(httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
		return []httpcaddyfile.ConfigValue{{Class: "listener_wrapper", Value: new(caddyhttp.HTTPRedirectListenerWrapper)}}, nil
	})
}

// separator stands alone in a line between a Caddyfile and what is expected.
const separator = "\n----------\n"

// TestCaddyfiles adapts the Caddyfiles of testdata/caddyfile. Behind the
// separator, a good one has the whole JSON, a bad one lines that the error contains.
func TestCaddyfiles(t *testing.T) {
	t.Setenv("CADDY_IIS_TEST_SITE", "17")
	t.Setenv("CADDY_IIS_TEST_DOMAIN", "example.com")
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Caddyfiles to test: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(content), "\r\n", "\n")
			input, expected, ok := strings.Cut(text, separator)
			switch {
			case strings.HasPrefix(name, "bad_"):
				if !ok {
					t.Fatal("there is no separator")
				}
				testBadCaddyfile(t, input+"\n", strings.TrimSpace(expected))
			case *update:
				input = strings.TrimSuffix(input, "\n")
				got := testGoodCaddyfile(t, input+"\n")
				if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				// What Caddy hides has the separator of the system.
				hidden, err := json.Marshal("." + string(filepath.Separator) + "Caddyfile")
				if err != nil {
					t.Fatal(err)
				}
				expected = strings.ReplaceAll(expected, `"./Caddyfile"`, string(hidden))
				if got := testGoodCaddyfile(t, input+"\n"); got != expected {
					t.Errorf("got:\n%s\nexpected:\n%s", got, expected)
				}
			}
		})
	}
}

// TestQuickstartCaddyfile adapts the example that the documentation starts
// with.
func TestQuickstartCaddyfile(t *testing.T) {
	const golden = "testdata/caddyfile/quickstart.json"
	input, err := os.ReadFile("examples/quickstart/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if formatted := caddyfile.Format(input); !bytes.Equal(formatted, input) {
		t.Error("the example is not formatted as caddy fmt would")
	}
	got := testGoodCaddyfile(t, string(input))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(expected) {
		t.Errorf("got:\n%s\nexpected:\n%s", got, expected)
	}
}

func adapt(input string) ([]byte, error) {
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	return raw, err
}

// testGoodCaddyfile adapts a Caddyfile twice, to the same JSON, which must be
// what the app reads.
func testGoodCaddyfile(t *testing.T, input string) string {
	t.Helper()
	raw, err := adapt(input)
	if err != nil {
		t.Fatal(err)
	}
	again, err := adapt(input)
	if err != nil {
		t.Fatalf("for the second time: %v", err)
	}
	if !bytes.Equal(raw, again) {
		t.Errorf("adapted first to %s, then to %s", raw, again)
	}
	var cfg struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(cfg.Apps["iis"]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(new(caddyiis.App)); err != nil {
		t.Errorf("the app does not read %s: %v", cfg.Apps["iis"], err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "\t"); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	return pretty.String()
}

var fileAndLine = regexp.MustCompile(`\bCaddyfile:[1-9]`)

func testBadCaddyfile(t *testing.T, input, expected string) {
	t.Helper()
	raw, err := adapt(input)
	switch {
	case err == nil:
		t.Errorf("adapted to %s, expected the error:\n%s", raw, expected)
	case expected == "":
		t.Errorf("there is no expected error, got: %v", err)
	case !fileAndLine.MatchString(err.Error()):
		t.Errorf("no file and line in: %v", err)
	}
	for line := range strings.Lines(expected) {
		if line = strings.TrimSuffix(line, "\n"); err != nil && !strings.Contains(err.Error(), line) {
			t.Errorf("got the error:\n%v\nexpected in it:\n%s", err, line)
		}
	}
}

// TestDamagedCaddyfiles leaves out, doubles and cuts off the lines of the good
// Caddyfiles, one at a time. Whatever comes of it, the parser does not panic,
// and an error says where it is.
func TestDamagedCaddyfiles(t *testing.T) {
	t.Setenv("CADDY_IIS_TEST_SITE", "17")
	t.Setenv("CADDY_IIS_TEST_DOMAIN", "example.com")
	files, err := filepath.Glob("testdata/caddyfile/good_*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(content), separator)
		lines := strings.SplitAfter(input+"\n", "\n")
		for i, line := range lines {
			before, after := strings.Join(lines[:i], ""), strings.Join(lines[i+1:], "")
			words := strings.Fields(line)
			for _, damaged := range []string{
				"", line + line, strings.Join(append(words, "{"), " ") + "\n",
				strings.Join(words[:max(len(words)-1, 0)], " ") + "\n",
				strings.Join(append(words, "surplus"), " ") + "\n",
			} {
				_, err := adapt(before + damaged + after)
				if err != nil && !hasPlace(err) {
					t.Errorf("%s: line %d changed to %q: no file and line in: %v", filepath.Base(file), i+1, damaged, err)
				}
			}
		}
	}
}

// hasPlace tells whether an error says where it is, or is one of Caddy's own
// that have no place.
func hasPlace(err error) bool {
	text := err.Error()
	return fileAndLine.MatchString(text) || !strings.Contains(text, "'iis'")
}

// TestHiddenCaddyfiles gives two sites the same directives in two files: each
// site's file server hides the file that its directives come from.
func TestHiddenCaddyfiles(t *testing.T) {
	dir := t.TempDir()
	input := "{\niis {\n"
	for id := 1; id <= 2; id++ {
		file := filepath.Join(dir, fmt.Sprintf("%d.caddy", id))
		if err := os.WriteFile(file, []byte("root * /srv\nfile_server\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		input += fmt.Sprintf("site %d {\nimport %s\n}\n", id, file)
	}
	raw, err := adapt(input + "}\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 2; id++ {
		file, _ := json.Marshal(filepath.Join(dir, fmt.Sprintf("%d.caddy", id)))
		if !bytes.Contains(raw, append([]byte(`"hide":[`), file...)) {
			t.Errorf("site %d does not hide %s: %s", id, file, raw)
		}
	}
}

// TestHandshakeMatcherCaddyfile reads the handshake matcher where Caddyfile
// syntax has a place for it.
func TestHandshakeMatcherCaddyfile(t *testing.T) {
	for _, c := range []struct{ input, expected, err string }{
		{"match {\niis\n}", `{"match":{"iis":{}}}`, ""},
		{"match {\niis 1\n}", "", `takes nothing, such as "1"`},
		{"match {\niis {\nsites 1\n}\n}", "", `takes nothing, such as "sites"`},
	} {
		policy := new(caddytls.ConnectionPolicy)
		err := policy.UnmarshalCaddyfile(caddyfile.NewTestDispenser("connection_policy {\n" + c.input + "\n}"))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: got the error %v, expected %s", c.input, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.input, err)
			continue
		}
		if raw, err := json.Marshal(policy); err != nil || string(raw) != c.expected {
			t.Errorf("%q: got %s, %v, expected %s", c.input, raw, err, c.expected)
		}
	}
}

// BenchmarkAdapt adapts a Caddyfile with 1,000 sites.
func BenchmarkAdapt(b *testing.B) {
	const sites = 1000
	for _, bench := range []struct{ name, body, defaults string }{
		{"distinct", "root * /srv/%[1]d\nencode gzip\nfile_server", ""},
		{"equal", "root * /srv/{iis.site.id}\nencode gzip\nfile_server", ""},
		{"defaults", "", "defaults {\nroot * /srv/{iis.site.id}\nencode gzip\nfile_server\n}\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			input := manySites(sites, "", bench.body, bench.defaults)
			benchmarkAdapt(b, input)
		})
	}
	b.Run("blocks", func(b *testing.B) {
		benchmarkAdapt(b, manySites(sites, "}\niis {\n", "respond {iis.site.id}", ""))
	})
	b.Run("caddy", func(b *testing.B) {
		// The same sites in Caddy's own words, to compare with.
		var input strings.Builder
		for id := 1; id <= sites; id++ {
			fmt.Fprintf(&input, "http://s%[1]d.example.com {\nroot * /srv/%[1]d\nencode gzip\nfile_server\n}\n", id)
		}
		benchmarkAdapt(b, input.String())
	})
}

// manySites writes a Caddyfile with sites whose body is a format for their id.
func manySites(n int, between, body, defaults string) string {
	var s strings.Builder
	s.WriteString("{\niis {\ncertificate wildcard {\nsubjects *.example.com\n}\n" + defaults)
	for id := 1; id <= n; id++ {
		if id > 1 {
			s.WriteString(between)
		}
		own := body
		if strings.Contains(body, "%") {
			own = fmt.Sprintf(body, id)
		}
		fmt.Fprintf(&s, "site %[1]d \"Site %[1]d\" {\nserver_bindings :80:s%[1]d.example.com\nsecure_bindings :443:s%[1]d.example.com\ncertificate wildcard\n%[2]s\n}\n", id, own)
	}
	s.WriteString("}\n}\n")
	return s.String()
}

func benchmarkAdapt(b *testing.B, input string) {
	b.ReportAllocs()
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if _, err := adapt(input); err != nil {
			b.Fatal(err)
		}
	}
}
