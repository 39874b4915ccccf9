package front

import (
	"crypto/tls"
	"errors"
	"testing"
)

// A handshake whose State has dropped its certificates meanwhile takes that of
// the State that answers now, and keeps what was noted of it.
func TestCertificateInstead(t *testing.T) {
	cert, _ := authority()
	m, port := newManager(t), freePort(t)
	a, b := newState("a", secure(loopback, port)), newState("b", secure(loopback, port))
	gone := errors.New("no certificate any more")
	var instead, own *tls.Certificate
	a.TLS = func(_ *tls.ClientHelloInfo, conn *Conn) (*tls.Config, error) {
		conn.Handshake.Store("a")
		return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			own = m.CertificateInstead(hello, a.Handler)
			replace(t, m, a, b)
			instead = m.CertificateInstead(hello, a.Handler)
			if made := ConnOf(hello).Handshake.Load(); made != "a" {
				t.Errorf("the connection is noted as made by %v", made)
			}
			if instead == nil {
				return nil, gone
			}
			return instead, nil
		}}, nil
	}
	b.TLS = func(_ *tls.ClientHelloInfo, conn *Conn) (*tls.Config, error) {
		conn.Handshake.Store("b")
		return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if ConnOf(hello).Handshake.Load() != "b" { // what chooses a certificate may look there
				return nil, gone
			}
			return &cert, nil
		}}, nil
	}
	aHandler, bHandler := &named{"a"}, &named{"b"}
	a.Handler, b.Handler = aHandler, bHandler
	install(t, m, a)
	expect(t, client1(t), url("https", loopback, port), "b")
	if own != nil {
		t.Error("the current State was asked in its own place")
	}
	if instead == nil {
		t.Error("no certificate of the State that answers")
	}
}
