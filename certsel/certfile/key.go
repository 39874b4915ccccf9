package certfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxKeySize bounds private keys in DER: parsing a key checks it, which takes
// long for absurd sizes. An RSA key of 16384 bits has 9,300 bytes.
const maxKeySize = 12 << 10

var errKeySize = errors.New("the private key is larger than RSA with 16384 bits")

// parseKey parses a PKCS #8 private key.
func parseKey(der []byte) (crypto.Signer, error) {
	if len(der) > maxKeySize {
		return nil, errKeySize
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if alg, ok := keyAlgorithm(der); ok && algorithmNames[alg.oid] != "" {
			return nil, alg.unsupported("private key")
		}
		return nil, fmt.Errorf("private key: %w", err)
	}
	return signer(key)
}

// parsePKCS1 parses the traditional form of an RSA private key.
func parsePKCS1(der []byte) (crypto.Signer, error) {
	if len(der) > maxKeySize {
		return nil, errKeySize
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return key, nil
}

// parseSEC1 parses the traditional form of an ECDSA private key.
func parseSEC1(der []byte) (crypto.Signer, error) {
	if len(der) > maxKeySize {
		return nil, errKeySize
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return key, nil
}

// signer returns a parsed key if it is of a kind that TLS can use.
func signer(key any) (crypto.Signer, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, errors.New("unsupported private key: it is for key agreement, not for certificates")
	}
}

// keyAlgorithm returns the algorithm of a PKCS #8 private key.
func keyAlgorithm(der cryptobyte.String) (algorithm, bool) {
	var (
		seq     cryptobyte.String
		version int
	)
	if !der.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&version) {
		return algorithm{}, false
	}
	return readAlgorithm(&seq)
}

// belongs reports whether a certificate is for the key.
func belongs(key crypto.Signer, cert *x509.Certificate) bool {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(cert.PublicKey)
}
