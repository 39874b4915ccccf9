package certfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
)

// newCertificate puts a certificate together.
func newCertificate(chain [][]byte, key crypto.Signer, leaf *certificate) *tls.Certificate {
	return &tls.Certificate{Certificate: chain, PrivateKey: apart(key), Leaf: leaf.parsed}
}

// apart returns a key that has few neighbours in memory.
//
// Package crypto/ecdsa finds what it keeps for a key by a weak pointer, and the
// runtime finds that in a list of those to all objects in the same 8 KiB. Keys
// that are read one after the other lie there by the hundred, and the list is
// gone through in every handshake. It does no harm should either change.
func apart(key crypto.Signer) crypto.Signer {
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		return &(&roomyKey{key: *k}).key
	}
	return key
}

// roomyKey is a key in an object of 1 KiB.
type roomyKey struct {
	key ecdsa.PrivateKey
	_   [960]byte
}
