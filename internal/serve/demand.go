package serve

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/iishttp"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// Connection is what is known of a connection when somebody asks what a
// request on it gets: a live one, or one that explain assumes.
type Connection struct {
	local netip.AddrPort
	proto int                  // the major version of HTTP; with 3 it is one over QUIC
	state *tls.ConnectionState // nil on http
	made  *handshake           // what its handshake left; nil if nobody knows

	// Where it keeps what verification found out: verifying a chain costs more
	// than most requests. Nil if it keeps nothing.
	verified *atomic.Value
}

// liveConnection is the connection of a request.
func liveConnection(r *http.Request, conn *front.Conn) *Connection {
	return &Connection{local: conn.Local, proto: r.ProtoMajor, state: r.TLS, made: handshakeOf(conn), verified: &conn.Verified}
}

// policy returns the one under which the connection was made; nil if that is
// unknown, or an ordinary server's.
func (c *Connection) policy() *policies.Policy {
	if c.made == nil {
		return nil
	}
	return c.made.policy
}

// Answer is what a request gets in place of its site's routes, which it gets
// if the status is 0.
type Answer struct {
	Status int
	sub    int    // the sub-status that IIS has for it, 0 for none
	Port   uint16 // of a redirect to https
	Reason string
}

// The sub-statuses of 403.
const (
	subStatusSSL               = 4
	subStatusClientCertificate = 7
)

// Demand asks what a request gets from its site, in the order of IIS. It is
// the one reading of a site's demands: live traffic writes what it says, and
// explain shows it.
func (sn *Snapshot) Demand(c *Connection, host string, s *site, match binding.SiteMatch) Answer {
	if s.Offline {
		return Answer{Status: http.StatusServiceUnavailable, Reason: "the site is offline"}
	}
	if c.state == nil {
		return s.Access.OverHTTP(false)
	}
	if err := sn.misdirected(c, host, s, match); err != nil {
		return Answer{Status: http.StatusMisdirectedRequest, Reason: err.Error()}
	}
	if s.Access.requireCertificate && !sn.certified(c, match) {
		return Answer{
			Status: http.StatusForbidden, sub: subStatusClientCertificate,
			Reason: "the site demands a client certificate (403.7)",
		}
	}
	return Answer{}
}

// OverHTTP is what the site demands over http, where a proxy that is trusted may
// say that the client came to it by https.
func (a *access) OverHTTP(forwarded bool) Answer {
	const redirects = "the site redirects http to https"
	switch {
	case forwarded && a.requireCertificate:
		// It was shown to the proxy, if to anybody.
		return Answer{
			Status: http.StatusForbidden, sub: subStatusClientCertificate,
			Reason: "the site demands a client certificate (403.7)",
		}
	case forwarded:
		return Answer{}
	case a.hstsRedirect:
		return Answer{Status: http.StatusMovedPermanently, Port: 443, Reason: redirects}
	case a.redirectSSL:
		return Answer{Status: http.StatusMovedPermanently, Port: a.sslPort, Reason: redirects}
	case a.requireSSL, a.requireCertificate: // without TLS there is no certificate
		return Answer{Status: http.StatusForbidden, sub: subStatusSSL, Reason: "the site demands https (403.4)"}
	}
	return Answer{}
}

// acmeChallenges is the path below which authorities ask (RFC 8555 section 8.3).
const acmeChallenges = "/.well-known/acme-challenge/"

// excepts reports whether a request over http needs no TLS since it is for the
// token of a challenge, and for nothing else whatever its path is made of.
func (a *access) excepts(r *http.Request) bool {
	if !a.exceptACME || a.requireCertificate || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	token, ok := strings.CutPrefix(r.URL.Path, acmeChallenges)
	return ok && token != "" && r.URL.EscapedPath() == r.URL.Path && strings.IndexFunc(token, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') // base64url
	}) < 0
}

// forwardedHTTPS reports whether a proxy in front of this server, a balancer
// that has taken TLS off, says that the client came to it by https. Only
// proxies that trusted_proxies names are believed, and only if each that had
// the request says so.
func forwardedHTTPS(r *http.Request) bool {
	values := r.Header["X-Forwarded-Proto"]
	if len(values) == 0 {
		return false
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	for _, value := range values {
		for proto := range strings.SplitSeq(value, ",") {
			if !strings.EqualFold(strings.TrimSpace(proto), "https") {
				return false
			}
		}
	}
	return true
}

// write answers a request.
func (a *access) write(w http.ResponseWriter, r *http.Request, to Answer) {
	switch {
	case to.Port != 0:
		redirectToHTTPS(w, r, to.Port)
	case to.sub != 0:
		if a.subStatusHeader {
			w.Header().Set(subStatusHeader, strconv.Itoa(to.sub))
		}
		writeSubStatusPage(w, r, to.Status, to.sub, subStatusHeadings[to.sub])
	default:
		writePage(w, r, to.Status, http.StatusText(to.Status))
	}
}

// certified reports whether the connection has a client certificate that the
// site's own authorities vouch for, whichever site's settings it was made
// under and whatever misdirected allows.
func (sn *Snapshot) certified(c *Connection, match binding.SiteMatch) bool {
	if len(c.state.PeerCertificates) == 0 {
		return false
	}
	own := sn.PolicyOf(match.Binding)
	return own == nil || c.satisfies(own)
}

// satisfies reports whether a connection has the client certificate, if any, that
// a policy demands: it was made under this policy, or it is verified again.
func (c *Connection) satisfies(own *policies.Policy) bool {
	if c.policy() == own {
		return true
	}
	if c.verified != nil {
		if known, ok := c.verified.Load().(*verified); ok && known.policy == own {
			return true
		}
	}
	if own.AllowsClient(c.state) != nil {
		return false
	}
	if c.verified != nil {
		c.verified.Store(&verified{own})
	}
	return true
}

// verified remembers the last policy, other than that of its handshake, whose
// authorities a connection's client certificate has satisfied.
type verified struct{ policy *policies.Policy }

// selects reports whether a server name, taken as Host, selects the site.
func (sn *Snapshot) selects(serverName string, local netip.AddrPort, match binding.SiteMatch) bool {
	name, ok := binding.Host(serverName)
	return ok && serverName != "" && sn.siteMatch(local, binding.HTTPS, name).Site == match.Site
}

// misdirected reports why a request must not be answered on its connection.
//
// Requests are routed by Host, as IIS does, so that a connection made for one
// host can carry requests for another: HTTP/2 and HTTP/3 clients do so where
// a certificate covers both. With secure, the default, that is refused only
// where the connection, as it was negotiated, is not one that the site's own
// TLS settings would have allowed, or where they would have asked the client
// for something else; strict wants the server name to select the site itself;
// allow refuses nothing.
func (sn *Snapshot) misdirected(c *Connection, host string, s *site, match binding.SiteMatch) error {
	if match.Binding.Flags&binding.FlagReject != 0 {
		return errRejected
	}
	switch s.Access.misdirected {
	case config.MisdirectedAllow:
		return nil
	case config.MisdirectedStrict:
		if !sn.selects(c.state.ServerName, c.local, match) {
			return errors.New("the server name does not select the site, and misdirected is strict")
		}
	}
	return sn.wouldAllow(c, host, match)
}

var errRejected = errors.New("clients of this host are rejected")

// wouldAllow compares a connection with the settings that a client of this
// host has to meet at this address: those of the record that table D1 selects
// and, as to client certificates, those of the binding that has routed the
// request: of the record that its clients get, and of the one that it made, which the
// record of an address may shadow.
func (sn *Snapshot) wouldAllow(c *Connection, host string, match binding.SiteMatch) error {
	under := c.policy()
	if under != nil && under == sn.uniform[c.local.Port()] {
		return under.Speaks(c.proto) // whatever table D1 selects here, it has the same settings
	}
	bound := sn.PolicyOf(match.Binding)
	here := bound
	serverName := ""
	if name, _ := binding.Host(host); !name.IsIP() { // an address is never sent as one (RFC 6066, section 3)
		serverName = name.String()
	}
	chosen := sn.CertificateMatch(c.local, serverName)
	if chosen.Reason == binding.ReasonRejected {
		return errRejected
	}
	if chosen.Record != nil {
		here = sn.meets(c, serverName, chosen)
	}
	if here == nil {
		return nil
	}
	if err := here.Speaks(c.proto); err != nil {
		return err
	}
	if under != here {
		if err := here.Allows(c.proto, c.state); err != nil {
			return err
		}
		if !c.satisfies(here) {
			return errors.New("the connection's client certificate is not one for this address")
		}
		// Without a server name it cannot come again, as 421 tells it to.
		if len(c.state.PeerCertificates) == 0 && here.Asks(under) && c.state.ServerName != "" {
			return errors.New("the site asks clients for a certificate, and the connection was not asked for it")
		}
	}
	made := sn.policyOfRecord(sn.Tables.SharedRecord(match.Binding))
	for _, own := range [...]*policies.Policy{bound, made} {
		if own != nil && own != here && !c.satisfies(own) {
			return errors.New("the connection's client certificate is not one for this site")
		}
	}
	return nil
}

// meets returns the policy that a client meets who comes with a host as its server
// name: that of the record that table D1 selects or, while this one has no certificate
// for the name, that of the record which serves in its place.
func (sn *Snapshot) meets(c *Connection, serverName string, chosen binding.CertificateMatch) *policies.Policy {
	own := sn.Records.At(chosen.Record.Index).Policy
	if chosen.Fallback == nil || own == sn.Records.At(chosen.Fallback.Index).Policy {
		return own
	}
	again := Probe{Local: c.local, Protocol: binding.HTTPS, SNI: serverName}
	if live, _ := sn.serving(chosen, again.Hello()); live != nil {
		return live.Policy
	}
	return own
}

// negotiated is the connection that comes of a ClientHello under a
// configuration, as far as demands depend on it.
func negotiated(config *tls.Config, hello *tls.ClientHelloInfo) *tls.ConnectionState {
	if config == nil {
		config = new(tls.Config)
	}
	state := &tls.ConnectionState{
		HandshakeComplete:  true,
		ServerName:         hello.ServerName,
		Version:            min(hello.SupportedVersions[0], cmp.Or(config.MaxVersion, tls.VersionTLS13)),
		CipherSuite:        tls.TLS_AES_128_GCM_SHA256,
		CurveID:            firstOf(config.CurvePreferences, hello.SupportedCurves),
		NegotiatedProtocol: firstOf(config.NextProtos, hello.SupportedProtos),
	}
	if state.Version < tls.VersionTLS13 {
		state.CipherSuite = firstOf(config.CipherSuites, hello.CipherSuites)
		// The key exchange of TLS 1.3 alone goes away.
		older := slices.DeleteFunc(slices.Clone(hello.SupportedCurves), func(c tls.CurveID) bool { return c == tls.X25519MLKEM768 })
		state.CurveID = firstOf(config.CurvePreferences, older)
	}
	return state
}

// firstOf returns the first of the server's values that the client has too; the
// zero value if there is none.
func firstOf[T comparable](server, client []T) (none T) {
	for _, value := range server {
		if slices.Contains(client, value) {
			return value
		}
	}
	return none
}

// tellSubStatus leaves the sub-status of an answer to logs and error routes.
func tellSubStatus(r *http.Request, to Answer) {
	if to.sub != 0 {
		iishttp.SetSubStatus(r, to.Status, to.sub)
	}
}
