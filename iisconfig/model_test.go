package iisconfig

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

func mapFS(files map[string]string) fs.FS {
	out := make(fstest.MapFS)
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func TestNeedsWorker(t *testing.T) {
	for _, test := range []struct {
		handler Handler
		want    bool
	}{
		{Handler{Modules: "StaticFileModule, DefaultDocumentModule,DirectoryListingModule"}, false},
		{Handler{Modules: "ProtocolSupportModule"}, false},
		{Handler{Modules: "IsapiModule", ScriptProcessor: `C:\x.dll`}, true},
		{Handler{Modules: "StaticFileModule", Type: "X"}, true},
		{Handler{Modules: "AspNetCoreModuleV2"}, true},
		{Handler{}, true},
	} {
		if got := test.handler.NeedsWorker(); got != test.want {
			t.Errorf("%+v: %t", test.handler, got)
		}
	}
}

func TestAccessFlags(t *testing.T) {
	for text, want := range map[string]AccessFlags{
		"": 0, "None": 0, "ssl": AccessSSL, "Ssl,Ssl128": AccessSSL | AccessSSL128, "0x68": AccessSSL | AccessNegotiateCert | AccessRequireCert,
		" Ssl , SslMapCert ": AccessSSL | AccessMapCert, "8": AccessSSL,
	} {
		s, err := Read([]File{{Name: "a", Data: []byte(`<configuration><system.applicationHost/><system.webServer><security><access sslFlags="` + text + `"/></security></system.webServer></configuration>`)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Settings.Access.SSLFlags; got != want || len(s.Findings) != 0 {
			t.Errorf("%q is %s, want %s; %v", text, got, want, s.Findings)
		}
	}
	if s := (AccessSSL | AccessRequireCert).String(); s != "Ssl, SslRequireCert" {
		t.Error(s)
	}
}

// TestAtWithoutSettings asks a site that has none.
func TestAtWithoutSettings(t *testing.T) {
	s, err := Read([]File{{Name: "a", Data: []byte(twoSites)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Settings != nil {
		t.Error("the server has settings")
	}
	if got := s.SiteByName("a").At("/x/y"); got == nil || got.DefaultDocument != nil {
		t.Errorf("got %v", got)
	}
	if s.SiteByName("?") != nil || new(Site).At("/") == nil {
		t.Error("nil expected and not")
	}
}

func TestStrings(t *testing.T) {
	if s := (Finding{Message: "m", Fix: "f"}).String(); s != "error: m; f" {
		t.Error(s)
	}
	if s := (Finding{Message: "m", Source: Source{File: "a", Line: 2}}).String(); s != "a:2: error: m" {
		t.Error(s)
	}
	if s := Kind(99).String() + " " + Netsh.String(); s != "unknown netsh output" {
		t.Error(s)
	}
	cause := errors.New("cause")
	if err := (&Error{File: "a", Err: cause}); err.Error() != "a: cause" || !errors.Is(err, cause) {
		t.Error(err)
	}
}

func TestNormalHash(t *testing.T) {
	const want = "0123456789abcdef0123456789abcdef01234567"
	for _, s := range []string{
		want, "0123456789ABCDEF0123456789ABCDEF01234567",
		"\u200e01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef 01 23 45 67",
		"01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67",
	} {
		if got, ok := normalHash(s); !ok || got != want {
			t.Errorf("%q: %q %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "0123", want + "0", "x123456789abcdef0123456789abcdef01234567"} {
		if got, ok := normalHash(s); ok {
			t.Errorf("%q is taken for %q", s, got)
		}
	}
}
