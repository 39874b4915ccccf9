package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/mholt/acmez/v3"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/paged"
)

// tlsSettings are the TLS settings of a binding or an endpoint in the form in
// which they are compared.
type tlsSettings struct {
	Policy *caddytls.ConnectionPolicy `json:"policy,omitempty"`
	Legacy bool                       `json:"legacy,omitempty"`
}

// tlsKey is the canonical form of TLS settings: settings with equal keys share
// one connection policy.
func tlsKey(settings *caddytls.ConnectionPolicy, legacy bool) (string, error) {
	if settings == nil && !legacy {
		return "", nil
	}
	if p := settings; p != nil && (len(p.MatchersRaw) > 0 || p.CertSelection != nil || p.DefaultSNI != "" || p.FallbackSNI != "" || p.Drop) {
		return "", errors.New("tls: match, certificate_selection, default_sni, fallback_sni and drop have no place here: bindings decide that")
	}
	if err := checkVersions(settings, legacy); err != nil {
		return "", err
	}
	raw, err := json.Marshal(tlsSettings{settings, legacy})
	if err != nil {
		return "", fmt.Errorf("tls: %w", err)
	}
	if string(raw) == `{"policy":{}}` {
		return "", nil
	}
	return string(raw), nil
}

// policySet holds one provisioned connection policy for each distinct set of
// TLS settings and endpoint, however many bindings have them.
type policySet struct {
	loose bool // there may be policies that no record has

	ctx       caddy.Context
	tls       *caddytls.TLS
	alpn      []string // of policies without one
	policies  map[policyKey]*Policy
	later     context.Context                                  // of policies that come when the app is provisioned
	challenge *tls.Config                                      // ACME TLS-ALPN challenges
	changed   func(ctx context.Context, settings string) error // files have, that settings name

	mu      sync.Mutex        // held where trusts are changed, and where they are shown meanwhile
	trusts  map[string]*trust // by settings
	echKeys func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error)
	ech     *OrdinaryServer // serves the public names; nil without such keys
}

// policyKey is what makes TLS settings distinct: the settings themselves and
// those sslFlags that change a connection.
type policyKey struct {
	settings string
	flags    binding.Flags
	port     uint16     // session tickets are for one endpoint
	ip       netip.Addr // likewise
}

const policyFlags = binding.FlagReject | binding.FlagNoHTTP2 | binding.FlagNoQUIC | binding.FlagNoTLS13 | binding.FlagNoLegacyTLS

// Policy is a provisioned connection policy.
type Policy struct {
	TCP  *tls.Config
	quic *tls.Config // nil: HTTP/3 is off

	// What handshakes are made with, for their certificate.
	boundTCP, boundQUIC *boundTickets

	release func() // cleans up what was loaded for it
}

func (a *Instance) provisionPolicies() error {
	set := &policySet{
		ctx: a.ctx, tls: a.tls, alpn: a.alpn(), policies: make(map[policyKey]*Policy),
		trusts: make(map[string]*trust), changed: a.trustChanged,
	}
	challenge := new(caddytls.ConnectionPolicy)
	if err := (caddytls.ConnectionPolicies{challenge}).Provision(a.ctx); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	// Caddy's own function answers the challenges of every issuer in the
	// process, and those of its own policies that another node has begun; only
	// challenges reach it.
	set.challenge = challenge.TLSConfig
	set.challenge.SessionTicketsDisabled = true // no session of anybody else's is resumed by one
	challenges, others := a.challenges, set.challenge.GetCertificate
	set.challenge.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := challenges.Certificate(hello); cert != nil {
			return cert, nil
		}
		return others(hello)
	}
	// Keys of Encrypted Client Hello, if Caddy's tls app has any: Caddy gives
	// them to the configuration that chooses among policies.
	set.echKeys = (caddytls.ConnectionPolicies{challenge}).TLSConfig(a.ctx).GetEncryptedClientHelloKeys
	a.policies = set
	return a.provisionECH()
}

// get returns the policy for settings, provisioned once.
func (s *policySet) get(key policyKey) (*Policy, error) {
	if p, ok := s.policies[key]; ok {
		return p, nil
	}
	s.loose = true
	var settings tlsSettings
	if key.settings != "" {
		if err := json.Unmarshal([]byte(key.settings), &settings); err != nil {
			return nil, err
		}
	}
	cp := settings.Policy
	if cp == nil {
		cp = new(caddytls.ConnectionPolicy)
	}
	if cp.ALPN == nil {
		cp.ALPN = s.alpn
	}
	if key.flags&binding.FlagNoHTTP2 != 0 {
		cp.ALPN = slices.DeleteFunc(slices.Clone(cp.ALPN), func(p string) bool { return p == "h2" })
	}
	var old oldVersions
	if settings.Legacy && key.flags&binding.FlagNoLegacyTLS == 0 {
		old = takeOldVersions(cp)
	} else if settings.Legacy && takeOldVersions(cp).highest != 0 {
		return nil, errors.New("disable_legacy_tls takes legacy_tls back, but protocols allow nothing later: remove one of them")
	}
	if err := s.watchTrust(key.settings); err != nil {
		return nil, err
	}
	ctx, release := s.context()
	if err := (caddytls.ConnectionPolicies{cp}).Provision(ctx); err != nil {
		release()
		return nil, err
	}
	config := cp.TLSConfig
	if old.lowest != 0 {
		allowLegacy(config, old)
	}
	config.GetCertificate = certificateOf
	if s.echKeys != nil {
		// For clients with outdated keys. The front asks the configuration
		// that serves: a connection keeps this one's settings, and with its
		// function would keep all of it.
		config.GetEncryptedClientHelloKeys = fronts.TicketKeys().GetEncryptedClientHelloKeys
	}
	// Caddy puts it there for challenges, which have a configuration of their own.
	config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(p string) bool { return p == acmez.ACMETLS1Protocol })
	p := &Policy{TCP: config, release: release}
	if key.flags&binding.FlagNoQUIC == 0 && config.MaxVersion >= tls.VersionTLS13 { // QUIC has no other
		p.quic = config
	}
	if key.flags&binding.FlagNoTLS13 != 0 {
		// TLS 1.3 is off over TCP only.
		p.TCP = config.Clone()
		p.TCP.MaxVersion = min(config.MaxVersion, tls.VersionTLS12)
	}
	keys := ticketKeys(s.tls, config)
	p.boundTCP, p.boundQUIC = bindTickets(p.TCP, keys, key), bindTickets(config, keys, key)
	s.policies[key] = p
	return p, nil
}

// context returns the context in which a policy is provisioned, and what ends
// it. While the app is provisioned that is its own. Later, each policy has one
// that ends when no record has the policy any more: files and authorities that
// it names are read again when it comes back.
func (s *policySet) context() (caddy.Context, func()) {
	if s.later == nil {
		return s.ctx, func() {}
	}
	parent := s.ctx
	parent.Context = s.later
	ctx, cancel := caddy.NewContext(parent)
	return ctx, func() { cancel() }
}

// keep drops the policies that no record has.
func (s *policySet) keep(records *paged.Slice[*Record]) {
	if !s.loose && records != nil {
		return
	}
	s.loose = false
	used := make(map[*Policy]bool)
	var last *Policy
	for _, rec := range records.All() {
		if rec != nil && rec.Policy != last {
			last = rec.Policy
			used[last] = true
		}
	}
	for key, p := range s.policies {
		if !used[p] {
			delete(s.policies, key)
			p.release()
		}
	}
	s.dropTrusts()
}

// release drops all policies.
func (s *policySet) release() { s.keep(nil) }

// allows tells why a connection, as it was negotiated, would not have come
// about under this policy, client certificates left aside.
func (p *Policy) allows(c *Connection) error {
	config, state := p.TCP, c.state
	if c.proto == 3 {
		config = p.quic
	}
	switch {
	case state.Version < config.MinVersion || state.Version > config.MaxVersion:
		return fmt.Errorf("the connection has %s", tls.VersionName(state.Version))
	case state.Version < tls.VersionTLS13 && !slices.Contains(config.CipherSuites, state.CipherSuite):
		return fmt.Errorf("the connection has %s", tls.CipherSuiteName(state.CipherSuite))
	case state.CurveID != 0 && len(config.CurvePreferences) > 0 && !slices.Contains(config.CurvePreferences, state.CurveID):
		return fmt.Errorf("the connection has the curve %s", state.CurveID)
	case c.proto < 3 && state.NegotiatedProtocol != "" && len(config.NextProtos) > 0 && !slices.Contains(config.NextProtos, state.NegotiatedProtocol):
		return fmt.Errorf("the connection has the protocol %q", state.NegotiatedProtocol)
	}
	return nil
}

// speaks tells why this policy has not a version of HTTP. Behind a listener wrapper
// net/http takes the preface of HTTP/2 on any connection, whatever was negotiated.
func (p *Policy) speaks(proto int) error {
	switch {
	case proto == 3 && p.quic == nil:
		return errNoQUIC
	case proto == 2 && !slices.Contains(p.TCP.NextProtos, "h2"):
		return errors.New("the connection has HTTP/2")
	}
	return nil
}

// asks reports whether clients are asked for a certificate under this policy
// otherwise than they were under another one, which may be unknown: not at
// all, or with other authorities for them to choose by.
func (p *Policy) asks(beyond *Policy) bool {
	if p.TCP.ClientAuth == tls.NoClientCert {
		return false
	}
	return beyond == nil || beyond.TCP.ClientAuth == tls.NoClientCert || !p.TCP.ClientCAs.Equal(beyond.TCP.ClientCAs)
}

// allowsClient repeats the verification of the client certificate against
// this policy's authorities and verifiers.
func allowsClient(config *tls.Config, state *tls.ConnectionState) error {
	given := len(state.PeerCertificates) > 0
	required := config.ClientAuth == tls.RequireAnyClientCert || config.ClientAuth == tls.RequireAndVerifyClientCert
	if required && !given {
		return errors.New("the connection has no client certificate")
	}
	if !given || config.ClientAuth == tls.NoClientCert {
		return nil
	}
	as := *state
	as.VerifiedChains = nil
	if config.ClientAuth >= tls.VerifyClientCertIfGiven {
		chains, err := verifyClient(config.ClientCAs, state.PeerCertificates)
		if err != nil {
			return err
		}
		as.VerifiedChains = chains
	}
	if config.VerifyConnection != nil {
		return config.VerifyConnection(as)
	}
	return nil
}

func verifyClient(roots *x509.CertPool, certs []*x509.Certificate) ([][]*x509.Certificate, error) {
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	return certs[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// PolicyOf is the policy that the clients of a site should have met: that of
// the record that the binding's clients get.
func (sn *Snapshot) PolicyOf(entry *binding.BindingEntry) *Policy {
	return sn.policyOfRecord(entry.Record)
}

func (sn *Snapshot) policyOfRecord(rec *binding.Record) *Policy {
	if rec == nil {
		return nil
	}
	return sn.Records.At(rec.Index).Policy
}

// Protocols are those of HTTP that a connection can be made for under a policy. A
// policy without ALPN leaves it to HTTP/1.1.
func (p *Policy) Protocols() []string {
	var list []string
	for _, known := range []struct{ alpn, name string }{{"http/1.1", "h1"}, {"h2", "h2"}} {
		if slices.Contains(p.TCP.NextProtos, known.alpn) || len(p.TCP.NextProtos) == 0 && known.name == "h1" {
			list = append(list, known.name)
		}
	}
	if p.quic != nil {
		list = append(list, "h3")
	}
	return list
}

// ClientCertificate tells whether clients are asked for a certificate.
func (p *Policy) ClientCertificate() string {
	switch {
	case p == nil || p.TCP.ClientAuth == tls.NoClientCert:
		return ""
	case p.TCP.ClientAuth == tls.RequireAnyClientCert, p.TCP.ClientAuth == tls.RequireAndVerifyClientCert:
		return adminapi.CertificateRequired
	}
	return adminapi.CertificateRequested
}

// Legacy reports whether versions of TLS are on that are broken.
func (p *Policy) Legacy() bool { return p.TCP.MinVersion < tls.VersionTLS12 }
