package caddyiis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// Access is what a site demands of a connection before its routes see a
// request, as IIS checks it after the site is chosen.
type Access struct {
	// What a request over http gets: "" is served (default), "on" is answered
	// with 403.4 as IIS does, "redirect" is sent to https.
	RequireSSL string `json:"require_ssl,omitempty"`

	// If true, requests without a client certificate are answered with 403.7.
	// The bindings' or the endpoint's tls settings must ask for it: they name
	// the authorities.
	RequireClientCertificate bool `json:"require_client_certificate,omitempty"`

	// HTTP Strict Transport Security, as IIS 10 version 1709 has it.
	HSTS *HSTS `json:"hsts,omitempty"`

	// What happens to a request on a connection that was made for another
	// host; overrides misdirected of the app.
	Misdirected string `json:"misdirected,omitempty"`
}

// HSTS is HTTP Strict Transport Security (RFC 6797).
type HSTS struct {
	// For how long browsers shall use https only. Whole seconds; 0 makes them
	// forget.
	MaxAge caddy.Duration `json:"max_age"`

	// Whether it holds for all subdomains as well.
	IncludeSubdomains bool `json:"include_subdomains,omitempty"`

	// Whether browsers may have the site on their built-in lists.
	Preload bool `json:"preload,omitempty"`

	// Whether requests over http are redirected to https. As in IIS, the
	// target is always the standard port.
	RedirectHTTP bool `json:"redirect_http,omitempty"`
}

// access is the compiled form of Access.
type access struct {
	requireSSL, redirectSSL bool
	sslPort                 uint16 // of the redirect
	requireCertificate      bool
	hsts                    string // header value, empty for none
	hstsRedirect            bool
	misdirected             misdirection
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
func (sn *snapshot) compileAccess(cfg *Site, entry *binding.SiteEntry) (access, error) {
	c := access{misdirected: sn.app.options.misdirected, requireCertificate: cfg.RequireClientCertificate}
	var err error
	if cfg.Misdirected != "" {
		if c.misdirected, err = parseMisdirected(cfg.Misdirected); err != nil {
			return c, err
		}
	}
	mode, err := parseWord("require_ssl", cfg.RequireSSL, map[string][2]bool{"": {}, "on": {true, false}, "redirect": {true, true}})
	if err != nil {
		return c, err
	}
	c.requireSSL, c.redirectSSL = mode[0], mode[1]
	secure := 0
	for i := range entry.Bindings {
		if b := &entry.Bindings[i]; b.Protocol == binding.HTTPS {
			if secure++; c.sslPort == 0 || b.Port == 443 {
				c.sslPort = b.Port
			}
		}
	}
	if (c.requireSSL || c.requireCertificate) && secure == 0 {
		return c, errors.New("require_ssl and require_client_certificate need an https binding")
	}
	if c.requireCertificate {
		if err := sn.asksForCertificates(entry); err != nil {
			return c, err
		}
	}
	if h := cfg.HSTS; h != nil {
		c.hsts, c.hstsRedirect = h.header(), h.RedirectHTTP
		if h.MaxAge < 0 {
			return c, errors.New("hsts: max_age cannot be negative")
		}
	}
	return c, nil
}

// asksForCertificates makes sure that each https binding of a site that
// requires client certificates has authorities to verify them. Certificates
// that are merely requested are verified by nobody.
func (sn *snapshot) asksForCertificates(entry *binding.SiteEntry) error {
	for i := range entry.Bindings {
		b := &entry.Bindings[i]
		if b.Protocol != binding.HTTPS {
			continue
		}
		if p := sn.policyOf(b); p == nil || p.tcp.ClientAuth < tls.RequireAnyClientCert {
			return fmt.Errorf("require_client_certificate: binding %s does not ask clients for a certificate: "+
				"add client_auth to it if it has sni, else to the endpoint of its IP address and port, with a mode other than request", b.Binding)
		}
	}
	return nil
}

func (h *HSTS) header() string {
	value := "max-age=" + strconv.FormatInt(int64(h.MaxAge)/1e9, 10)
	if h.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}

// verdict answers a request in place of the site's routes.
type verdict func(w http.ResponseWriter, r *http.Request)

// admit checks a request against its site's demands, in the order of IIS, and
// returns what answers it if it does not meet them.
func (sn *snapshot) admit(w http.ResponseWriter, r *http.Request, conn *front.Conn, s *site, match binding.SiteMatch) verdict {
	if r.TLS == nil {
		return sn.app.admitPlain(s)
	}
	if err := sn.misdirected(r, conn, s, match); err != nil {
		if s.metrics != nil {
			s.metrics.misdirect()
		}
		return func(w http.ResponseWriter, r *http.Request) {
			writePage(w, r, http.StatusMisdirectedRequest, http.StatusText(http.StatusMisdirectedRequest))
		}
	}
	if s.access.requireCertificate && !sn.certified(r, conn, match) {
		return sn.app.forbidden(7, "Client certificate required")
	}
	if s.access.hsts != "" {
		w.Header().Set("Strict-Transport-Security", s.access.hsts)
	}
	return nil
}

// certified reports whether the connection has a client certificate that the
// site's own authorities vouch for, whichever site's settings it was made
// under and whatever misdirected allows.
func (sn *snapshot) certified(r *http.Request, conn *front.Conn, match binding.SiteMatch) bool {
	if len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	own := sn.policyOf(match.Binding)
	return own == nil || sn.app.trusts(own, r, conn)
}

// trusts reports whether a connection has the client certificate, if any, that
// a policy demands: it was made under this policy, or it is verified again.
func (a *App) trusts(own *policy, r *http.Request, conn *front.Conn) bool {
	if made := handshakeOf(conn); made != nil && made.in == a.identity && made.policy == own {
		return true
	}
	if known, ok := conn.Verified.Load().(*verified); ok && known.policy == own {
		return true
	}
	if allowsClient(own.tcp, r.TLS) != nil {
		return false
	}
	conn.Verified.Store(&verified{own})
	return true
}

// verified remembers the last policy, other than that of its handshake, whose
// authorities a connection's client certificate has satisfied: verifying a
// chain costs more than most requests.
type verified struct{ policy *policy }

// httpDemand is what a site makes of requests over http.
type httpDemand uint8

const (
	demandNothing httpDemand = iota
	demandRedirect
	demandSSL
)

// overHTTP returns what the site demands over http, and the port of a redirect.
func (c *access) overHTTP() (httpDemand, uint16) {
	switch {
	case c.hstsRedirect:
		return demandRedirect, 443
	case c.redirectSSL:
		return demandRedirect, c.sslPort
	case c.requireSSL, c.requireCertificate: // without TLS there is no certificate
		return demandSSL, 0
	}
	return demandNothing, 0
}

func (a *App) admitPlain(s *site) verdict {
	switch demand, port := s.access.overHTTP(); demand {
	case demandRedirect:
		return func(w http.ResponseWriter, r *http.Request) { redirectToHTTPS(w, r, port) }
	case demandSSL:
		return a.forbidden(4, "SSL required")
	}
	return nil
}

// selects reports whether a server name, taken as Host, selects the site.
func (sn *snapshot) selects(serverName string, local netip.AddrPort, match binding.SiteMatch) bool {
	name, ok := binding.Host(serverName)
	return ok && serverName != "" && sn.siteMatch(local, binding.HTTPS, name).Site == match.Site
}

// forbidden answers with one of the sub-statuses of 403 that IIS has.
func (a *App) forbidden(sub int, heading string) verdict {
	return func(w http.ResponseWriter, r *http.Request) {
		if a.SubStatusHeader == nil || *a.SubStatusHeader {
			w.Header().Set(subStatusHeader, strconv.Itoa(sub))
		}
		writeSubStatusPage(w, r, http.StatusForbidden, sub, heading)
	}
}

func unavailable(w http.ResponseWriter, r *http.Request) {
	writePage(w, r, http.StatusServiceUnavailable, headingUnavailable)
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

// misdirected reports why a request must not be answered on its connection.
//
// Requests are routed by Host, as IIS does, so that a connection made for one
// host can carry requests for another: HTTP/2 and HTTP/3 clients do so where
// a certificate covers both. With secure, the default, that is refused only
// where the connection, as it was negotiated, is not one that the site's own
// TLS settings would have allowed; strict wants the server name to select the
// site itself; allow refuses nothing.
func (sn *snapshot) misdirected(r *http.Request, conn *front.Conn, s *site, match binding.SiteMatch) error {
	switch s.access.misdirected {
	case misdirectedAllow:
		return nil
	case misdirectedStrict:
		if !sn.selects(r.TLS.ServerName, conn.Local, match) {
			return errors.New("the server name selects another site")
		}
	}
	return sn.wouldAllow(r, conn, match)
}

// wouldAllow compares a connection with the settings that a client of this
// host has to meet at this address: those of the record that table D1 selects
// and, as to client certificates, those of the binding that has routed the
// request, if that made another record.
func (sn *snapshot) wouldAllow(r *http.Request, conn *front.Conn, match binding.SiteMatch) error {
	made := handshakeOf(conn)
	if made != nil && made.in == sn.app.identity && made.policy != nil && made.policy == sn.uniform[conn.Local.Port()] {
		return nil // whatever table D1 selects here, it has the same settings
	}
	bound := sn.policyOf(match.Binding)
	here := bound
	name, _ := binding.Host(r.Host)
	if rec := sn.certificateMatch(conn.Local, name.String()).Record; rec != nil {
		here = sn.records[rec.Index].policy
	}
	if here == nil {
		return nil
	}
	if made == nil || made.in != sn.app.identity || made.policy != here {
		if err := here.allows(r.TLS, conn.QUIC); err != nil {
			return err
		}
		if !sn.app.trusts(here, r, conn) {
			return errors.New("the connection's client certificate is not one for this address")
		}
	}
	if bound != nil && bound != here && !sn.app.trusts(bound, r, conn) {
		return errors.New("the connection's client certificate is not one for this site")
	}
	return nil
}
