package iisconfig

import (
	"fmt"
	"strings"
	"testing"
)

// largeServer is an applicationHost.config of so many sites, the output of netsh for
// them, and a web.config for every tenth.
func largeServer(sites int) []File {
	var host, netsh strings.Builder
	host.WriteString("<configuration>\n<system.applicationHost>\n<sites>\n")
	netsh.WriteString("SSL Certificate bindings:\n-------------------------\n")
	var files []File
	for i := 1; i <= sites; i++ {
		fmt.Fprintf(&host, `    <site name="Site %[1]d" id="%[1]d">
        <application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\site%[1]d" /></application>
        <bindings>
            <binding protocol="http" bindingInformation="*:80:www%[1]d.example.com" />
            <binding protocol="https" bindingInformation="*:443:www%[1]d.example.com" sslFlags="1" />
        </bindings>
    </site>
`, i)
		fmt.Fprintf(&netsh, "\n    Hostname:port                : www%d.example.com:443\n    Certificate Hash             : %040x\n"+
			"    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n"+
			"    Negotiate Client Certificate : Disabled\n", i, i)
		if i%10 == 0 {
			files = append(files, File{Name: fmt.Sprintf("inetpub/site%d/web.config", i), Data: []byte(
				`<configuration><system.webServer><defaultDocument><files><add value="start.html"/></files></defaultDocument></system.webServer></configuration>`)})
		}
	}
	host.WriteString("</sites>\n</system.applicationHost>\n<system.webServer>\n<staticContent>\n")
	for i := range 380 {
		fmt.Fprintf(&host, "<mimeMap fileExtension=\".x%d\" mimeType=\"application/x%d\" />\n", i, i)
	}
	host.WriteString("</staticContent>\n</system.webServer>\n</configuration>\n")
	return append(files, File{Name: "applicationHost.config", Data: []byte(host.String())}, File{Name: "netsh.txt", Data: []byte(netsh.String())})
}

func TestLargeServer(t *testing.T) {
	s, err := Read(largeServer(1000), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Sites) != 1000 || len(s.Certificates) != 1000 {
		t.Fatalf("%d sites, %d records", len(s.Sites), len(s.Certificates))
	}
	for _, site := range s.Sites {
		if site.Bindings[1].Record == nil || site.Bindings[1].CertificateHash == "" {
			t.Fatalf("site %d has no certificate", site.ID)
		}
		if n := len(site.At("/x").StaticContent.MIMEMaps); n != 380 {
			t.Fatalf("site %d has %d MIME maps", site.ID, n)
		}
		if want := site.ID%10 == 0; (site.At("/").DefaultDocument != nil) != want {
			t.Fatalf("site %d: default document is there: %t", site.ID, !want)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, sites := range []int{1000, 10_000} {
		files := largeServer(sites)
		var size int64
		for _, f := range files {
			size += int64(len(f.Data))
		}
		b.Run(fmt.Sprintf("sites=%d", sites), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(files, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
