package caddyiis

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// ticketTag begins the mark that session tickets bear.
const ticketTag = "caddy-iis port "

// bindTickets makes session tickets valid at one port only. A resumed session
// shows no certificate: without this, a client that offers its ticket at
// another port would go on with the identity of the first.
func bindTickets(config *tls.Config, keys *tls.Config, port uint16) {
	mark := binary.BigEndian.AppendUint16([]byte(ticketTag), port)
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, mark)
		return keys.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := keys.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		if !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return bytes.Equal(extra, mark) }) {
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
