package front

import (
	"crypto/tls"
	"fmt"
	"net/http"
)

// ConnOf returns the connection that a handshake belongs to, with its local
// address filled in; nil if it belongs to none of a [Manager]. Unlike ConnFrom it
// also finds it if a listener wrapper has begun the handshake.
func ConnOf(hello *tls.ClientHelloInfo) *Conn {
	if c, ok := hello.Conn.(*carrier); ok {
		return c.conn.settle()
	}
	conn := storedConn(hello.Context())
	if conn != nil {
		// QUIC tells the address with the first packet only
		conn.once.Do(func() { conn.Local = addrPort(hello.Conn.LocalAddr()) })
	}
	return conn
}

// configForClient asks the current State for the configuration of a handshake.
func (m *Manager) configForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	conn := ConnOf(hello)
	s := m.acquire()
	if s == nil || conn == nil {
		return nil, fmt.Errorf("no configuration is being served")
	}
	defer s.release()
	e := s.lookup(conn.covered())
	if e == nil || !e.TLS || s.TLS == nil || conn.QUIC && !e.http3() {
		return nil, fmt.Errorf("%s is not served", conn.Local)
	}
	config, err := s.TLS(hello, conn)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, fmt.Errorf("no TLS configuration for %q on %s", hello.ServerName, conn.Local)
	}
	if conn.srv != nil {
		conn.srv.hide(conn)
	}
	return config, nil
}

// CertificateInstead returns the certificate that the current State has for a
// handshake whose own State finds none any more, because it was replaced and its
// certificates were dropped in the very moment between its choice of a
// configuration and that of a certificate. It returns nil if the handshake
// belongs to the current State, which is the one with this handler. What the
// connection's Handshake says does not change: its settings are those of before.
func (m *Manager) CertificateInstead(hello *tls.ClientHelloInfo, own http.Handler) *tls.Certificate {
	conn := ConnOf(hello)
	s := m.acquire()
	if s == nil {
		return nil
	}
	defer s.release()
	if conn == nil || s.Handler == own {
		return nil
	}
	e := s.lookup(conn.covered())
	if e == nil || !e.TLS || s.TLS == nil {
		return nil
	}
	if made := conn.Handshake.Load(); made != nil {
		defer conn.Handshake.Store(made)
	}
	config, err := s.TLS(hello, conn)
	if err != nil || config == nil {
		return nil
	}
	if config.GetCertificate != nil {
		if cert, err := config.GetCertificate(hello); err == nil && cert != nil {
			return cert
		}
	}
	if len(config.Certificates) > 0 {
		return &config.Certificates[0]
	}
	return nil
}

func (m *Manager) encryptedClientHelloKeys(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	s := m.acquire()
	if s == nil {
		return nil, nil
	}
	defer s.release()
	if s.EncryptedClientHelloKeys == nil {
		return nil, nil
	}
	return s.EncryptedClientHelloKeys(hello)
}
