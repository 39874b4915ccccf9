package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
)

// access is the compiled form of Access.
type access struct {
	requireSSL, redirectSSL bool
	exceptACME              bool   // challenges need no TLS
	sslPort                 uint16 // of the redirect
	requireCertificate      bool
	hsts                    string // header value, empty for none
	hstsRedirect            bool
	misdirected             config.Misdirection
	subStatusHeader         bool
}

// demands holds each distinct access once, however many sites have it.
type demands map[access]*access

func (d demands) get(a access) *access {
	shared := d[a]
	if shared == nil {
		shared = &a
		d[a] = shared
	}
	return shared
}

const subStatusHeader = "X-Iis-Substatus"

// compileAccess understands a site's demands; they must be possible to meet.
func (a *Instance) compileAccess(sn *Snapshot, cfg *config.Site, entry *binding.SiteEntry) (access, error) {
	c := access{
		misdirected: a.Options.Misdirected, requireCertificate: cfg.RequireClientCertificate,
		subStatusHeader: a.SubStatusHeader == nil || *a.SubStatusHeader,
	}
	var err error
	if cfg.Misdirected != "" {
		if c.misdirected, err = config.ParseMisdirected(cfg.Misdirected); err != nil {
			return c, err
		}
	}
	mode, err := config.ParseWord("require_ssl", cfg.RequireSSL, map[string][2]bool{"": {}, "on": {true, false}, "redirect": {true, true}})
	if err != nil {
		return c, err
	}
	c.requireSSL, c.redirectSSL = mode[0], mode[1]
	secure := 0
	for i := range entry.Bindings {
		if b := &entry.Bindings[i]; b.Protocol == binding.HTTPS && b.Flags&binding.FlagReject == 0 {
			if secure++; c.sslPort == 0 || b.Port == 443 {
				c.sslPort = b.Port
			}
		}
	}
	hstsRedirect := cfg.HSTS != nil && cfg.HSTS.RedirectHTTP
	if c.exceptACME = cfg.ExceptACMEChallenges; c.exceptACME && !c.requireSSL && !hstsRedirect {
		return c, errors.New("except_acme_challenges is an exception from require_ssl, which the site does not have")
	}
	switch {
	case secure > 0:
	case c.requireCertificate:
		return c, errors.New("require_client_certificate needs an https binding")
	case c.requireSSL && !a.TrustsProxies():
		return c, errors.New("require_ssl needs an https binding, or trusted_proxies in servers if a balancer has https for the site")
	default:
		c.sslPort = 443 // of the balancer
	}
	if c.requireCertificate {
		if err := sn.asksForCertificates(entry); err != nil {
			return c, err
		}
	}
	if h := cfg.HSTS; h != nil {
		c.hsts, c.hstsRedirect = h.Header(), h.RedirectHTTP
		if h.MaxAge < 0 {
			return c, errors.New("hsts: max_age cannot be negative")
		}
	}
	return c, nil
}

// asksForCertificates makes sure that each https binding of a site that
// requires client certificates has authorities to verify them. Certificates
// that are merely requested are verified by nobody.
func (sn *Snapshot) asksForCertificates(entry *binding.SiteEntry) error {
	for i := range entry.Bindings {
		b := &entry.Bindings[i]
		if b.Protocol != binding.HTTPS || b.Flags&binding.FlagReject != 0 || b.HeldBack() {
			continue // nobody can connect to it
		}
		if p := sn.PolicyOf(b); p == nil || p.TCP.ClientAuth < tls.RequireAnyClientCert {
			return fmt.Errorf("require_client_certificate: binding %s does not ask clients for a certificate: "+
				"add client_auth to it if it has sni, else to the endpoint of its IP address and port, with a mode other than request", b.Binding)
		}
	}
	return nil
}

// redirectToHTTPS keeps the method of requests that are more than a look.
func redirectToHTTPS(w http.ResponseWriter, r *http.Request, port uint16) {
	host := r.Host
	if host == "" { // HTTP/1.0
		writeSubStatusPage(w, r, http.StatusForbidden, 4, "SSL required")
		return
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	if port != 443 {
		host = fmt.Sprintf("%s:%d", host, port)
	}
	status := http.StatusTemporaryRedirect
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	w.Header().Set("Location", "https://"+host+r.URL.RequestURI())
	w.WriteHeader(status)
}
