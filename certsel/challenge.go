package certsel

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
)

// Challenges answers the challenges of certificate authorities for the subjects
// that an app's sources obtain certificates for. Another node of a farm may have
// begun the order: what it takes is in the storage that they share. Caddy's tls app
// does that for the certificates of its own policies only.
type Challenges struct {
	byName map[string][]*Managed
	byIP   []*Managed // that have addresses as subjects
	autos  []*Auto
}

// NewChallenges finds the sources that obtain certificates by challenges.
func NewChallenges(sources map[string]Source) *Challenges {
	c := &Challenges{byName: make(map[string][]*Managed)}
	for _, source := range sources {
		if auto, ok := source.(*Auto); ok {
			c.autos = append(c.autos, auto)
			if auto.fallback == nil {
				continue
			}
			source = auto.fallback
		}
		m, ok := source.(*Managed)
		if !ok || m.internal {
			continue
		}
		for subject := range m.exact {
			c.byName[subject] = append(c.byName[subject], m)
		}
		if len(m.addresses) > 0 {
			c.byIP = append(c.byIP, m)
		}
	}
	return c
}

// ServeHTTP answers an HTTP-01 challenge, or ZeroSSL's validation, and reports
// whether the request was one that is under way. All else is the site's.
func (c *Challenges) ServeHTTP(w http.ResponseWriter, r *http.Request) bool {
	acme := certmagic.LooksLikeHTTPChallenge(r)
	if !acme && !certmagic.LooksLikeZeroSSLHTTPValidation(r) {
		return false
	}
	host, ok := binding.Host(r.Host)
	if !ok {
		return false
	}
	name := strings.Trim(host.String(), "[]")
	if ip, err := netip.ParseAddr(name); err == nil {
		name = ip.String()
	}
	for _, m := range c.managersOf(name) {
		if acme && m.answerACME(w, r) || !acme && m.answerZeroSSL(w, r) {
			return true
		}
	}
	return false
}

// managersOf returns who obtains certificates for a name.
func (c *Challenges) managersOf(name string) []*Managed {
	managers := c.byName[name]
	for _, auto := range c.autos {
		if m := auto.managedFor(name); !m.internal && auto.Bound(name) {
			managers = append(slices.Clip(managers), m)
		}
	}
	return managers
}

// answerACME answers from the storage. Which issuer of the configuration it was
// does not matter: all are asked for.
func (m *Managed) answerACME(w http.ResponseWriter, r *http.Request) bool {
	return certmagic.NewACMEIssuer(m.magic, certmagic.ACMEIssuer{Logger: m.logger}).HandleHTTPChallenge(w, r)
}

func (m *Managed) answerZeroSSL(w http.ResponseWriter, r *http.Request) bool {
	for _, issuer := range m.magic.Issuers {
		if _, ok := issuer.(*caddytls.ZeroSSLIssuer); ok {
			solver := &certmagic.ZeroSSLIssuer{Storage: m.magic.Storage, Logger: m.logger}
			return solver.HandleZeroSSLHTTPValidation(w, r)
		}
	}
	return false
}

// Certificate returns the certificate that answers a TLS-ALPN-01 challenge, nil if
// none is under way for the server name. Challenges for addresses have a name below
// arpa (RFC 8738 section 6).
func (c *Challenges) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(hello.ServerName)
	managers := c.managersOf(name)
	if strings.HasSuffix(name, ".arpa") {
		managers = c.byIP
	}
	if _, here := certmagic.GetACMEChallenge(name); here {
		return nil // Caddy's own function has it
	}
	for _, m := range managers {
		quiet := *m.magic
		quiet.Logger = zap.NewNop() // that none is under way is no error of this one
		if cert, err := quiet.GetCertificate(hello); err == nil {
			m.logger.Info("served key authentication certificate for another node", zap.String("server_name", name))
			return cert
		}
	}
	return nil
}
