package binding

import (
	"fmt"
	"net/netip"
	"strings"
)

// Step is one rule that was tried.
type Step struct {
	Rule Rule   `json:"rule"`
	Key  string `json:"key,omitempty"` // what was looked for
	Hit  bool   `json:"hit"`
	// Reason is why the rule did not hit, or what it hit.
	Reason string `json:"reason"`
}

// Explanation tells how a look-up came to its outcome. It asks the same questions
// of the same tables as live traffic does.
type Explanation struct {
	Local    netip.AddrPort
	Protocol Protocol
	// Name is the server name or host as it was given.
	Name string
	// Listening tells whether such a connection is served at all: the bindings need
	// a socket there, and it speaks this protocol.
	Listening bool
	// Rule is the one that decided; it is also the last one of Steps.
	Rule  Rule
	Steps []Step
	// Certificate is set by ExplainCertificate, Site by ExplainSite.
	Certificate CertificateMatch
	Site        SiteMatch
}

// String writes one line for each step.
func (e Explanation) String() string {
	var sb strings.Builder
	if !e.Listening {
		fmt.Fprintf(&sb, "nothing serves %s on %s\n", e.Protocol, e.Local)
	}
	for _, s := range e.Steps {
		mark := "-"
		if s.Hit {
			mark = "+"
		}
		sb.WriteString(mark + " " + s.Rule.String())
		if s.Key != "" {
			sb.WriteString(", " + s.Key)
		}
		sb.WriteString(": " + s.Reason + "\n")
	}
	return sb.String()
}

func (e *Explanation) miss(r Rule, key, reason string) {
	e.Steps = append(e.Steps, Step{Rule: r, Key: key, Reason: reason})
}

func (e *Explanation) hit(r Rule, key, reason string) {
	e.Rule = r
	e.Steps = append(e.Steps, Step{Rule: r, Key: key, Hit: true, Reason: reason})
}

func (t *Tables) explanation(local netip.AddrPort, p Protocol, name string) Explanation {
	e := Explanation{Local: local, Protocol: p, Name: name}
	spoken, ok := t.Covers(local)
	e.Listening = ok && spoken == p
	return e
}

// ExplainCertificate tells how Certificate comes to its outcome: the rule of
// table D1 that decided, and each one before it with what it looked for.
func (t *Tables) ExplainCertificate(local netip.AddrPort, serverName string) Explanation {
	var q certQuery
	q.init(t, local, serverName)
	e := t.explanation(local, HTTPS, serverName)
	e.Certificate = q.match()
	refused := q.refusal(q.known())
	for rule := D1_1; rule < D1_8; rule++ {
		rec, key := q.row(rule), q.key(rule, local)
		switch {
		case rec == nil:
			e.miss(rule, key, q.missing(rule, key))
		case rule.byAddress() && refused != ReasonNone:
			e.miss(rule, key, "there is a record, but "+refused.String())
		default:
			e.hit(rule, rec.Key(), q.serves(rec, e.Certificate))
			return e
		}
	}
	e.hit(D1_8, "", "the handshake is refused: "+e.Certificate.Reason.String())
	return e
}

// key is what a row of table D1 looks for.
func (q *certQuery) key(r Rule, local netip.AddrPort) string {
	port := local.Port()
	switch r {
	case D1_1:
		key := endpointText(local.Addr().Unmap(), port)
		if local.Addr().Zone() != "" {
			key += " or " + endpointText(q.at.addr, port)
		}
		return key
	case D1_6:
		return endpointText(netip.IPv6Unspecified(), port)
	case D1_7:
		return endpointText(netip.Addr{}, port)
	case D1_5:
		return storeKey(port)
	case D1_2:
		if q.size > 0 {
			return hostKey(string(q.name()), port)
		}
	case D1_3:
		if i := nextLabel(q.name(), 0); i > 1 {
			return hostKey("*."+string(q.name()[i:]), port)
		}
	}
	return ""
}

// missing tells why a row of table D1 has no record.
func (q *certQuery) missing(r Rule, key string) string {
	switch {
	case r == D1_4:
		return "bindings never make such a record"
	case !r.byAddress() && !q.named:
		return "the client sent no server name"
	case r == D1_6 && !q.at.addr.Is6():
		return "the connection is IPv4"
	case r == D1_5:
		return "no binding on this port takes its certificate from the central store"
	case key == "" && q.size == 0:
		return "the server name is longer than any host name"
	case key == "":
		return "no wildcard stands for a name like this"
	case r == D1_3 && q.t.opts.WildcardAnyDepth:
		return "no record for " + key + ", nor for a shorter suffix"
	}
	return "no record for " + key
}

// serves tells what a hit in table D1 means for the client.
func (q *certQuery) serves(rec *Record, m CertificateMatch) string {
	if rec.Flags.rejects() {
		return "the handshake is refused: the record rejects its clients"
	}
	if rec.Kind != RecordStore {
		return fmt.Sprintf("certificate %q", rec.Certificate)
	}
	text := "the central store, if it has a file for the name"
	if m.Fallback == nil {
		return text + "; else the handshake is refused"
	}
	return fmt.Sprintf("%s; else certificate %q of %s (%s)", text, m.Fallback.Certificate, m.Fallback.Key(), m.FallbackRule)
}

// ExplainSite tells how Site comes to its outcome: the rule of table D2 that
// decided, and each one before it with what it looked for. The host is taken as
// a client sends it.
func (t *Tables) ExplainSite(local netip.AddrPort, protocol Protocol, host string) Explanation {
	e := t.explanation(local, protocol, host)
	name, ok := Host(host)
	q := siteQuery{t: t, at: t.place(local, protocol), host: name}
	e.Site = q.match()
	if !ok {
		e.hit(D2_0, host, "this is no valid host")
		return e
	}
	e.miss(D2_1, "", "bindings never make such a prefix")
	if q.explainHosts(&e, local) || q.explainAny(&e, local) {
		return e
	}
	e.hit(D2_8, "", "no binding of a started site matches")
	return e
}

// explainHosts walks rows 2 to 5 and tells whether one of them hit.
func (q *siteQuery) explainHosts(e *Explanation, local netip.AddrPort) bool {
	if reason := q.hostless(); reason != "" {
		for rule := D2_2; rule <= D2_5; rule++ {
			e.miss(rule, "", reason)
		}
		return false
	}
	for i := range q.at.scopes {
		if q.explainStep(e, i, D2_2, D2_3, local, q.host.name, q.exact(i)) {
			return true
		}
	}
	from := q.suffix(0)
	if from == 0 {
		e.miss(D2_4, "", "no wildcard stands for a name of one label")
		e.miss(D2_5, "", "no wildcard stands for a name of one label")
	}
	for ; from > 0; from = q.suffix(from) {
		for i := range q.at.scopes {
			if q.explainStep(e, i, D2_4, D2_5, local, "*."+q.host.name[from:], q.wildcard(i, from)) {
				return true
			}
		}
	}
	return false
}

// explainAny walks rows 6 and 7 and tells whether one of them hit.
func (q *siteQuery) explainAny(e *Explanation, local netip.AddrPort) bool {
	for i := range q.at.scopes {
		if q.explainStep(e, i, D2_6, D2_7, local, "", q.any(i)) {
			return true
		}
	}
	return false
}

// hostless tells why a request can match no binding with a host.
func (q *siteQuery) hostless() string {
	switch q.host.kind {
	case hostNone:
		return "the request has no host"
	case hostIP:
		return "the host is an IP address, which matches no host of a binding"
	}
	return ""
}

// explainStep adds the step for one scope, if the connection has that scope.
func (q *siteQuery) explainStep(e *Explanation, scope int, byAddress, all Rule, local netip.AddrPort, host string, b *BindingEntry) bool {
	key := Binding{Port: local.Port(), Host: host}
	rule := byAddress
	switch scope {
	case scopeZone:
		if key.IP = local.Addr().Unmap(); key.IP.Zone() == "" {
			return false
		}
	case scopeAddr:
		key.IP = q.at.addr
	case scopeV6:
		if key.IP = netip.IPv6Unspecified(); !q.at.addr.Is6() {
			return false
		}
	case scopeAll:
		rule = all
	}
	if b == nil {
		e.miss(rule, key.String(), "no such binding of a started site")
		return false
	}
	reason := siteLabel(b.Site)
	if b.Site.HeldBack {
		reason += ", which is held back"
	}
	e.hit(rule, key.String(), reason)
	return true
}
