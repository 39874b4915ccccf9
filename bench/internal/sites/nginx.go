package sites

import (
	"bufio"
	"fmt"
	"io"
)

// WriteNginx writes a configuration of nginx: one server block for each site.
func (s *Set) WriteNginx(w io.Writer, p Place) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, `user root;
worker_processes 1;
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  server_names_hash_bucket_size 128;
  server_names_hash_max_size %[2]d;
  ssl_protocols TLSv1.3;
  ssl_session_cache off;
  ssl_session_tickets off;
`, p.Dir, max(512, 4*len(s.Sites)))
	for i, site := range s.All() {
		flags := ""
		if i == 0 {
			flags = " default_server backlog=4096"
		}
		fmt.Fprintf(buf, "  server { listen %s ssl%s; server_name %s; ssl_certificate %s; ssl_certificate_key %s; return 200 \"%s\"; }\n",
			p.Addr(), flags, site.Host, site.Cert.CertFile, site.Cert.KeyFile, site.Body())
	}
	fmt.Fprintln(buf, "}")
	return buf.Flush()
}
