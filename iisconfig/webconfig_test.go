package iisconfig

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const twoSites = `<sites>
 <site name="A" id="1">
  <application path="/">
   <virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />
   <virtualDirectory path="/img" physicalPath="\\files\share\pictures\" />
  </application>
  <application path="/shop"><virtualDirectory path="/" physicalPath="D:\web\Shop" allowSubDirConfig="false" /></application>
 </site>
 <site name="B" id="2">
  <application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\wwwroot\b" /></application>
 </site>
 <site name="C" id="3">
  <application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\wwwroot\b" /></application>
 </site>
 <site name="D" id="4">
  <application path="/"><virtualDirectory path="/" physicalPath="E:\" /></application>
 </site>
</sites>`

// TestPlaces asks to which paths a web.config belongs.
func TestPlaces(t *testing.T) {
	const content = `<configuration><system.webServer><directoryBrowse enabled="true"/></system.webServer></configuration>`
	for _, test := range []struct {
		file    string
		folders []Folder
		want    []string
	}{
		{`C:\inetpub\wwwroot\web.config`, nil, []string{"A"}},
		{"export/InetPub/WWWRoot/Web.config", nil, []string{"A"}},
		{"inetpub/wwwroot/Some/deep/web.config", nil, []string{"A/Some/deep"}},
		{"inetpub/wwwroot/b/web.config", nil, []string{"A/b", "B", "C"}},
		{"inetpub/wwwroot/b/x/web.config", nil, []string{"A/b/x", "B/x", "C/x"}},
		{"backup/inetpub/wwwroot/inetpub/wwwroot/web.config", nil, []string{"A/inetpub/wwwroot"}},
		{"web/shop/inetpub/wwwroot/web.config", nil, nil}, // allowSubDirConfig: it is not that of A,
		{"share/pictures/web.config", nil, []string{"A/img"}},
		{"web/shop/web.config", nil, []string{"A/shop"}},
		{"web/shop/sub/web.config", nil, nil}, // allowSubDirConfig
		{"elsewhere/web.config", nil, nil},
		{"web.config", nil, nil},
		{"srv/one/web.config", []Folder{{`C:\inetpub`, "/srv"}, {`%systemdrive%\inetpub\wwwroot`, "srv/one"}}, []string{"A"}},
		{"srv/wwwroot/b/web.config", []Folder{{`c:\InetPub\`, "srv"}, {`C:\inet`, "nowhere"}}, []string{"A/b", "B", "C"}},
		{"copy/b/web.config", []Folder{{`\\?\C:/INETPUB/./wwwroot/`, "copy"}}, []string{"A/b", "B", "C"}},
		{"copy/x/web.config", []Folder{{`\\files\share`, "other"}, {`D:\web\shop`, "copy/x"}}, []string{"A/shop"}},
		{"copy/pictures/web.config", []Folder{{`\\?\UNC\FILES\share`, "copy"}}, []string{"A/img"}},
		{"copy/inetpub/wwwroot/web.config", []Folder{{`D:\x`, "copy"}}, nil}, // it is a copy of another folder
		{"inetpub/wwwroot/img/web.config", nil, nil},                         // the virtual directory /img has it
		{"inetpub/wwwroot/shop/web.config", nil, nil},
		{"web.config", []Folder{{`E:\`, "."}}, []string{"D"}},
		{"sub/web.config", []Folder{{`E:\`, ""}}, []string{"D/sub"}},
	} {
		s, err := Read([]File{{Name: test.file, Data: []byte(content)}, {Name: "sites.config", Data: []byte(twoSites)}}, Options{Folders: test.folders})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, site := range s.Sites {
			for _, c := range site.Configured {
				if c.Sections[0].Name == "web.config" {
					continue // it says nothing there
				}
				got = append(got, joinScope(site.Name, c.Path))
				if !site.At(c.Path).DirectoryBrowse.Enabled {
					t.Errorf("%s: no browsing at %s", test.file, c.Path)
				}
				if c.Sections[0].Source.Scope != joinScope(site.Name, c.Path) {
					t.Errorf("%s: the scope of %s is %s", test.file, c.Path, c.Sections[0].Source.Scope)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s belongs to %q, want %q", test.file, got, test.want)
		}
		noSite := slices.ContainsFunc(s.Findings, func(f Finding) bool { return f.Code == CodeNoSite })
		if noSite != (test.want == nil && !strings.HasPrefix(test.file, "web/shop/")) {
			t.Errorf("%s: findings %v", test.file, s.Findings)
		}
	}
}

// TestNoSubConfig: where IIS does not read the web.config files below a folder, they set
// nothing but what .NET reads of them by itself.
func TestNoSubConfig(t *testing.T) {
	const (
		ofIIS  = `<system.webServer><directoryBrowse enabled="true"/><odd /></system.webServer>`
		ofNET  = `<system.web><authorization><deny users="?" /></authorization></system.web>`
		inside = `<location path="in">` + ofIIS + ofNET + `</location>`
	)
	for file, want := range map[string]string{
		"web/shop/web.config":     "/shop true false, /shop/in true true",
		"web/shop/sub/web.config": "/shop/sub false false, /shop/sub/in false true",
	} {
		s, err := Read([]File{{Name: "sites.config", Data: []byte(twoSites)}, {Name: file, Data: []byte("<configuration>" + ofIIS + inside + "</configuration>")}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range s.Sites[0].Configured {
			at := s.Sites[0].At(c.Path)
			got = append(got, fmt.Sprintf("%s %t %t", c.Path, at.DirectoryBrowse != nil, at.Managed != nil))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
		told := slices.ContainsFunc(s.Findings, func(f Finding) bool {
			return f.Code == CodeIgnored && f.Source.File == file && f.Source.Scope == "A/shop/sub" && strings.Contains(f.Message, "allowSubDirConfig")
		})
		odd := slices.ContainsFunc(s.Findings, func(f Finding) bool { return strings.Contains(f.Message, "odd") })
		if told != (file == "web/shop/sub/web.config") || odd == told {
			t.Errorf("%s: findings %v", file, s.Findings)
		}
	}
}

// TestNoSubConfigInAnotherCase: in such a file IIS does not even see names in another case.
func TestNoSubConfigInAnotherCase(t *testing.T) {
	for file, want := range map[string]bool{"web/shop/web.config": true, "web/shop/sub/web.config": false} {
		s, err := Read([]File{{Name: "sites.config", Data: []byte(twoSites)}, {Name: file, Data: []byte(`<configuration><System.webServer /></configuration>`)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if faults := s.Sites[0].At("/shop/sub").Faults; (faults != nil) != want {
			t.Errorf("%s: %v", file, faults)
		}
	}
}

func TestOtherConfigFiles(t *testing.T) {
	const content = `<configuration><system.webServer><directoryBrowse enabled="true"/></system.webServer></configuration>`
	fsys := mapFS(map[string]string{
		"applicationHost.config":                                              twoSites,
		"inetpub/wwwroot/Web.Release.config":                                  content,
		"inetpub/wwwroot/bin/app.dll.config":                                  content,
		"inetpub/wwwroot/site.xml":                                            "<site><title/></site>",
		"inetpub/wwwroot/sites.xml":                                           "<sites><place/></sites>",
		"inetpub/history/CFGHISTORY_0000000007/applicationHost.config":        `<sites><site name="old" id="9"/></sites>`,
		"Windows/System32/inetsrv/backup/monday/applicationHost.config":       `<sites><site name="old" id="9"/></sites>`,
		"Windows/System32/inetsrv/History/MetaBase_0000000769_0000000000.xml": `<MBProperty><IIsWebServer Location="/LM/W3SVC/9"/></MBProperty>`,
	})
	s, err := ReadDir(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Sites) != 4 || s.Sites[0].Configured != nil {
		t.Errorf("%d sites, configured: %v", len(s.Sites), s.Sites[0].Configured)
	}
	if len(s.Findings) != 4 {
		t.Errorf("findings: %v", s.Findings)
	}
}
