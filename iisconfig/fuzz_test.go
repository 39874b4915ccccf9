package iisconfig

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// fuzzOptions are small, so that the bounds are met too.
var fuzzOptions = Options{MaxBytes: 1 << 20, MaxElements: 2000, MaxDepth: 16, MaxToken: 4096, MaxFindings: 50}

// seed adds the test data of the kinds as examples.
func seed(f *testing.F, kinds ...Kind) {
	f.Helper()
	for _, pattern := range []string{"testdata/*/*", "testdata/*/*/*/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // a folder
			}
			kind := Detect(data)
			for _, k := range kinds {
				if k == kind {
					f.Add(data)
				}
			}
		}
	}
}

// check fails if a reading that succeeds leaves a model that does not hold together.
func check(t *testing.T, s *Server) {
	for _, site := range s.Sites {
		for _, b := range site.Bindings {
			if b.HTTP != (b.Parsed != nil || b.Problem != "") {
				t.Errorf("binding %+v", *b)
			}
			if b.Record != nil && b.Record.Bindings == 0 {
				t.Errorf("record %+v", *b.Record)
			}
			if b.Source.File == "" || b.Source.Line == 0 {
				t.Errorf("binding %s %s has no source", b.Protocol, b.Information)
			}
		}
		for _, c := range site.Configured {
			if site.At(c.Path) == nil {
				t.Errorf("%s has no settings", c.Path)
			}
		}
		if site.Source.Line == 0 {
			t.Errorf("site %d has no source", site.ID)
		}
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
}

// fuzzKind reads any input as the kind, whatever it looks like.
func fuzzKind(f *testing.F, kinds ...Kind) {
	seed(f, kinds...)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range kinds {
			it := item{name: "site1.txt", kind: kind, read: func() ([]byte, error) { return data, nil }}
			s, err := read([]item{it}, fuzzOptions.withDefaults())
			if err == nil {
				check(t, s)
			}
		}
	})
}

func FuzzApplicationHost(f *testing.F) { fuzzKind(f, ApplicationHost, Redirection) }
func FuzzMetabase(f *testing.F)        { fuzzKind(f, Metabase) }
func FuzzNetsh(f *testing.F)           { fuzzKind(f, Netsh) }
func FuzzAppcmd(f *testing.F)          { fuzzKind(f, Appcmd) }
func FuzzAdsutil(f *testing.F)         { fuzzKind(f, Adsutil) }
func FuzzRegistry(f *testing.F)        { fuzzKind(f, Registry) }
func FuzzIPListen(f *testing.F)        { fuzzKind(f, IPListen) }

// FuzzWebConfig reads a web.config beside a configuration whose site has its folder.
func FuzzWebConfig(f *testing.F) {
	seed(f, WebConfig)
	host := []byte(`<configuration><configSections><sectionGroup name="system.webServer"><section name="handlers" overrideModeDefault="Deny"/></sectionGroup></configSections>
<system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web"/></application>
<application path="/app"><virtualDirectory path="/" physicalPath="C:\app"/></application></site></sites></system.applicationHost></configuration>`)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read([]File{{Name: "a.config", Data: host}, {Name: `C:\web\web.config`, Data: data}, {Name: "web/maps.config", Data: data}}, fuzzOptions)
		if err == nil {
			check(t, s)
		}
	})
}

// FuzzDetect recognises anything, and reads it as what it is.
func FuzzDetect(f *testing.F) {
	seed(f, Unknown, ApplicationHost, Metabase, Redirection, Appcmd, Adsutil, Netsh, Registry, PEM, WebConfig)
	f.Add([]byte{0x30, 0x80, 2, 1, 3, 0x30, 0x80, 0})
	f.Add([]byte{0x30, 0x82, 1, 2, 0x30, 0x82, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		kind := Detect(data)
		s, err := Read([]File{{Name: "x1", Data: data}}, fuzzOptions)
		if err != nil {
			return
		}
		check(t, s)
		if len(s.Inputs) == 1 && s.Inputs[0].Kind != kind {
			t.Errorf("read as %s, recognised as %s", s.Inputs[0].Kind, kind)
		}
	})
}

// FuzzTenant gives the folder of one site any web.config: nothing else changes, and
// reading does not fail.
func FuzzTenant(f *testing.F) {
	seed(f, ApplicationHost, Metabase, Redirection, Appcmd, Adsutil, Netsh, Registry, PEM, WebConfig)
	for _, c := range tenants {
		f.Add([]byte(c.text))
	}
	host := File{Name: "applicationHost.config", Data: []byte(tenantServer)}
	opts := Options{MaxBytes: 1 << 16, MaxElements: 2000, MaxDepth: 16, MaxToken: 4096, MaxFindings: 50}
	without, err := Read([]File{host}, opts)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read([]File{host, {Name: "web/a/sub/web.config", Data: data}}, opts)
		if err != nil {
			t.Fatal(err)
		}
		check(t, s)
		same := len(s.Sites) == 2 && len(s.ApplicationPools)+len(s.WebFarms)+len(s.Certificates)+len(s.CertificateFiles)+len(s.Listen) == 0 &&
			s.CentralStore == nil && reflect.DeepEqual(s.Settings, without.Settings) && s.Sites[1].Configured == nil &&
			reflect.DeepEqual(s.Sites[0].At("/"), without.Sites[0].At("/")) && reflect.DeepEqual(s.Sites[0].At("/other"), without.Sites[0].At("/other"))
		if !same {
			t.Errorf("something else has changed: %+v", s)
		}
	})
}

// FuzzCleanFolder: the form is one form, and a folder is in itself.
func FuzzCleanFolder(f *testing.F) {
	for _, s := range []string{`C:\inetpub\wwwroot`, `%SystemDrive%\x\`, `\\?\UNC\a\b`, `//?/C:/x`, `E:\`, `..\x`, `\\`, `/`, ` %windir%`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := CleanFolder(s)
		if again := CleanFolder(clean); again != clean {
			t.Errorf("%q is %q, then %q", s, clean, again)
		}
		if rest, ok := FolderBelow(clean, clean); clean != "" && (!ok || rest != "") {
			t.Errorf("%q is not in itself", clean)
		}
	})
}
