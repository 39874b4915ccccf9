package sites

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
)

// WriteStockCaddyfile writes one site block for each site.
func (s *Set) WriteStockCaddyfile(w io.Writer, p Place) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, `{
	admin 127.0.0.1:%d
	auto_https off
	persist_config off
	default_bind 127.0.0.1
	default_sni %s
	storage file_system %s
	servers {
		protocols h1 h2
	}
}
`, p.Admin, DefaultHost, filepath.Join(p.Dir, "storage"))
	for _, site := range s.All() {
		fmt.Fprintf(buf, "https://%s:%d {\n\ttls %s %s\n\trespond \"%s\"\n}\n",
			site.Host, p.Port, site.Cert.CertFile, site.Cert.KeyFile, site.Body())
	}
	return buf.Flush()
}

// WriteIISCaddyfile writes one iis block with a site for each site: with a body
// of its own, or all with defaults.
func (s *Set) WriteIISCaddyfile(w io.Writer, p Place, ownBodies bool) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "{\n\tadmin 127.0.0.1:%d\n\tpersist_config off\n\tiis {\n\t\tlisten 127.0.0.1\n", p.Admin)
	seen := make(map[*Certificate]bool)
	for _, site := range s.All() {
		if !seen[site.Cert] {
			seen[site.Cert] = true
			fmt.Fprintf(buf, "\t\tcertificate %s %s %s\n", site.Cert.Name, site.Cert.CertFile, site.Cert.KeyFile)
		}
	}
	for i, site := range s.All() {
		id := defaultID
		if i > 0 {
			id = SiteID(i - 1)
		}
		fmt.Fprintf(buf, "\t\tsite %d \"%s\" {\n\t\t\tbinding https *:%d:%s {\n", id, site.Name, p.Port, site.Host)
		if site.Cert != s.Default.Cert {
			fmt.Fprintln(buf, "\t\t\t\tsni")
		}
		fmt.Fprintf(buf, "\t\t\t}\n\t\t\tcertificate %s\n", site.Cert.Name)
		if ownBodies {
			fmt.Fprintf(buf, "\t\t\trespond \"%s\"\n", site.Body())
		}
		fmt.Fprintln(buf, "\t\t}")
	}
	if !ownBodies {
		fmt.Fprintln(buf, "\t\tdefaults {\n\t\t\trespond \"site:{iis.site.name}\"\n\t\t}")
	}
	fmt.Fprintln(buf, "\t}\n}")
	return buf.Flush()
}
