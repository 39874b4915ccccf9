package certfile

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var errNoMatch = errors.New("the private key does not match any certificate of the file")

// choose finds the private key to use, and its certificate.
func (b *bags) choose(thumbprint string) (*tls.Certificate, error) {
	switch {
	case len(b.certs) == 0 && len(b.keys) == 0:
		return nil, errors.New("the file holds neither a certificate nor a private key")
	case len(b.certs) == 0:
		return nil, errors.New("the file holds a private key, but no certificate")
	case len(b.keys) == 0:
		return nil, errors.New("the file holds no private key, only certificates: export it again with the private key")
	case thumbprint != "":
		return b.chooseThumbprint(thumbprint)
	case len(b.keys) > 1:
		leaves, err := b.leaves()
		if err != nil {
			return nil, err
		}
		if len(leaves) > 1 {
			return nil, fmt.Errorf("the file holds several certificates with private keys: "+
				"name the one to use by its thumbprint: %s", list(leaves))
		}
	}
	return b.pair(b.keys, b.certs)
}

// chooseThumbprint finds the certificate with a thumbprint, and its key.
func (b *bags) chooseThumbprint(thumbprint string) (*tls.Certificate, error) {
	i := slices.IndexFunc(b.certs, func(c *certificate) bool { return Thumbprint(c.der) == thumbprint })
	if i < 0 {
		return nil, fmt.Errorf("the file holds no certificate with the thumbprint %s, only: %s", thumbprint, list(b.certs))
	}
	leaf := b.certs[i]
	keys := slices.Clone(b.keys)
	slices.SortStableFunc(keys, func(x, y *keyBag) int { return -compareBool(x.names(leaf), y.names(leaf)) })
	cert, err := b.pair(keys, []*certificate{leaf})
	if errors.Is(err, errNoMatch) {
		return nil, fmt.Errorf("the file holds no private key for the certificate with the thumbprint %s", thumbprint)
	}
	return cert, err
}

// leaves lists the certificates that have a private key. Where names tell,
// keys are left encrypted.
func (b *bags) leaves() (leaves []*certificate, err error) {
	for _, bag := range b.keys {
		leaf := b.named(bag)
		if leaf == nil {
			key, err := b.key(bag)
			switch {
			case errors.Is(err, ErrPassword):
				return nil, err
			case errors.Is(err, errWork):
				return nil, fmt.Errorf("the file holds %d private keys: name the certificate to use by its thumbprint, one of %s; or: %w",
					len(b.keys), list(b.certs), err)
			case err != nil:
				continue
			}
			leaf, _ = leafOf(key, bag, b.certs)
		}
		if leaf != nil && !slices.Contains(leaves, leaf) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves, nil
}

// named returns the one certificate that a key names, if it is one.
func (b *bags) named(bag *keyBag) (leaf *certificate) {
	for _, c := range b.certs {
		if bag.names(c) {
			if leaf != nil {
				return nil
			}
			leaf = c
		}
	}
	return leaf
}

// names reports whether a key names a certificate as its own.
func (k *keyBag) names(c *certificate) bool {
	return k.localKeyID != "" && k.localKeyID == c.localKeyID
}

// pair finds the first key that has a certificate.
func (b *bags) pair(keys []*keyBag, certs []*certificate) (*tls.Certificate, error) {
	var firstErr error
	for _, bag := range keys {
		key, err := b.key(bag)
		if errors.Is(err, ErrPassword) || errors.Is(err, errWork) {
			return nil, err
		}
		var leaf *certificate
		if err == nil {
			leaf, err = leafOf(key, bag, certs)
		}
		if err == nil {
			return newCertificate(chain(leaf, b.certs, false), key, leaf), nil
		}
		firstErr = cmp.Or(firstErr, err)
	}
	return nil, firstErr
}

// leafOf returns the certificate of a private key. If several are for it, as
// after a renewal, one that is valid now is taken, then the one that the key
// names, else the one that is valid longest.
func leafOf(key crypto.Signer, bag *keyBag, certs []*certificate) (*certificate, error) {
	var (
		leaf   *certificate
		broken error
	)
	for _, c := range certs {
		cert, err := c.parse()
		if err != nil {
			broken = err
			continue
		}
		if belongs(key, cert) && (leaf == nil || compareLeaves(bag, c, leaf) > 0) {
			leaf = c
		}
	}
	if leaf == nil {
		return nil, cmp.Or(broken, errNoMatch)
	}
	return leaf, nil
}

func compareLeaves(bag *keyBag, a, b *certificate) int {
	now := time.Now()
	return cmp.Or(
		compareBool(ValidAt(a.parsed, now), ValidAt(b.parsed, now)),
		compareBool(bag.names(a), bag.names(b)),
		Compare(a.parsed, b.parsed, now),
	)
}

// key decrypts and parses a private key, once.
func (b *bags) key(bag *keyBag) (crypto.Signer, error) {
	if bag.key == nil && bag.err == nil {
		der := []byte(bag.der)
		if bag.encrypted {
			der, bag.err = b.decryptKey(bag.der)
		}
		if bag.err == nil {
			bag.key, bag.err = parseKey(der)
		}
	}
	return bag.key, bag.err
}

// decryptKey decrypts an EncryptedPrivateKeyInfo.
func (b *bags) decryptKey(der cryptobyte.String) ([]byte, error) {
	alg, data, err := readEncryptedKey(der)
	if err != nil {
		return nil, err
	}
	return b.decrypt(alg, data)
}

func readEncryptedKey(der cryptobyte.String) (alg algorithm, data []byte, err error) {
	var seq cryptobyte.String
	if !der.ReadASN1(&seq, asn1.SEQUENCE) {
		return alg, nil, damaged("the private key")
	}
	alg, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1Bytes(&data, asn1.OCTET_STRING) {
		return alg, nil, damaged("the private key")
	}
	return alg, data, nil
}

// list lists certificates for a message.
func list(certs []*certificate) string {
	const most = 20
	var items []string
	for _, c := range certs {
		item := Thumbprint(c.der)
		if cert, err := c.parse(); err == nil {
			name := cert.Subject.CommonName
			if len(cert.DNSNames) > 0 {
				name = cert.DNSNames[0]
			}
			item += fmt.Sprintf(" (%q, until %s)", name, cert.NotAfter.Format("2006-01-02"))
		}
		if items = append(items, item); len(items) == most {
			break
		}
	}
	if more := len(certs) - len(items); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items, ", "), more)
	}
	return strings.Join(items, ", ")
}
