package sites

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// WriteHosts writes the sites as lines of host, name, fingerprint, certificate
// file and key file, with tabs between them. The default site comes first.
func (s *Set) WriteHosts(w io.Writer) error {
	buf := bufio.NewWriter(w)
	for _, site := range s.All() {
		fmt.Fprintf(buf, "%s\t%s\t%x\t%s\t%s\n", site.Host, site.Name, site.Cert.Leaf, site.Cert.CertFile, site.Cert.KeyFile)
	}
	return buf.Flush()
}

// ReadHosts reads what WriteHosts wrote. Sites with the same certificate file
// share the Certificate.
func ReadHosts(r io.Reader) (*Set, error) {
	certs := make(map[string]*Certificate)
	var all []Site
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		site, err := parseHost(lines.Text(), certs)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, site)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(all) < 2 {
		return nil, errors.New("expected the default site and at least one other")
	}
	return &Set{Default: all[0], Sites: all[1:]}, nil
}

func parseHost(line string, certs map[string]*Certificate) (Site, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 5 {
		return Site{}, fmt.Errorf("%d fields, not 5", len(fields))
	}
	cert := certs[fields[3]]
	if cert == nil {
		cert = &Certificate{CertFile: fields[3], KeyFile: fields[4]}
		n, err := hex.Decode(cert.Leaf[:], []byte(fields[2]))
		if err != nil || n != len(cert.Leaf) {
			return Site{}, fmt.Errorf("fingerprint %q is not 64 hexadecimal digits", fields[2])
		}
		certs[fields[3]] = cert
	}
	return Site{Host: fields[0], Name: fields[1], Cert: cert}, nil
}
