package serve

import (
	"crypto/tls"
	"net"
	"net/netip"

	"github.com/caddy-iis/caddy-iis/binding"
)

// Probe is the connection and request that somebody asks about.
type Probe struct {
	Local    netip.AddrPort
	Protocol binding.Protocol
	SNI      string // empty: none is sent
	Host     string
}

// Hello is the ClientHello of an ordinary client of today.
func (p Probe) Hello() *tls.ClientHelloInfo {
	var suites []uint16
	for _, suite := range tls.CipherSuites() {
		suites = append(suites, suite.ID)
	}
	return &tls.ClientHelloInfo{
		ServerName:      p.SNI,
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
		Conn:              probeConn{local: net.TCPAddrFromAddrPort(p.Local)},
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

// Assumed is the connection that explain asks about: that of a client of
// today, with TLS 1.3 and HTTP/2 as far as the server lets it, and without a
// client certificate.
func (sn *Snapshot) Assumed(p Probe) *Connection {
	c := &Connection{local: p.Local, proto: 1}
	if p.Protocol == binding.HTTP {
		return c
	}
	hello := p.Hello()
	var config *tls.Config
	switch _, live, _, ordinary := sn.HandshakeOwner(p.Local, hello); {
	case ordinary != nil:
		c.made = ordinary.handshake
		config, _ = ordinary.policies.GetConfigForClient(hello)
	case live != nil:
		c.made, config = live.handshake, live.Policy.TCP
	}
	c.state = negotiated(config, hello)
	if c.state.NegotiatedProtocol == "h2" {
		c.proto = 2
	}
	return c
}

// Interface guards
var _ net.Conn = probeConn{}
