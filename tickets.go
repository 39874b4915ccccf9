package caddyiis

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// ticketTag begins the mark that session tickets bear.
const ticketTag = "caddy-iis "

// bindTickets makes session tickets valid only at the endpoint and for the
// server name that they were issued for. A resumed session shows no
// certificate: without this, a client that offers its ticket elsewhere would
// go on with another identity than the one it is served.
func bindTickets(config, keys *tls.Config, ip netip.Addr, port uint16) {
	at := fmt.Sprintf("%s%s port %d ", ticketTag, ip, port)
	mark := func(state tls.ConnectionState) []byte { return []byte(at + strings.ToLower(state.ServerName)) }
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
}

// ticketKeys is where the keys of a policy's tickets are: in the policy itself
// if Caddy rotates configured keys there, else in the front, where they
// outlive configurations.
func ticketKeys(tlsApp *caddytls.TLS, config *tls.Config) *tls.Config {
	if tlsApp.SessionTickets != nil {
		return config
	}
	return fronts.TicketKeys()
}
