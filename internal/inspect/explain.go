package inspect

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/idn"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// explainView tells what a client would get. Without host, the host is the
// server name; without scheme, it is what the port speaks, else https.
func (sn view) explainView(q query) (any, error) {
	p := serve.Probe{SNI: typedName(q.get("sni")), Host: typedName(cmp.Or(q.get("host"), q.get("sni")))}
	ip, port, err := parseLocal(q.get("local"))
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "local: %v", err)
	}
	switch scheme := q.get("scheme"); scheme {
	case "":
		p.Protocol = sn.spoken(sn.Tables.Arrival(ip, port, binding.HTTPS))
	case "http":
	case "https":
		p.Protocol = binding.HTTPS
	default:
		return nil, apiError(http.StatusBadRequest, "scheme: unknown word %q: expected http or https", scheme)
	}
	p.Local = sn.Tables.Arrival(ip, port, p.Protocol)
	if p.Protocol == binding.HTTP {
		p.SNI = "" // there is none on http
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
func (sn view) spoken(local netip.AddrPort) binding.Protocol {
	if spoken, ok := sn.Tables.Covers(local); ok {
		return spoken
	}
	https, _ := sn.App.OrdinaryAt(local, true)
	http, _ := sn.App.OrdinaryAt(local, false)
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
func (sn view) explain(p serve.Probe) adminapi.Explanation {
	e := adminapi.Explanation{Local: p.Local.String(), Scheme: p.Protocol.String(), SNI: p.SNI, Host: p.Host}
	secure := p.Protocol == binding.HTTPS
	spoken, covered := sn.Tables.Covers(p.Local)
	ordinary, _ := sn.App.OrdinaryAt(p.Local, secure)
	e.Listening = covered && spoken == p.Protocol || ordinary != nil
	if !e.Listening {
		code := adminapi.ProblemNotListening
		if _, e.Reason = sn.listens(endpointKey{p.Local.Addr(), p.Local.Port(), p.Protocol}); covered {
			code = adminapi.ProblemWrongProtocol
		}
		e.Problems = []adminapi.Problem{{
			Code:    code,
			Message: fmt.Sprintf("nothing answers %s on %s: %s", p.Protocol, p.Local, e.Reason),
		}}
		e.Problems = append(e.Problems, sn.rivals(p, false, 0)...)
		return e
	}
	if secure {
		var problems []adminapi.Problem
		e.Handshake, problems = sn.explainHandshake(p)
		e.Problems = append(e.Problems, problems...)
		if e.Handshake.Outcome == adminapi.OutcomeRefused {
			e.Problems = append(e.Problems, sn.rivals(p, false, 0)...)
			return e
		}
	}
	e.Request = sn.explainRequest(p)
	e.Problems = append(e.Problems, requestProblems(p, e.Request)...)
	e.Problems = append(e.Problems, sn.rivals(p, e.Request.Outcome != adminapi.OutcomeUnknownHost, e.Request.Site)...)
	return e
}

// explainHandshake tells what handshakeOwner decides.
func (sn view) explainHandshake(p serve.Probe) (*adminapi.Handshake, []adminapi.Problem) {
	explained := sn.Tables.ExplainCertificate(p.Local, p.SNI)
	h := &adminapi.Handshake{
		Outcome: adminapi.OutcomeCertificate,
		Rule:    explained.Rule.String(), Steps: showSteps(explained.Steps),
	}
	hello := p.Hello()
	match, live, _, ordinary := sn.HandshakeOwner(p.Local, hello)
	switch {
	case ordinary != nil:
		h.Outcome, h.Server = adminapi.OutcomeServer, ordinary.Name
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
	h.ClientCertificate = live.Policy.ClientCertificate()
	h.Protocols = live.Policy.Protocols()
	if !sn.SpeaksH3(p.Local) {
		h.Protocols = slices.DeleteFunc(h.Protocols, func(name string) bool { return name == "h3" })
	}
	if live.Source == nil {
		return h, nil
	}
	cert := live.Source.Select(hello)
	h.Leaf = showLeaf(cert)
	return h, certificateProblems(cert, comparedName(p))
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
func (sn view) explainRequest(p serve.Probe) *adminapi.Request {
	explained := sn.Tables.ExplainSite(p.Local, p.Protocol, p.Host)
	r := &adminapi.Request{Rule: explained.Rule.String(), Steps: showSteps(explained.Steps)}
	match, ordinary, valid := sn.RequestOwner(p.Local, p.Protocol, p.Host)
	if ordinary != nil {
		demanded := ordinary.Demand(sn.Assumed(p))
		r.Outcome, r.Server, r.Status, r.Reason = adminapi.OutcomeServer, ordinary.Name, demanded.Status, demanded.Reason
		return r
	}
	switch {
	case !valid:
		r.Outcome, r.Status = adminapi.OutcomeInvalidHost, http.StatusBadRequest
		return r
	case match.Site == nil:
		r.Outcome, r.Status = adminapi.OutcomeUnknownHost, max(sn.App.Options.UnknownHost, 0)
		return r
	}
	r.Outcome = adminapi.OutcomeSite
	r.Site, r.Name, r.Binding = match.Site.ID, match.Site.Name, match.Binding.Binding.String()
	if match.Binding.HeldBack() {
		r.Outcome, r.Status, r.Reason = adminapi.OutcomeHeldBack, serve.HeldBackAnswer.Status, serve.LeftOutFinding(match.Binding).Message
		if held, source := sn.App.Live.HeldRow(match.Site.ID); match.Site.HeldBack && source != nil {
			r.Reason = held.Reason
		}
		return r
	}
	site := sn.Sites.At(match.Site.Index)
	demanded := sn.Demand(sn.Assumed(p), p.Host, site, match)
	r.Status, r.Reason = demanded.Status, demanded.Reason
	if site.Offline {
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

func requestProblems(p serve.Probe, r *adminapi.Request) []adminapi.Problem {
	switch r.Outcome {
	case adminapi.OutcomeInvalidHost:
		return []adminapi.Problem{{Code: adminapi.ProblemNoSite, Message: fmt.Sprintf("the answer is 400, %s: %q is not a valid host", serve.HeadingInvalidHostname, p.Host)}}
	case adminapi.OutcomeUnknownHost:
		what := fmt.Sprintf("the answer is %d", r.Status)
		if r.Status == 0 {
			what = "the connection is closed without an answer"
		}
		host := fmt.Sprintf("for host %q", p.Host)
		if p.Host == "" {
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

// comparedName is what a client compares the certificate with: the host of the URL.
func comparedName(p serve.Probe) string {
	host, ok := binding.Host(p.Host)
	if !ok {
		return p.SNI
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
		add(adminapi.ProblemWrongName, "the certificate is not for %s, but for %s", name, strings.Join(health.Subjects(leaf), ", "))
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
