// Package policies makes the TLS settings of bindings and endpoints into connection policies
// of Caddy: one for each distinct set, session tickets that are good for one place only, and
// authorities of client certificates that are watched.
package policies

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/mholt/acmez/v3"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// tlsSettings are the TLS settings of a binding or an endpoint in the form in
// which they are compared.
type tlsSettings struct {
	Policy *caddytls.ConnectionPolicy `json:"policy,omitempty"`
	Legacy bool                       `json:"legacy,omitempty"`
}

// KeyOf is the canonical form of TLS settings: settings with equal keys share
// one connection policy.
func KeyOf(settings *caddytls.ConnectionPolicy, legacy bool) (string, error) {
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

// Set holds one provisioned connection policy for each distinct set of TLS settings
// and endpoint, however many bindings have them.
type Set struct {
	Settings
	loose    bool // there may be policies that no record has
	policies map[Key]*Policy
	later    context.Context // of policies that come when the app is provisioned

	mu     sync.Mutex        // held where trusts are changed, and where they are shown meanwhile
	trusts map[string]*trust // by settings
}

// Settings are what all policies of a set have in common.
type Settings struct {
	Context caddy.Context
	TLS     *caddytls.TLS
	ALPN    []string // of policies without one

	// Has the keys of session tickets and, with ECH, those of Encrypted Client Hello. It
	// outlives configurations: a connection keeps its policy, and with something of the
	// configuration's it would keep all of that.
	Keys *tls.Config
	ECH  bool // there are keys for it

	// The certificate of the record that was chosen for a connection.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Is called when files have changed that settings name.
	Changed func(ctx context.Context, settings string) error
}

// New returns a set without policies.
func New(settings Settings) *Set {
	return &Set{Settings: settings, policies: make(map[Key]*Policy), trusts: make(map[string]*trust)}
}

// Later says in which context policies are provisioned from now on: the configuration's own
// takes no more modules.
func (s *Set) Later(ctx context.Context) { s.later = ctx }

// Loosen says that there may be policies that no record has any more.
func (s *Set) Loosen() { s.loose = true }

// Key is what makes TLS settings distinct: the settings themselves and those sslFlags
// that change a connection.
type Key struct {
	Settings string // of KeyOf
	Flags    binding.Flags
	Port     uint16     // session tickets are for one endpoint
	IP       netip.Addr // likewise
}

// Of returns a key. Flags that are nothing to a policy are left out.
func Of(settings string, flags binding.Flags, ip netip.Addr, port uint16) Key {
	return Key{settings, flags & policyFlags, port, ip}
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

// Get returns the policy for settings, provisioned once.
func (s *Set) Get(key Key) (*Policy, error) {
	if p, ok := s.policies[key]; ok {
		return p, nil
	}
	s.loose = true
	var settings tlsSettings
	if key.Settings != "" {
		if err := json.Unmarshal([]byte(key.Settings), &settings); err != nil {
			return nil, err
		}
	}
	cp := settings.Policy
	if cp == nil {
		cp = new(caddytls.ConnectionPolicy)
	}
	if cp.ALPN == nil {
		cp.ALPN = s.ALPN
	}
	if key.Flags&binding.FlagNoHTTP2 != 0 {
		cp.ALPN = slices.DeleteFunc(slices.Clone(cp.ALPN), func(p string) bool { return p == "h2" })
	}
	var old oldVersions
	if settings.Legacy && key.Flags&binding.FlagNoLegacyTLS == 0 {
		old = takeOldVersions(cp)
	} else if settings.Legacy && takeOldVersions(cp).highest != 0 {
		return nil, errors.New("disable_legacy_tls takes legacy_tls back, but protocols allow nothing later: remove one of them")
	}
	if err := s.watchTrust(key.Settings); err != nil {
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
	config.GetCertificate = s.Certificate
	if s.ECH {
		// For clients with outdated keys. The front asks the configuration
		// that serves: a connection keeps this one's settings, and with its
		// function would keep all of it.
		config.GetEncryptedClientHelloKeys = s.Keys.GetEncryptedClientHelloKeys
	}
	// Caddy puts it there for challenges, which have a configuration of their own.
	config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(p string) bool { return p == acmez.ACMETLS1Protocol })
	p := &Policy{TCP: config, release: release}
	if key.Flags&binding.FlagNoQUIC == 0 && config.MaxVersion >= tls.VersionTLS13 { // QUIC has no other
		p.quic = config
	}
	if key.Flags&binding.FlagNoTLS13 != 0 {
		// TLS 1.3 is off over TCP only.
		p.TCP = config.Clone()
		p.TCP.MaxVersion = min(config.MaxVersion, tls.VersionTLS12)
	}
	keys := ticketKeys(s.TLS, config, s.Keys)
	p.boundTCP, p.boundQUIC = bindTickets(p.TCP, keys, key), bindTickets(config, keys, key)
	s.policies[key] = p
	return p, nil
}

// context returns the context in which a policy is provisioned, and what ends
// it. While the app is provisioned that is its own. Later, each policy has one
// that ends when no record has the policy any more: files and authorities that
// it names are read again when it comes back.
func (s *Set) context() (caddy.Context, func()) {
	if s.later == nil {
		return s.Context, func() {}
	}
	parent := s.Context
	parent.Context = s.later
	ctx, cancel := caddy.NewContext(parent)
	return ctx, func() { cancel() }
}

// Keep drops the policies that no record has, given those that records have.
func (s *Set) Keep(had iter.Seq[*Policy]) {
	if !s.loose {
		return
	}
	s.loose = false
	used := make(map[*Policy]bool)
	var last *Policy
	for p := range had {
		if p != last { // very many records in a row have the same
			last = p
			used[p] = true
		}
	}
	s.drop(used)
}

// Release drops all policies.
func (s *Set) Release() { s.drop(nil) }

func (s *Set) drop(except map[*Policy]bool) {
	for key, p := range s.policies {
		if !except[p] {
			delete(s.policies, key)
			p.release()
		}
	}
	s.dropTrusts()
}

// Allows tells why a connection, as it was negotiated, would not have come
// about under this policy, client certificates left aside. Version 3 of HTTP is one
// over QUIC.
func (p *Policy) Allows(proto int, state *tls.ConnectionState) error {
	config := p.TCP
	if proto == 3 {
		config = p.quic
	}
	switch {
	case state.Version < config.MinVersion || state.Version > config.MaxVersion:
		return fmt.Errorf("the connection has %s", tls.VersionName(state.Version))
	case state.Version < tls.VersionTLS13 && !slices.Contains(config.CipherSuites, state.CipherSuite):
		return fmt.Errorf("the connection has %s", tls.CipherSuiteName(state.CipherSuite))
	case state.CurveID != 0 && len(config.CurvePreferences) > 0 && !slices.Contains(config.CurvePreferences, state.CurveID):
		return fmt.Errorf("the connection has the curve %s", state.CurveID)
	case proto < 3 && state.NegotiatedProtocol != "" && len(config.NextProtos) > 0 && !slices.Contains(config.NextProtos, state.NegotiatedProtocol):
		return fmt.Errorf("the connection has the protocol %q", state.NegotiatedProtocol)
	}
	return nil
}

// Speaks tells why this policy has not a version of HTTP. Behind a listener wrapper
// net/http takes the preface of HTTP/2 on any connection, whatever was negotiated.
func (p *Policy) Speaks(proto int) error {
	switch {
	case proto == 3 && p.quic == nil:
		return ErrNoQUIC
	case proto == 2 && !slices.Contains(p.TCP.NextProtos, "h2"):
		return errors.New("the connection has HTTP/2")
	}
	return nil
}

// Asks reports whether clients are asked for a certificate under this policy
// otherwise than they were under another one, which may be unknown: not at
// all, or with other authorities for them to choose by.
func (p *Policy) Asks(beyond *Policy) bool {
	if p.TCP.ClientAuth == tls.NoClientCert {
		return false
	}
	return beyond == nil || beyond.TCP.ClientAuth == tls.NoClientCert || !p.TCP.ClientCAs.Equal(beyond.TCP.ClientCAs)
}

// AllowsClient repeats the verification of the client certificate against this policy's
// authorities and verifiers.
func (p *Policy) AllowsClient(state *tls.ConnectionState) error {
	config := p.TCP
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

// QUIC reports whether HTTP/3 is on.
func (p *Policy) QUIC() bool { return p.quic != nil }

// For returns what a handshake with a certificate is made with.
func (p *Policy) For(cert *tls.Certificate, quic bool) *tls.Config {
	if quic {
		return p.boundQUIC.with(cert)
	}
	return p.boundTCP.with(cert)
}

// Release cleans up what was loaded for a policy that another one has replaced.
func (p *Policy) Release() { p.release() }

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
