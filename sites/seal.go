package sites

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// keyBytes is how long a key is that encrypts private keys: AES-256.
const keyBytes = 32

// ErrNoCertificateKey is in the error of a source that may not keep private keys.
var ErrNoCertificateKey = errors.New("the source has no key to encrypt private keys with: " +
	"add certificate_key {file./path} to it, or plain_keys if its file is safe enough for them")

// Sealer encrypts the private keys of certificates with AES-256 in GCM, bound to the
// names of their rows. It can be used by several goroutines.
type Sealer struct {
	keys  []sealerKey // the first one encrypts
	plain bool        // nothing is encrypted
}

type sealerKey struct {
	cipher.AEAD
	identity string
}

// NewSealer reads the keys that settings name.
func NewSealer(settings *CommonSettings) (*Sealer, error) {
	s := &Sealer{plain: settings.PlainKeys}
	for _, raw := range settings.CertificateKeys {
		text, err := caddy.NewReplacer().ReplaceOrErr(raw, true, true)
		if err != nil {
			return nil, fmt.Errorf("certificate_key: %w", err)
		}
		key, err := newSealerKey(text)
		if err != nil {
			return nil, fmt.Errorf("certificate_key %s: %w", raw, err)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// Seals reports whether it can keep private keys.
func (s *Sealer) Seals() bool { return s.plain || len(s.keys) > 0 }

// NewSealerWith uses the content of a key file.
func NewSealerWith(text string) (*Sealer, error) {
	key, err := newSealerKey(text)
	return &Sealer{keys: []sealerKey{key}}, err
}

// newSealerKey reads a key: 32 random bytes in base64 or hexadecimal digits. A
// passphrase is refused, since it would have to be slow to try.
func newSealerKey(text string) (sealerKey, error) {
	text = strings.TrimSpace(text)
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != keyBytes {
		secret, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(secret) != keyBytes {
		return sealerKey{}, errors.New("it is not 32 random bytes in base64 or hexadecimal digits: make one with openssl rand -base64 32")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "caddy-iis private keys of certificates", keyBytes)
	if err != nil {
		return sealerKey{}, err
	}
	identity, err := hkdf.Key(sha256.New, secret, nil, "caddy-iis identity of a key", 8)
	if err != nil {
		return sealerKey{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealerKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealerKey{aead, hex.EncodeToString(identity)}, err
}

// bound is what the ciphertext of a row belongs to.
func bound(name string) []byte { return []byte("certificate\x00" + name) }

func (s *Sealer) seal(name string, der []byte) (sealedKey, error) {
	switch {
	case len(s.keys) > 0:
		key := s.keys[0]
		nonce := make([]byte, key.NonceSize(), key.NonceSize()+len(der)+key.Overhead())
		_, _ = rand.Read(nonce) // never fails
		return sealedKey{Sealed: key.Seal(nonce, nonce, der, bound(name)), With: key.identity}, nil
	case s.plain:
		return sealedKey{Plain: der}, nil
	}
	return sealedKey{}, ErrNoCertificateKey
}

func (s *Sealer) open(name string, k sealedKey) ([]byte, error) {
	if k.With == "" {
		return k.Plain, nil
	}
	for _, key := range s.keys {
		if key.identity != k.With {
			continue
		}
		if len(k.Sealed) < key.NonceSize() {
			return nil, errors.New("its encrypted private key is damaged")
		}
		der, err := key.Open(nil, k.Sealed[:key.NonceSize()], k.Sealed[key.NonceSize():], bound(name))
		if err != nil {
			return nil, errors.New("its encrypted private key is damaged, or that of another certificate")
		}
		return der, nil
	}
	return nil, fmt.Errorf("its private key is encrypted with another key (%s) than certificate_key has", k.With)
}
