package iisconfig

import (
	"fmt"
	"testing"
	"unicode/utf16"
)

// utf16le is what PowerShell's > writes.
func utf16le(s string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

func TestIPListen(t *testing.T) {
	for name, test := range map[string]struct {
		text     string
		want     string
		findings int
	}{
		"english":   {"\r\nIP addresses present in the IP listen list:\r\n-------------------------------------------\r\n\r\n    10.0.0.5\r\n    ::1\r\n\r\n", "[10.0.0.5 ::1]", 0},
		"german":    {"\nIP-Adressen in der IP-Abhörliste:\n---------------------------------\n\n  192.168.1.10\n", "[192.168.1.10]", 0},
		"japanese":  {"\nIP リッスン一覧にある IP アドレス:\n------------------\n\n    fe80::1%4\n", "[fe80::1%4]", 0},
		"prompt":    {"C:\\>netsh http show iplisten\n\nIP addresses present in the IP listen list:\n----\n\n0.0.0.0\n", "[0.0.0.0]", 0},
		"none":      {"\nIP addresses present in the IP listen list:\n-------------------------------------------\n\n", "[]", 0},
		"odd lines": {"IP addresses present in the IP listen list:\n----\n10.0.0.5\n10.0.0\n", "[10.0.0.5]", 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, data := range [][]byte{[]byte(test.text), utf16le(test.text)} {
				s, err := Read([]File{{Name: "a.txt", Data: data}}, Options{})
				if err != nil {
					t.Fatal(err)
				}
				addrs := []string{}
				for _, l := range s.Listen {
					addrs = append(addrs, l.Address.String())
				}
				if got := fmt.Sprint(addrs); got != test.want || !s.ListenRead || s.Inputs[0].Kind != IPListen || len(s.Findings) != test.findings {
					t.Errorf("%s, %v, %v", got, s.Inputs, s.Findings)
				}
			}
		})
	}
	for _, other := range []string{"Readme\n------\n\nThis is a text.\n", "10.0.0.5\n", "a\nb\nc\nd\n----\n", ""} {
		if got := Detect([]byte(other)); got != Unknown {
			t.Errorf("%q is %s", other, got)
		}
	}
}

func TestCleanFolder(t *testing.T) {
	for in, want := range map[string]string{
		`C:\inetpub`: "C:/inetpub", `c:/inetpub/wwwroot//`: "c:/inetpub/wwwroot", `%SystemDrive%\inetpub`: "C:/inetpub", `%SYSTEMDRIVE%/inetpub/`: "C:/inetpub",
		`%windir%\web`: "C:/Windows/web", `%SystemRoot%`: "C:/Windows", `\\?\C:\x`: "C:/x", `\\?\UNC\srv\share\x`: "//srv/share/x", `\\srv\share\`: "//srv/share",
		`E:\`: "E:", `E:`: "E:", `D:\a\.\b\..\c`: "D:/a/c", `%WEBROOT%\x`: "%WEBROOT%/x", ` C:\x `: "C:/x", ``: "", `%`: "%", `%%`: "%%", `/srv/www`: "/srv/www",
	} {
		if got := CleanFolder(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
		if again := CleanFolder(CleanFolder(in)); again != CleanFolder(in) {
			t.Errorf("%q again is %q", in, again)
		}
	}
}

func TestTranslate(t *testing.T) {
	folders := []Folder{{`C:\inetpub`, "/srv/www/"}, {`%SystemDrive%\inetpub\special`, "/special"}, {`E:\`, "/"}}
	for in, want := range map[string]string{
		`c:\INETPUB\main`: "/srv/www/main", `%SystemDrive%\inetpub`: "/srv/www", `\\?\C:\inetpub\Special\x`: "/special/x", `E:\`: "/", `E:\x`: "/x",
	} {
		if got, ok := Translate(folders, in); !ok || got != want {
			t.Errorf("%s: %s, %t", in, got, ok)
		}
	}
	for in, want := range map[string]string{`C:\inetpub2\x`: "C:/inetpub2/x", `D:\x`: "D:/x"} {
		if got, ok := Translate(folders, in); ok || got != want {
			t.Errorf("%s: %s, %t", in, got, ok)
		}
	}
}

// TestSeveralCopies: the web.config of one path may be in several files.
func TestSeveralCopies(t *testing.T) {
	browse := func(on string) string { return inWeb(`<directoryBrowse enabled="` + on + `"/>`) }
	files := map[string]string{
		"export/applicationHost.config":    tenantServer,
		"export/web/a/web.config":          browse("true"),
		"export/old/web/a/web.config":      browse("false"),
		"export/older/x/web/a/web.config":  browse("true"),
		"srv/a/web.config":                 browse("false"),
		"srv/a/sub/web.config":             browse("false"),
		"srv/a/sub/applicationHost.config": `<sites><site name="Evil" id="9"/></sites>`,
	}
	s, err := ReadFS(mapFS(files), Options{Folders: []Folder{{`C:\web`, "srv"}}, WebConfigs: []string{"srv"}}, "export")
	if err != nil {
		t.Fatal(err)
	}
	a := s.SiteByName("A")
	if !a.At("/").DirectoryBrowse.Enabled || a.At("/sub").DirectoryBrowse.Enabled || a.At("/").Faults != nil || len(s.Sites) != 2 {
		t.Errorf("%+v, %+v", a.At("/"), a.At("/sub"))
	}
	conflicts := 0
	for _, f := range s.Findings {
		if f.Code == CodeConflict {
			conflicts++
		}
	}
	if conflicts != 2 {
		t.Errorf("findings: %v", s.Findings)
	}
}
