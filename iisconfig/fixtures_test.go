package iisconfig

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

type counts = map[string]int

var fixtureTests = []struct {
	file      string
	kind      Kind
	sites     int
	protocols counts
}{
	{"applicationhost/jexus-original2.config", ApplicationHost, 12, counts{"http": 13, "https": 3, "net.tcp": 2, "net.msmq": 2, "msmq.formatname": 2, "net.pipe": 2, "ftp": 2}},
	{"applicationhost/jexus-original.config", ApplicationHost, 12, counts{"http": 12, "https": 1}},
	{"applicationhost/jexus-ls-minimal.config", ApplicationHost, 1, counts{"http": 1}},
	{"applicationhost/mattgillard-reverse-proxy.config", ApplicationHost, 1, counts{"http": 1, "https": 1}},
	{"applicationhost/MarkKharitonov-bom.config", ApplicationHost, 3, counts{"http": 3}},
	{"applicationhost/IdentityManager.config", ApplicationHost, 2, counts{"http": 2, "https": 1}},
	{"applicationhost/Carbon-Server2012R2-default.config", ApplicationHost, 1, counts{"http": 1}},
	{"applicationhost/aspnet-iis-template.config", ApplicationHost, 1, counts{"http": 1}},
	{"applicationhost/SignalR-nosites.config", ApplicationHost, 0, counts{}},
	{"applicationhost/SignalR-tests.config", ApplicationHost, 1, counts{"http": 1}},
	{"applicationhost/kudu-scm.xdt", ApplicationHost, 1, counts{}},
	{"applicationhost/xd7director.config", ApplicationHost, 1, counts{"http": 1}},
	{"metabase/modSIC-metabaseSample.xml", Metabase, 1, counts{"http": 1}},
	{"metabase/modSIC-metabaseSampleWithIncompleteSessions.xml", Metabase, 1, counts{"http": 1}},
	{"metabase/excerpt-modsic-singlequotes.xml", Metabase, 1, counts{"http": 1}},
	{"netsh/appcmd-list-sites-iisdocs-uppercaseHTTP.txt", Appcmd, 3, counts{"http": 3}},
	{"netsh/appcmd-list-site-iisdocs-one.txt", Appcmd, 1, counts{"http": 1}},
	{"netsh/appcmd-add-site-iisdocs.txt", Appcmd, 0, counts{}},
	{"netsh/sslcert-iisdocs-win2008-unindented.txt", Netsh, 0, counts{}},
	{"netsh/sslcert-adfstoolbox-test-lowercase-ipport.txt", Netsh, 0, counts{}},

	{"applicationhost/iis-docs-snippets/configuration_system.applicationHost_index__sample1.xml", ApplicationHost, 1, counts{"http": 1}},
	{"applicationhost/iis-docs-snippets/configuration_system.applicationHost_sites_site_bindings_binding__sample1.xml", ApplicationHost, 1, counts{"http": 1, "https": 1}},
	{"applicationhost/iis-docs-snippets/get-started_whats-new-in-iis-10-version-1709_iis-10-version-1709-hsts__sample-hsts-subdomain.xml", ApplicationHost, 2, counts{"http": 2, "https": 2}},
	{"applicationhost/iis-docs-snippets/get-started_whats-new-in-iis-10-version-1709_iis-10-version-1709-hsts__sample-httpredirect-two-sites.xml", ApplicationHost, 2, counts{"http": 1, "https": 1}},
	{"applicationhost/iis-docs-snippets/get-started_whats-new-in-iis-10_running-aspnet-core-with-iis-on-nano-server__sample9.xml", ApplicationHost, 2, counts{"http": 2}},
}

func readFixture(t *testing.T, name string) (*Server, error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(needs.Fixtures(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return Read([]File{{Name: filepath.Base(name), Data: data}}, Options{})
}

func TestFixtures(t *testing.T) {
	needs.Fixtures(t)
	for _, test := range fixtureTests {
		t.Run(filepath.Base(test.file), func(t *testing.T) {
			s, err := readFixture(t, test.file)
			if err != nil {
				t.Fatal(err)
			}
			if s.Inputs[0].Kind != test.kind {
				t.Errorf("kind %s, want %s", s.Inputs[0].Kind, test.kind)
			}
			if len(s.Sites) != test.sites {
				t.Errorf("%d sites, want %d", len(s.Sites), test.sites)
			}
			if got := s.Protocols(); !maps.Equal(got, test.protocols) {
				t.Errorf("bindings %v, want %v", got, test.protocols)
			}
		})
	}
}

// TestFixtureSnippets reads every snippet of the documentation: each has one site at
// least.
func TestFixtureSnippets(t *testing.T) {
	fixtures := needs.Fixtures(t)
	files, err := filepath.Glob(filepath.Join(fixtures, "applicationhost", "iis-docs-snippets", "*.xml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no snippets:", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := readFixture(t, strings.TrimPrefix(filepath.ToSlash(file), filepath.ToSlash(fixtures)))
			if strings.Contains(file, "sample99") { // it ends in the middle
				var e *Error
				if !errors.As(err, &e) || e.Line != 3 {
					t.Fatalf("got %v, want an error on line 3", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Sites) == 0 || len(s.Protocols()) == 0 {
				t.Errorf("%d sites, bindings %v", len(s.Sites), s.Protocols())
			}
		})
	}
}

func TestFixtureMalformed(t *testing.T) {
	_, err := readFixture(t, "applicationhost/jexus-original2_missing_closing.config")
	if want := "jexus-original2_missing_closing.config:1134: not well-formed: unexpected EOF"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFixtureNetsh(t *testing.T) {
	s, err := readFixture(t, "netsh/sslcert-adfstoolbox-test-lowercase-ipport.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Certificates) != 2 {
		t.Fatalf("%d records, want 2", len(s.Certificates))
	}
	for i, want := range []CertificateRecord{
		{Kind: RecordHostnamePort, Key: "sts.aadtesting.info:443", CTLStoreName: "AdfsTrustedDevices"},
		{Kind: RecordIPPort, Key: "0.0.0.0:443", CTLStoreName: "AdfsTrustedDevices"},
	} {
		got := s.Certificates[i]
		if got.Kind != want.Kind || got.Key != want.Key || got.CTLStoreName != want.CTLStoreName ||
			got.Hash != "be22839cfff71bab0b118b69b0c8a2e33f02f04d" || got.StoreName != "MY" {
			t.Errorf("record %d is %+v", i, *got)
		}
		if got.NegotiateClientCert == nil || *got.NegotiateClientCert || got.DisableHTTP2 != nil {
			t.Errorf("record %d: flags %v %v", i, got.NegotiateClientCert, got.DisableHTTP2)
		}
	}
}

func TestFixturePFX(t *testing.T) {
	fixtures := needs.Fixtures(t)
	files, err := filepath.Glob(filepath.Join(fixtures, "pfx", "*.p*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no certificates:", err)
	}
	s, err := ReadDir(os.DirFS(filepath.Join(fixtures, "pfx")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.CertificateFiles) != len(files) {
		t.Errorf("%d files recognised of %d", len(s.CertificateFiles), len(files))
	}
	for _, f := range s.CertificateFiles {
		if f.Kind != PFX || f.Size == 0 {
			t.Errorf("%s: %s, %d bytes", f.Name, f.Kind, f.Size)
		}
	}
}

// TestFixturesAreUnderstood reads servers that IIS runs: nothing in what protects their
// sites is unknown, and nothing is a fault.
func TestFixturesAreUnderstood(t *testing.T) {
	fixtures := needs.Fixtures(t)
	files, err := filepath.Glob(filepath.Join(fixtures, "*", "*.config"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files:", err)
	}
	for _, file := range files {
		name := strings.TrimPrefix(filepath.ToSlash(file), filepath.ToSlash(fixtures))
		if strings.Contains(name, "missing_closing") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		inputs := []File{{Name: "web/a/" + filepath.Base(name), Data: data}}
		if strings.HasSuffix(name, "web.config") {
			inputs[0].Name = "web/a/web.config"
			inputs = append(inputs, File{Name: "x", Data: []byte(`<sites><site name="A" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\a"/></application></site></sites>`)})
		}
		s, err := Read(inputs, Options{})
		if err != nil {
			t.Fatal(err)
		}
		all := effective(s)
		if s.Settings != nil {
			all["the server"] = s.Settings
		}
		for path, set := range all {
			if set.Unknown != nil || set.Faults != nil {
				t.Errorf("%s, %s: unknown %+v, faults %+v", name, path, set.Unknown, set.Faults)
			}
			if set.Rewrite == nil {
				continue
			}
			for _, r := range slices.Concat(set.Rewrite.Rules, set.Rewrite.GlobalRules, set.Rewrite.OutboundRules) {
				if r.Unknown != nil {
					t.Errorf("%s, %s: the rule %s has %+v", name, path, r.Name, r.Unknown)
				}
			}
		}
	}
}
