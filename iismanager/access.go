package iismanager

import (
	"bytes"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// claim is what a request brings along that could show who makes it.
type claim struct {
	user          string // whom a handler of Caddy before this one has authenticated
	certificate   string // the subject of a client certificate that an authority of the page has issued
	header        string // the one value of auth_header
	trusted       bool   // the peer is one of the server's trusted_proxies
	remote, local netip.Addr
	host          string // that the request is for, without port
	forwarded     bool   // somebody has passed it on
}

// policy is what the configuration says about who may see the page.
type policy struct {
	authHeader bool // auth_header is set
	insecure   bool
}

// visitor is who sees the page.
type visitor struct {
	// Name is that of the user, for people and for the log.
	Name string

	// How tells by what he is known.
	How string
}

// admit decides who makes a request, and whether he may see the page. It is the whole
// rule: what is not named here is refused. Where the configuration tells of a proxy, by
// auth_header or by trusted_proxies with the peer among them, nobody is local.
func (p policy) admit(c claim) (visitor, bool) {
	switch {
	case c.user != "":
		return visitor{c.user, "authenticated"}, true
	case c.certificate != "":
		return visitor{c.certificate, "client certificate"}, true
	case p.authHeader && c.trusted && c.header != "":
		return visitor{c.header, "authenticated by the proxy"}, true
	case !p.authHeader && !c.trusted && c.remote.IsLoopback() && c.local.IsLoopback() && loopbackHost(c.host) && !c.forwarded:
		return visitor{"local", "from this machine"}, true
	case p.insecure:
		return visitor{"anonymous", "insecure"}, true
	}
	return visitor{}, false
}

// loopbackHost reports whether a host means the machine itself whatever DNS says, which
// a page of somebody else that a browser was led to by DNS rebinding cannot have.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

// claimOf reads a request of Caddy's servers.
func claimOf(r *http.Request, authHeader string, authorities []*x509.Certificate) claim {
	c := claim{
		certificate: certifiedBy(r, authorities),
		remote:      addressOf(r.RemoteAddr),
		host:        hostOf(r.Host),
		forwarded:   passedOn(r),
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		c.user, _ = repl.GetString("http.auth.user.id")
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		c.local = addressOf(local.String())
	}
	c.trusted, _ = caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if values := r.Header.Values(authHeader); authHeader != "" && len(values) == 1 {
		c.header = strings.TrimSpace(values[0]) // of two, nobody knows which the proxy has set
	}
	return c
}

// addressOf is the address of a peer; it is invalid for what is none, such as a unix
// socket.
func addressOf(hostPort string) netip.Addr {
	addr, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}

func hostOf(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return hostPort
	}
	return host
}

// proxySigns are beginnings of names of headers that proxies add, and no browser: what
// begins with X- is one, whatever it is called.
var proxySigns = []string{
	"X-", "X_", "Forwarded", "Via", "Remote", "Client-Ip", "True-Client-Ip", "Cf-", "Cdn-", "Fastly-", "Akamai-",
	"Proxy-", "Wl-Proxy-", "Ssl-", "Front-End-", "Surrogate-", "Max-Forwards",
}

// passedOn reports whether there is any sign that a proxy has sent the request on. Old
// versions of HTTP are one: browsers have stopped to use them, and nginx long did so
// unless it was told not to.
func passedOn(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return true
	}
	for name := range r.Header {
		if slices.ContainsFunc(proxySigns, func(sign string) bool { return strings.HasPrefix(name, sign) }) {
			return true
		}
	}
	return false
}

// certifiedBy returns the subject of a client certificate that the handshake has
// verified and that one of the authorities has issued. It is not enough that there is
// one: on a shared port, the handshake may have verified it for another site, against
// authorities of that site.
func certifiedBy(r *http.Request, authorities []*x509.Certificate) string {
	if r.TLS == nil {
		return ""
	}
	for _, chain := range r.TLS.VerifiedChains {
		for i, link := range chain {
			if i == 0 {
				continue // it cannot vouch for itself
			}
			for _, authority := range authorities {
				if bytes.Equal(link.Raw, authority.Raw) {
					return subjectOf(chain[0])
				}
			}
		}
	}
	return ""
}

func subjectOf(leaf *x509.Certificate) string {
	if leaf.Subject.CommonName != "" {
		return leaf.Subject.CommonName
	}
	if name := leaf.Subject.String(); name != "" {
		return name
	}
	return "serial " + leaf.SerialNumber.String()
}
