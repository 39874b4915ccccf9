package iisconfig

import (
	"slices"
	"strings"
	"testing"
)

const metabaseOfA = `<configuration><MBProperty>%INFO%
<IIsWebServer Location="/LM/W3SVC/1" ServerComment="A" ServerBindings=":80:"/>
<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\web\a" AccessFlags="AccessRead"/>
<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/sub" AuthFlags="AuthNTLM"/></MBProperty></configuration>`

const adsutilOfA = `KeyType : (STRING) "IIsWebServer"
[/w3svc/1]
ServerComment : (STRING) "A"
[/w3svc/1/root]
Path : (STRING) "C:\web\a"
[/w3svc/1/root/sub]
AuthFlags : (INTEGER) 4
`

// TestWebConfigsOfIIS6: IIS 6 reads no system.webServer. A web.config opens nothing there,
// and closes nothing; what .NET reads of it counts.
func TestWebConfigsOfIIS6(t *testing.T) {
	const (
		opens  = `<security><authentication><anonymousAuthentication enabled="true"/></authentication></security><directoryBrowse enabled="true"/>`
		closes = `<security><ipSecurity allowUnlisted="false"/></security><rewrite><rules><clear/></rules></rewrite><handlers><clear/></handlers>`
		ofNET  = `<configuration><system.web><customErrors mode="Off"/></system.web></configuration>`
	)
	version := func(n string) string { return "[/w3svc/info]\nMajorIIsVersionNumber : (INTEGER) " + n + "\n" }
	for name, c := range map[string]struct {
		file, text string
		reads      bool // system.webServer
		unsure     bool
	}{
		"MetaBase.xml":       {"MetaBase.xml", strings.ReplaceAll(metabaseOfA, "%INFO%", ""), false, false},
		"adsutil of IIS 6":   {"w3svc.txt", adsutilOfA + version("6"), false, false},
		"adsutil of IIS 5":   {"w3svc.txt", adsutilOfA + version("5"), false, false},
		"adsutil of IIS 10":  {"w3svc.txt", adsutilOfA + version("10"), true, false},
		"adsutil of any IIS": {"w3svc.txt", adsutilOfA, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(web string) (*Server, *Settings) {
				t.Helper()
				s, err := ReadDir(mapFS(map[string]string{c.file: c.text, "web/a/sub/deep/web.config": web}), Options{})
				if err != nil {
					t.Fatal(err)
				}
				if len(s.Sites) != 1 {
					t.Fatalf("%d sites: %v", len(s.Sites), s.Findings)
				}
				return s, s.Sites[0].At("/sub/deep")
			}
			s, set := at(inWeb(opens))
			if got := set.DirectoryBrowse != nil; got != c.reads {
				t.Errorf("directoryBrowse is read: %v, want %v", got, c.reads)
			}
			if guards := set.Authentication; !c.reads && slices.ContainsFunc(guards, func(a Authentication) bool { return a.Method == "anonymous" && a.Enabled }) {
				t.Errorf("anonymous requests are let in: %+v", guards)
			}
			told := slices.ContainsFunc(s.Findings, func(f Finding) bool { return strings.Contains(f.Message, "IIS 6 leaves it to .NET") })
			if told == c.reads {
				t.Errorf("that it is not read is told: %v; %v", told, s.Findings)
			}
			_, set = at(inWeb(closes))
			if got := len(set.Unknown) == 3; got != c.unsure {
				t.Errorf("what may protect is not known: %v, want %v: %v", got, c.unsure, set.Unknown)
			}
			if got := set.IPSecurity != nil && set.IPSecurity.DenyUnlisted; got != c.reads {
				t.Errorf("ipSecurity is read: %v, want %v", got, c.reads)
			}
			if _, set = at(ofNET); len(set.Managed) != 1 || set.Unknown != nil {
				t.Errorf("what .NET reads: %v, %v", set.Managed, set.Unknown)
			}
			if _, set = at("<configuration"); len(set.Faults) != 1 {
				t.Errorf("a file that is not well-formed: %v", set.Faults)
			}
		})
	}
}

// TestFoldersOfAdsutil: what adsutil prints of a folder is not taken for its site's, whatever
// number the name of the file has.
func TestFoldersOfAdsutil(t *testing.T) {
	for keyType, want := range map[string]bool{"IIsWebDirectory": false, "IIsWebVirtualDir": false, "IIsWebFile": false, "IIsWebServer": true, "": true} {
		text := "EnableDirBrowsing : (BOOLEAN) True\nMimeMap : (LIST) (1 Items)\n  \".mdbx,a/b\"\n"
		if keyType != "" {
			text = "KeyType : (STRING) \"" + keyType + "\"\n" + text
		}
		s, err := ReadDir(mapFS(map[string]string{"w3svc.txt": adsutilOfA, "w3svc-1.txt": text}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Sites[0].At("/").StaticContent != nil; got != want {
			t.Errorf("%q: taken for the site: %v, want %v", keyType, got, want)
		}
		told := slices.ContainsFunc(s.Findings, func(f Finding) bool {
			return f.Code == CodeNoSite && strings.Contains(f.Message, "does not say which node")
		})
		if told == want {
			t.Errorf("%q: told: %v; %v", keyType, told, s.Findings)
		}
	}
}
