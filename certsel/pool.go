package certsel

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// decoded holds certificates from files by content, across configuration
// loads: one is decoded once, however many names, sites and loads use it.
var decoded = caddy.NewUsagePool()

// decodes counts how many certificates were decoded.
var decodes atomic.Int64

// contentKey identifies a certificate in the pool by what it is decoded from.
type contentKey [sha256.Size]byte

// keyOf makes a key of everything that decoding depends on.
func keyOf(parts ...[]byte) (key contentKey) {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	h.Sum(key[:0])
	return key
}

// pooled is a certificate in the pool.
type pooled struct{ cert *tls.Certificate }

// Destruct implements caddy.Destructor; memory is all there is to free.
func (pooled) Destruct() error { return nil }

// fromFiles is the part of a source whose certificates come from files.
type fromFiles struct {
	recipes  []recipe
	certs    []*fileCert
	released bool
}

// Load loads the certificates. A file that cannot be read is an error, unless
// the certificate is known from before: then that one stays in use.
func (f *fromFiles) Load(ctx context.Context) error {
	for _, r := range f.recipes {
		val, known, err := fileCerts.LoadOrNew(r.identity(), func() (caddy.Destructor, error) {
			return newFileCert(ctx, r)
		})
		if err != nil {
			return err
		}
		cert := val.(*fileCert)
		f.certs = append(f.certs, cert)
		if known {
			cert.refresh(ctx)
		}
	}
	return nil
}

// OnReload has a function called when a certificate was reloaded.
func (f *fromFiles) OnReload(reloaded func()) {
	for _, cert := range f.certs {
		cert.listeners.listen(f, reloaded)
	}
}

// Cleanup releases the certificates. They stay where they are: a handshake of
// the configuration may still be under way.
func (f *fromFiles) Cleanup() error {
	if f.released {
		return nil
	}
	f.released = true
	var errs []error
	for _, cert := range f.certs {
		cert.listeners.listen(f, nil)
		_, err := fileCerts.Delete(cert.recipe.identity())
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Select implements Source.
func (f *fromFiles) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(f.certs) == 1 {
		return f.certs[0].serves.Load()
	}
	var buf [8]*tls.Certificate
	certs := buf[:0]
	for _, cert := range f.certs {
		certs = append(certs, cert.serves.Load())
	}
	return Choose(hello, certs)
}

// Current implements Source.
func (f *fromFiles) Current() []*tls.Certificate {
	certs := make([]*tls.Certificate, 0, len(f.certs))
	for _, cert := range f.certs {
		certs = append(certs, cert.serves.Load())
	}
	return certs
}

// Status returns how loading the files went: the worst of them.
func (f *fromFiles) Status() files.Status {
	var worst files.Status
	for i, cert := range f.certs {
		status := cert.slot.Status()
		if i == 0 || status.LastError != nil && worst.LastError == nil {
			worst = status
		}
	}
	return worst
}

// Interface guards
var (
	_ Loader   = (*fromFiles)(nil)
	_ Reloader = (*fromFiles)(nil)
)
