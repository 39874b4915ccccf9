package winstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// signer is a crypto.Signer whose key Windows keeps.
type signer struct {
	public crypto.PublicKey
	key    Key
}

// newSigner returns the signer of a public key, and the signatures that it can make;
// none stands for all. It makes one and looks at it: that a store says there is a key
// does not mean that this account may use it, or that it is the right one.
func newSigner(public crypto.PublicKey, key Key) (crypto.Signer, []tls.SignatureScheme, error) {
	s := &signer{public, key}
	digest := sha256.Sum256([]byte(rand.Text()))
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		sig, err := s.Sign(nil, digest[:], crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(public, digest[:], sig) {
			err = errWrongKey
		}
		return s, nil, err
	case *rsa.PublicKey:
		schemes, err := s.tryRSA(public, digest[:])
		return s, schemes, err
	}
	return nil, nil, fmt.Errorf("keys of the kind %T are not for TLS: expected RSA or ECDSA", public)
}

var errWrongKey = errors.New("the private key is not that of the certificate")

// onlyPKCS1 are the signatures of RSA keys that know no PSS. TLS 1.3 has none of them
// (RFC 8446 section 4.2.3).
var onlyPKCS1 = []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.PKCS1WithSHA1}

func (s *signer) tryRSA(public *rsa.PublicKey, digest []byte) ([]tls.SignatureScheme, error) {
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	sig, err := s.Sign(nil, digest, pss)
	switch {
	case err == nil:
		err = rsa.VerifyPSS(public, crypto.SHA256, digest, sig, pss)
	case errors.Is(err, ErrNoPSS):
		if sig, err = s.Sign(nil, digest, crypto.SHA256); err != nil {
			return nil, err
		}
		if err = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, sig); err == nil {
			return onlyPKCS1, nil
		}
	default:
		return nil, err
	}
	if err != nil {
		return nil, errWrongKey
	}
	return nil, nil
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer. Windows has randomness of its own.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	how := Padding{Hash: opts.HashFunc()}
	if how.Hash == 0 || how.Hash.Size() != len(digest) {
		return nil, fmt.Errorf("a digest of %d bytes is none of %s", len(digest), how.Hash)
	}
	public, isRSA := s.public.(*rsa.PublicKey)
	if !isRSA {
		sig, err := s.key.Sign(digest, how)
		if err != nil {
			return nil, err
		}
		return encodeECDSA(sig)
	}
	how.Scheme = PKCS1v15
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		how.Scheme = PSS
		switch how.Salt = pss.SaltLength; how.Salt {
		case rsa.PSSSaltLengthEqualsHash:
			how.Salt = len(digest)
		case rsa.PSSSaltLengthAuto: // as long as there is room for (RFC 8017 section 9.1.1)
			how.Salt = (public.N.BitLen()-1+7)/8 - 2 - len(digest)
		}
		if how.Salt < 0 {
			return nil, errors.New("the key is too short for a signature with this hash")
		}
	}
	return s.key.Sign(digest, how)
}

// encodeECDSA turns a signature as Windows has it, two numbers of the same length, into
// one as TLS has it (RFC 3279 section 2.2.3).
func encodeECDSA(sig []byte) ([]byte, error) {
	if len(sig) == 0 || len(sig)%2 != 0 {
		return nil, fmt.Errorf("a signature of %d bytes is none of ECDSA", len(sig))
	}
	half := len(sig) / 2
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(sig[:half]))
		b.AddASN1BigInt(new(big.Int).SetBytes(sig[half:]))
	})
	return b.Bytes()
}
