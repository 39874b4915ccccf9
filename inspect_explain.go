package caddyiis

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// probe is the connection and request that somebody asks about.
type probe struct {
	local    netip.AddrPort
	protocol binding.Protocol
	sni      string // empty: none is sent
	host     string
}

// explainView tells what a client would get. Without host, the host is the
// server name; without scheme, it is what the port speaks, else https.
func (sn *snapshot) explainView(q query) (any, error) {
	p := probe{sni: typedName(q.get("sni")), host: typedName(cmp.Or(q.get("host"), q.get("sni")))}
	ip, port, err := parseLocal(q.get("local"))
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "local: %v", err)
	}
	switch scheme := q.get("scheme"); scheme {
	case "":
		p.protocol = sn.spoken(sn.tables.Arrival(ip, port, binding.HTTPS))
	case "http":
	case "https":
		p.protocol = binding.HTTPS
	default:
		return nil, apiError(http.StatusBadRequest, "scheme: unknown word %q: expected http or https", scheme)
	}
	p.local = sn.tables.Arrival(ip, port, p.protocol)
	if p.protocol == binding.HTTP {
		p.sni = "" // there is none on http
	}
	return sn.explain(p), nil
}

// typedName turns a name that a person typed into what a client makes of it: what
// is not ASCII is mapped, all else stays as it is, whether it is valid or not. The
// port of a host stays behind it.
func typedName(name string) string {
	host, port, ok := strings.Cut(name, ":")
	if ascii, err := idn.ToASCII(host); err == nil && !strings.EqualFold(ascii, host) {
		host = ascii
	}
	if ok {
		return host + ":" + port
	}
	return host
}

// parseLocal reads the address that a client connects to; that of * is not valid.
func parseLocal(text string) (netip.Addr, uint16, error) {
	const form = "name the address that a client connects to, such as 10.0.0.5:443, [::1]:443, or *:443 for one that no binding names"
	if text == "" {
		return netip.Addr{}, 0, fmt.Errorf("it is missing: %s", form)
	}
	ip, port, err := binding.ParseEndpoint(text)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is not an IP address and port: %s", text, form)
	}
	return ip, port, nil
}

// spoken is the protocol of a local address, https if there is none.
func (sn *snapshot) spoken(local netip.AddrPort) binding.Protocol {
	if spoken, ok := sn.tables.Covers(local); ok {
		return spoken
	}
	https, _ := sn.app.ordinaryAt(local, true)
	http, _ := sn.app.ordinaryAt(local, false)
	secure, plain := https != nil, http != nil
	if !secure && !plain { // what it would speak if the sites were started
		secure = sn.bindingAt(endpointKey{local.Addr(), local.Port(), binding.HTTPS}) != nil
		plain = sn.bindingAt(endpointKey{local.Addr(), local.Port(), binding.HTTP}) != nil
	}
	if plain && !secure {
		return binding.HTTP
	}
	return binding.HTTPS
}

// explain asks the questions that a connection and its request would ask.
func (sn *snapshot) explain(p probe) adminapi.Explanation {
	e := adminapi.Explanation{Local: p.local.String(), Scheme: p.protocol.String(), SNI: p.sni, Host: p.host}
	secure := p.protocol == binding.HTTPS
	spoken, covered := sn.tables.Covers(p.local)
	ordinary, _ := sn.app.ordinaryAt(p.local, secure)
	e.Listening = covered && spoken == p.protocol || ordinary != nil
	if !e.Listening {
		code := adminapi.ProblemNotListening
		if _, e.Reason = sn.listens(endpointKey{p.local.Addr(), p.local.Port(), p.protocol}); covered {
			code = adminapi.ProblemWrongProtocol
		}
		e.Problems = []adminapi.Problem{{
			Code:    code,
			Message: fmt.Sprintf("nothing answers %s on %s: %s", p.protocol, p.local, e.Reason),
		}}
		return e
	}
	if secure {
		var problems []adminapi.Problem
		e.Handshake, problems = sn.explainHandshake(p)
		e.Problems = append(e.Problems, problems...)
		if e.Handshake.Outcome == adminapi.OutcomeRefused {
			return e
		}
	}
	e.Request = sn.explainRequest(p)
	e.Problems = append(e.Problems, requestProblems(p, e.Request)...)
	return e
}

// explainHandshake tells what handshakeOwner decides.
func (sn *snapshot) explainHandshake(p probe) (*adminapi.Handshake, []adminapi.Problem) {
	explained := sn.tables.ExplainCertificate(p.local, p.sni)
	h := &adminapi.Handshake{
		Outcome: adminapi.OutcomeCertificate,
		Rule:    explained.Rule.String(), Steps: showSteps(explained.Steps),
	}
	hello := p.hello()
	match, live, _, ordinary := sn.handshakeOwner(p.local, hello)
	switch {
	case ordinary != nil:
		h.Outcome, h.Server = adminapi.OutcomeServer, ordinary.name
		return h, nil
	case live == nil:
		return h, []adminapi.Problem{refuse(h, match)}
	}
	h.Record, h.Certificate = live.Key(), live.Certificate
	if live.Record != match.Record {
		h.Instead = match.Record.Certificate
		if h.Instead == "" {
			h.Instead = match.Record.Key()
		}
	}
	h.ClientCertificate = live.policy.clientCertificate()
	h.Protocols = live.policy.protocols()
	if live.source == nil {
		return h, nil
	}
	cert := live.source.Select(hello)
	h.Leaf = showLeaf(cert)
	return h, certificateProblems(cert, p.name())
}

// clientCertificate tells whether clients are asked for a certificate.
func (p *policy) clientCertificate() string {
	switch {
	case p == nil || p.tcp.ClientAuth == tls.NoClientCert:
		return ""
	case p.tcp.ClientAuth == tls.RequireAnyClientCert, p.tcp.ClientAuth == tls.RequireAndVerifyClientCert:
		return adminapi.CertificateRequired
	}
	return adminapi.CertificateRequested
}

// protocols are those of HTTP that a connection can be made for under a policy. A
// policy without ALPN leaves it to HTTP/1.1.
func (p *policy) protocols() []string {
	var list []string
	for _, known := range []struct{ alpn, name string }{{"http/1.1", "h1"}, {"h2", "h2"}} {
		if slices.Contains(p.tcp.NextProtos, known.alpn) || len(p.tcp.NextProtos) == 0 && known.name == "h1" {
			list = append(list, known.name)
		}
	}
	if p.quic != nil {
		list = append(list, "h3")
	}
	return list
}

// refuse says why a handshake is refused.
func refuse(h *adminapi.Handshake, match binding.CertificateMatch) adminapi.Problem {
	h.Outcome, h.Reason = adminapi.OutcomeRefused, match.Reason.String()
	h.Deliberate = match.Reason != binding.ReasonNone && match.Reason != binding.ReasonNoRecord
	if match.Record != nil {
		h.Record, h.Certificate = match.Record.Key(), match.Record.Certificate
		h.Reason = fmt.Sprintf("certificate %q is not available yet", h.Certificate)
		if h.Certificate == "" {
			h.Reason = "the central store has no certificate for the name"
		}
	}
	return adminapi.Problem{
		Code:    adminapi.ProblemRefused,
		Message: "the connection is reset during the handshake: " + h.Reason,
	}
}

// explainRequest tells what requestOwner decides.
func (sn *snapshot) explainRequest(p probe) *adminapi.Request {
	explained := sn.tables.ExplainSite(p.local, p.protocol, p.host)
	r := &adminapi.Request{Rule: explained.Rule.String(), Steps: showSteps(explained.Steps)}
	match, ordinary, valid := sn.requestOwner(p.local, p.protocol, p.host)
	if ordinary != nil {
		demanded := ordinary.demand(sn.assumed(p))
		r.Outcome, r.Server, r.Status, r.Reason = adminapi.OutcomeServer, ordinary.name, demanded.status, demanded.reason
		return r
	}
	switch {
	case !valid:
		r.Outcome, r.Status = adminapi.OutcomeInvalidHost, http.StatusBadRequest
		return r
	case match.Site == nil:
		r.Outcome, r.Status = adminapi.OutcomeUnknownHost, max(sn.app.options.UnknownHost, 0)
		return r
	}
	r.Outcome = adminapi.OutcomeSite
	r.Site, r.Name, r.Binding = match.Site.ID, match.Site.Name, match.Binding.Binding.String()
	if match.Site.HeldBack {
		held, _ := sn.app.heldRow(match.Site.ID)
		r.Outcome, r.Status, r.Reason = adminapi.OutcomeHeldBack, heldBackAnswer.status, held.reason
		return r
	}
	site := sn.sites[match.Site.Index]
	demanded := sn.demand(sn.assumed(p), p.host, site, match)
	r.Status, r.Reason = demanded.status, demanded.reason
	if site.offline {
		r.Outcome = adminapi.OutcomeOffline
	}
	return r
}

func showSteps(steps []binding.Step) []adminapi.Step {
	shown := make([]adminapi.Step, 0, len(steps))
	for _, s := range steps {
		shown = append(shown, adminapi.Step{Rule: s.Rule.String(), Key: s.Key, Hit: s.Hit, Reason: s.Reason})
	}
	return shown
}

func requestProblems(p probe, r *adminapi.Request) []adminapi.Problem {
	switch r.Outcome {
	case adminapi.OutcomeInvalidHost:
		return []adminapi.Problem{{Code: adminapi.ProblemNoSite, Message: fmt.Sprintf("the answer is 400, %s: %q is not a valid host", headingInvalidHostname, p.host)}}
	case adminapi.OutcomeUnknownHost:
		what := fmt.Sprintf("the answer is %d", r.Status)
		if r.Status == 0 {
			what = "the connection is closed without an answer"
		}
		host := fmt.Sprintf("for host %q", p.host)
		if p.host == "" {
			host = "without host"
		}
		return []adminapi.Problem{{Code: adminapi.ProblemNoSite, Message: fmt.Sprintf("%s: no started site has a binding %s here", what, host)}}
	case adminapi.OutcomeSite, adminapi.OutcomeServer:
		if r.Status >= http.StatusBadRequest {
			return []adminapi.Problem{{Code: adminapi.ProblemDemand, Message: fmt.Sprintf("the answer is %d: %s", r.Status, r.Reason)}}
		}
	case adminapi.OutcomeHeldBack:
		return []adminapi.Problem{{Code: adminapi.ProblemHeldBack, Message: fmt.Sprintf("the answer is %d: %s is held back: %s", r.Status, config.SiteLabel(r.Site, r.Name), r.Reason)}}
	case adminapi.OutcomeOffline:
		return []adminapi.Problem{{Code: adminapi.ProblemOffline, Message: fmt.Sprintf("the answer is 503: %s is offline", config.SiteLabel(r.Site, r.Name))}}
	}
	return nil
}

// name is what a client compares the certificate with: the host of the URL.
func (p probe) name() string {
	host, ok := binding.Host(p.host)
	if !ok {
		return p.sni
	}
	return strings.Trim(host.String(), "[]")
}

// certificateProblems are what a browser would show instead of the site.
func certificateProblems(cert *tls.Certificate, name string) []adminapi.Problem {
	leaf := leafOf(cert)
	if leaf == nil {
		return nil
	}
	var problems []adminapi.Problem
	add := func(code, format string, args ...any) {
		problems = append(problems, adminapi.Problem{Code: code, Message: fmt.Sprintf(format, args...)})
	}
	if name != "" && leaf.VerifyHostname(name) != nil {
		add(adminapi.ProblemWrongName, "the certificate is not for %s, but for %s", name, strings.Join(subjectsOf(leaf), ", "))
	}
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		add(adminapi.ProblemExpired, "the certificate expired on %s", leaf.NotAfter.UTC().Format(time.DateTime+" MST"))
	case now.Before(leaf.NotBefore):
		add(adminapi.ProblemNotYetValid, "the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.DateTime+" MST"))
	case !trusted(cert, leaf):
		add(adminapi.ProblemUntrusted, "clients must know the certificate's issuer, %s: this machine does not", leaf.Issuer)
	}
	return problems
}

// trusted tells whether the chain that is sent leads to an authority that this
// machine trusts.
func trusted(cert *tls.Certificate, leaf *x509.Certificate) bool {
	intermediates := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(c)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: intermediates, CurrentTime: time.Now()})
	return err == nil
}

// hello is the ClientHello of an ordinary client of today.
func (p probe) hello() *tls.ClientHelloInfo {
	var suites []uint16
	for _, suite := range tls.CipherSuites() {
		suites = append(suites, suite.ID)
	}
	return &tls.ClientHelloInfo{
		ServerName:      p.sni,
		CipherSuites:    suites,
		SupportedCurves: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		SupportedPoints: []uint8{0},
		SignatureSchemes: []tls.SignatureScheme{
			tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
			tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
			tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.Ed25519,
		},
		SupportedProtos:   []string{"h2", "http/1.1"},
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
		Conn:              probeConn{local: net.TCPAddrFromAddrPort(p.local)},
	}
}

// probeConn is the connection of a ClientHello that nobody has sent. It has
// addresses and nothing else.
type probeConn struct {
	net.Conn
	local net.Addr
}

// LocalAddr implements net.Conn.
func (c probeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn. The client is unknown.
func (probeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }

// Interface guards
var (
	_ net.Conn = probeConn{}
)
