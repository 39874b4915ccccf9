package certsel

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
)

// Given is a source with one certificate, which its owner gives it and replaces. It
// gets an OCSP staple as certificates from files do.
type Given struct {
	serves atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	unload func() // from the stapler
}

// Set has a certificate served from the next handshake on. With nil there is none.
func (g *Given) Set(cert *tls.Certificate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unstaple()
	g.serves.Store(cert)
	if cert == nil {
		return
	}
	var last atomic.Pointer[tls.Certificate]
	last.Store(cert)
	g.unload = staple(cert, func(stapled *tls.Certificate) {
		if g.serves.CompareAndSwap(last.Load(), stapled) {
			last.Store(stapled)
		}
	})
}

// end stops stapling. The certificate stays where it is: a handshake may be under way.
func (g *Given) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unstaple()
}

// unstaple is end for who holds g.mu.
func (g *Given) unstaple() {
	if g.unload != nil {
		g.unload()
		g.unload = nil
	}
}

// Select implements Source.
func (g *Given) Select(*tls.ClientHelloInfo) *tls.Certificate { return g.serves.Load() }

// Current implements Source.
func (g *Given) Current() []*tls.Certificate {
	if cert := g.serves.Load(); cert != nil {
		return []*tls.Certificate{cert}
	}
	return nil
}

var _ Source = (*Given)(nil)
