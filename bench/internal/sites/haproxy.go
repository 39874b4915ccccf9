package sites

import (
	"bufio"
	"fmt"
	"io"
)

// NoSuchSite is what HAProxy, and the bare Go server, say to unknown hosts.
const NoSuchSite = "no such site"

// WriteHAProxy writes a configuration of HAProxy that uses the files of
// WriteHAProxyCerts and WriteHAProxyMap.
func (s *Set) WriteHAProxy(w io.Writer, p Place, certList, hostMap string) error {
	_, err := fmt.Fprintf(w, `global
  nbthread 1
  maxconn 4096
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  timeout client 30s
  timeout connect 5s
  timeout server 30s
  timeout http-keep-alive 30s
frontend https
  bind %[1]s ssl crt-list %[2]s alpn http/1.1 backlog 4096
  http-request set-var(txn.body) req.hdr(host),lower,field(1,:),map_str(%[3]s)
  http-request return status 200 content-type text/plain lf-string "%%[var(txn.body)]" if { var(txn.body) -m found }
  http-request return status 404 content-type text/plain string "%[4]s"
`, p.Addr(), certList, hostMap, NoSuchSite)
	return err
}

// WriteHAProxyCerts writes the list of certificates, the default first: one
// line for each wildcard, or for each site.
func (s *Set) WriteHAProxyCerts(w io.Writer) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintln(buf, s.Default.Cert.PairFile)
	if s.Kind == Each {
		for _, site := range s.Sites {
			fmt.Fprintf(buf, "%s %s\n", site.Cert.PairFile, site.Host)
		}
		return buf.Flush()
	}
	for _, zone := range s.Zones {
		if zone.Cert != s.Default.Cert {
			fmt.Fprintf(buf, "%s %s\n", zone.Cert.PairFile, zone.Wildcard)
		}
	}
	return buf.Flush()
}

// WriteHAProxyMap writes the map from hosts to answers.
func (s *Set) WriteHAProxyMap(w io.Writer) error {
	buf := bufio.NewWriter(w)
	for _, site := range s.All() {
		fmt.Fprintf(buf, "%s %s\n", site.Host, site.Body())
	}
	return buf.Flush()
}
