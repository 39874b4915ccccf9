package certsel

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
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
	certs []*tls.Certificate
	keys  []contentKey
}

// add takes a certificate from the pool, or decodes it.
func (f *fromFiles) add(key contentKey, decode func() (*tls.Certificate, error)) error {
	val, _, err := decoded.LoadOrNew(key, func() (caddy.Destructor, error) {
		decodes.Add(1)
		cert, err := decode()
		return pooled{cert}, err
	})
	if err != nil {
		return err
	}
	f.keys = append(f.keys, key)
	f.certs = append(f.certs, val.(pooled).cert)
	return nil
}

// Cleanup releases the certificates.
func (f *fromFiles) Cleanup() error {
	var errs []error
	for _, key := range f.keys {
		_, err := decoded.Delete(key)
		errs = append(errs, err)
	}
	f.keys = nil
	return errors.Join(errs...)
}

// Select implements Source.
func (f *fromFiles) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	return Choose(hello, f.certs)
}

// Current implements Source.
func (f *fromFiles) Current() []*tls.Certificate { return f.certs }
