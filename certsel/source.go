package certsel

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// Source provides the certificates that stand behind one name of the
// configuration. Sources are modules in the namespace iis.certificates.
type Source interface {
	// Select returns the certificate for a handshake, or nil while there is
	// none. It is called in every handshake and must neither block nor
	// allocate.
	Select(hello *tls.ClientHelloInfo) *tls.Certificate

	// Current lists what Select chooses from at this moment, for checks and
	// for the admin API.
	Current() []*tls.Certificate
}

// Loader is implemented by sources that read something when the configuration
// is loaded. Load is called after the module was provisioned; the sources of a
// configuration are loaded concurrently.
type Loader interface {
	Load(ctx context.Context) error
}

// Reloader is implemented by sources whose certificates change while a
// configuration serves.
type Reloader interface {
	// OnReload has a function called after each change, until the source is
	// cleaned up.
	OnReload(reloaded func())

	// Status says how loading went.
	Status() files.Status
}

// Starter is implemented by sources with work to do once the configuration
// is otherwise known to be good.
type Starter interface {
	// Start makes certificates ready that can be had without waiting for
	// somebody else, such as a certificate authority on the network.
	Start() error

	// Commit is called when the configuration serves: what needs the running
	// server, such as ACME challenges, begins here. It must not block.
	Commit()
}

// Choose returns the certificate of a list that suits a client best: the
// first that it supports and that is valid now, else the last that it
// supports, else the first. These are the rules of certmagic's
// DefaultCertificateSelector, without copying certificates and without regard
// to the server name.
func Choose(hello *tls.ClientHelloInfo, certs []*tls.Certificate) *tls.Certificate {
	switch len(certs) {
	case 0:
		return nil
	case 1:
		return certs[0]
	}
	// What the client can verify matters here, not whether the certificate
	// covers the name: bindings have decided that it serves.
	client := *hello
	client.ServerName = ""
	now := time.Now()
	best := certs[0]
	for _, cert := range certs {
		if err := client.SupportsCertificate(cert); err != nil {
			continue
		}
		best = cert
		if leaf := cert.Leaf; leaf != nil && now.After(leaf.NotBefore) && now.Before(leaf.NotAfter) {
			return cert
		}
	}
	return best
}
