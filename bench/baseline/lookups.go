package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// lookups are the two maps.
type lookups struct {
	certificates map[string]*tls.Certificate
	bodies       map[string]string
	fallback     *tls.Certificate
}

func newLookups(set *sites.Set) (*lookups, error) {
	look := &lookups{
		certificates: make(map[string]*tls.Certificate, len(set.Sites)+1),
		bodies:       make(map[string]string, len(set.Sites)+1),
	}
	loaded := make(map[*sites.Certificate]*tls.Certificate)
	for _, site := range set.All() {
		if loaded[site.Cert] == nil {
			cert, err := tls.LoadX509KeyPair(site.Cert.CertFile, site.Cert.KeyFile)
			if err != nil {
				return nil, err
			}
			loaded[site.Cert] = &cert
		}
		look.certificates[site.Host] = loaded[site.Cert]
		look.bodies[site.Host] = site.Body()
	}
	look.fallback = look.certificates[set.Default.Host]
	return look, nil
}

// certificate is that of the server name, else the default.
func (l *lookups) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := l.certificates[strings.ToLower(hello.ServerName)]; cert != nil {
		return cert, nil
	}
	return l.fallback, nil
}

// ServeHTTP answers with the body of the request's Host.
func (l *lookups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	body, ok := l.bodies[strings.ToLower(host)]
	if !ok {
		http.Error(w, sites.NoSuchSite, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, body) // the client may have gone
}
