package policies

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// ticketTag begins the mark that session tickets of bindings bear.
const ticketTag = "caddy-iis "

// ticketKeys is where the keys of a configuration's tickets are: in itself if Caddy
// rotates configured keys there, else in one that outlives configurations.
func ticketKeys(tlsApp *caddytls.TLS, config, lasting *tls.Config) *tls.Config {
	if tlsApp.SessionTickets != nil {
		return config
	}
	return lasting
}

// boundTickets is a policy's configuration, once for each certificate that it
// serves. Session tickets are valid only with the certificate, for the server name,
// at the endpoint and under the settings that they were issued for. A resumed session
// shows no certificate: without this, a client that offers its ticket elsewhere, or
// after a certificate was replaced, would go on with another identity than the one
// it is served.
type boundTickets struct {
	config, keys *tls.Config
	at           string // the mark of the endpoint and the settings

	configs sync.Map // of *tls.Config by weak.Pointer[tls.Certificate]
	mu      sync.Mutex
	known   int // in configs
	sweep   int // with so many, those of certificates that are gone are dropped
}

func bindTickets(config, keys *tls.Config, key Key) *boundTickets {
	settings := sha256.Sum256(fmt.Appendf(nil, "%d %s", key.Flags, key.Settings))
	return &boundTickets{config: config, keys: keys, at: fmt.Sprintf("%s%s port %d %x ", ticketTag, key.IP, key.Port, settings[:8])}
}

// with returns the configuration for handshakes with a certificate.
func (b *boundTickets) with(cert *tls.Certificate) *tls.Config {
	known := weak.Make(cert)
	if config, ok := b.configs.Load(known); ok {
		return config.(*tls.Config)
	}
	config, loaded := b.configs.LoadOrStore(known, b.bind(cert))
	if !loaded {
		b.tidy()
	}
	return config.(*tls.Config)
}

// tidy counts a new certificate. Now and then it drops what was made for those that
// nobody has any more: they are renewed, and the central store forgets some.
func (b *boundTickets) tidy() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known++; b.known <= b.sweep {
		return
	}
	b.known = 0
	b.configs.Range(func(key, _ any) bool {
		if key.(weak.Pointer[tls.Certificate]).Value() == nil {
			b.configs.Delete(key)
		} else {
			b.known++
		}
		return true
	})
	b.sweep = 2*b.known + 64
}

func (b *boundTickets) bind(cert *tls.Certificate) *tls.Config {
	leaf := sha256.Sum256(cert.Certificate[0])
	at, keys := fmt.Sprintf("%s%x ", b.at, leaf[:16]), b.keys
	mark := func(state tls.ConnectionState) []byte { return []byte(at + strings.ToLower(state.ServerName)) }
	config := b.config.Clone()
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, mark(state))
		return keys.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := keys.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		own := mark(state)
		if !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return bytes.Equal(extra, own) }) {
			return nil, nil // a full handshake follows
		}
		return session, nil
	}
	return config
}

// ForeignTickets are the configurations of an ordinary server such that they refuse
// the tickets of bindings, whose keys they share. All else about tickets stays as
// Caddy has it.
type ForeignTickets struct {
	TLS     *caddytls.TLS
	Keys    *tls.Config                                       // see [Settings.Keys]
	Instead func(hello *tls.ClientHelloInfo) *tls.Certificate // of the configuration that serves now

	configs sync.Map // by the server's own *tls.Config
}

// Refusing returns a configuration that refuses them. If Caddy has dropped the
// server's certificates in the middle of a handshake, because the configuration was
// replaced, it takes the certificate of the one that serves now.
func (f *ForeignTickets) Refusing(own *tls.Config) *tls.Config {
	if config, ok := f.configs.Load(own); ok {
		return config.(*tls.Config)
	}
	keys, config := ticketKeys(f.TLS, own, f.Keys), own.Clone()
	config.WrapSession = keys.EncryptTicket
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := keys.DecryptTicket(ticket, state)
		if err != nil || session == nil || slices.ContainsFunc(session.Extra, ofBinding) {
			return nil, err
		}
		return session, nil
	}
	if get := own.GetCertificate; get != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hello)
			if err != nil {
				if other := f.Instead(hello); other != nil {
					return other, nil
				}
			}
			return cert, err
		}
	}
	first, _ := f.configs.LoadOrStore(own, config)
	return first.(*tls.Config)
}

func ofBinding(extra []byte) bool { return bytes.HasPrefix(extra, []byte(ticketTag)) }
