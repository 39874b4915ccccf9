package serve

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"golang.org/x/crypto/cryptobyte"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// provisionECH prepares for clients whose keys for Encrypted Client Hello are
// out of date. They show the public name, which no binding need have, and learn
// the new keys if they get the certificate that Caddy's tls app has for it
// (RFC 9849, section 6.1.6).
func (a *Instance) provisionECH() error {
	if a.ech.keys == nil {
		return nil
	}
	policy := &caddytls.ConnectionPolicy{ALPN: a.alpn()}
	if err := (caddytls.ConnectionPolicies{policy}).Provision(a.ctx); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	config := policy.TLSConfig
	config.GetEncryptedClientHelloKeys = fronts.TicketKeys().GetEncryptedClientHelloKeys
	config.SessionTicketsDisabled = true // a ticket would be good for any endpoint
	a.ech.server = &OrdinaryServer{
		Name:      adminapi.ServerECH,
		tickets:   a.foreignTickets(),
		policies:  &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return config, nil }},
		handshake: &handshake{in: a.identity, ordinary: new(identity)},
	}
	return nil
}

// encryptedHello is what there is for Encrypted Client Hello.
type encryptedHello struct {
	keys   func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error)
	server *OrdinaryServer // serves the public names; nil without keys
}

// byPublicName returns what serves a handshake with a public name of Encrypted
// Client Hello, nil if the name is none.
func (e *encryptedHello) byPublicName(hello *tls.ClientHelloInfo) *OrdinaryServer {
	if e.server == nil || hello.ServerName == "" {
		return nil
	}
	keys, err := e.keys(hello)
	if err != nil {
		return nil
	}
	for i := range keys {
		if name, ok := publicName(keys[i].Config); ok && strings.EqualFold(name, hello.ServerName) {
			return e.server
		}
	}
	return nil
}

// publicName reads the public name of an ECHConfig (RFC 9849, section 4).
func publicName(config []byte) (string, bool) {
	var version, kem uint16
	var id, longest uint8
	var contents, key, suites, name cryptobyte.String
	outer := cryptobyte.String(config)
	ok := outer.ReadUint16(&version) && outer.ReadUint16LengthPrefixed(&contents) &&
		contents.ReadUint8(&id) && contents.ReadUint16(&kem) &&
		contents.ReadUint16LengthPrefixed(&key) && contents.ReadUint16LengthPrefixed(&suites) &&
		contents.ReadUint8(&longest) && contents.ReadUint8LengthPrefixed(&name)
	return string(name), ok && len(name) > 0
}

// echOwner is who serves a handshake with a public name that no binding has.
func (sn *Snapshot) echOwner(match binding.CertificateMatch, hello *tls.ClientHelloInfo) *OrdinaryServer {
	if match.Known {
		return nil
	}
	return sn.ech.byPublicName(hello)
}
