package certfile

import (
	"bytes"
	"crypto"
	encodingasn1 "encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what one file holds.
const (
	maxCertificates = 1000
	maxKeys         = 100
)

const (
	oidKeyBag          = "1.2.840.113549.1.12.10.1.1"
	oidShroudedKeyBag  = "1.2.840.113549.1.12.10.1.2"
	oidCertBag         = "1.2.840.113549.1.12.10.1.3"
	oidSafeContentsBag = "1.2.840.113549.1.12.10.1.6"
	oidX509Certificate = "1.2.840.113549.1.9.22.1"
	oidLocalKeyID      = "1.2.840.113549.1.9.21"
)

// bags is what a PFX file holds, opened with a password.
type bags struct {
	pw       secret
	verified bool // the password is right, the MAC says
	work     *work
	certs    []*certificate
	keys     []*keyBag
}

// keyBag is a private key, decrypted only when it is needed: that may take
// long.
type keyBag struct {
	localKeyID string
	der        cryptobyte.String // PKCS #8, encrypted or not
	encrypted  bool

	key crypto.Signer // once parsed
	err error         // of that
}

// open checks the password, and reads what is behind it.
func (p *pfx) open(pw secret, w *work) (*bags, error) {
	if p.mac != nil {
		if err := p.mac.verify(p.content, pw, w); err != nil {
			return nil, err
		}
	}
	b := &bags{pw: pw, verified: p.mac != nil, work: w}
	return b, b.readSafe(p.content)
}

var errOtherPassword = errors.New("a part of the file is encrypted with another password than the file itself: " +
	"export it again with one password")

// decrypt decrypts a part of the file.
func (b *bags) decrypt(alg algorithm, data []byte) ([]byte, error) {
	plain, err := decrypt(alg, data, b.pw, b.work)
	if b.verified && errors.Is(err, ErrPassword) {
		return nil, errOtherPassword
	}
	return plain, err
}

// readSafe reads an AuthenticatedSafe.
func (b *bags) readSafe(content []byte) error {
	der, err := toDER(content)
	if err != nil {
		return err
	}
	var (
		in  = cryptobyte.String(der)
		seq cryptobyte.String
	)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) {
		return damaged("the content")
	}
	for !seq.Empty() {
		info, err := readContentInfo(&seq)
		if err != nil {
			return err
		}
		contents, err := b.plain(info)
		if err != nil {
			return err
		}
		if err := b.readContents(contents, maxDepth); err != nil {
			return err
		}
	}
	return nil
}

// plain returns the SafeContents of a part of the file.
func (b *bags) plain(info contentInfo) ([]byte, error) {
	var (
		seq, inner cryptobyte.String
		oid        encodingasn1.ObjectIdentifier
		version    int
		encrypted  []byte
	)
	switch info.oid {
	case oidData:
		if !info.content.ReadASN1(&inner, asn1.OCTET_STRING) {
			return nil, damaged("the content")
		}
		return inner, nil
	case oidEnvelopedData:
		return nil, errors.New("a part of the file is encrypted with a public key instead of a password: export it again with a password")
	case oidEncryptedData:
	default:
		return nil, algorithm{oid: info.oid}.unsupported("content")
	}
	if !info.content.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&version) ||
		!seq.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1ObjectIdentifier(&oid) {
		return nil, damaged("encrypted data")
	}
	alg, ok := readAlgorithm(&inner)
	if !ok || !readOctets(&inner, &encrypted, contextTag0) {
		return nil, damaged("encrypted data")
	}
	return b.decrypt(alg, encrypted)
}

// readContents reads SafeContents, which may hold others.
func (b *bags) readContents(contents []byte, depth int) error {
	der, err := toDER(contents)
	if err != nil {
		return err
	}
	var (
		in  = cryptobyte.String(der)
		seq cryptobyte.String
	)
	if depth == 0 || !in.ReadASN1(&seq, asn1.SEQUENCE) {
		return damaged("the content")
	}
	for !seq.Empty() {
		bag, ok := readAlgorithm(&seq) // a type, a value, and attributes
		var value cryptobyte.String
		if !ok || !bag.params.ReadASN1(&value, contextTag0.Constructed()) {
			return damaged("an entry")
		}
		if err := b.readBag(bag.oid, value, localKeyID(bag.params), depth); err != nil {
			return err
		}
	}
	return nil
}

// readBag keeps certificates and private keys; other entries do not matter.
func (b *bags) readBag(oid string, value cryptobyte.String, id string, depth int) error {
	switch oid {
	case oidCertBag:
		bag, ok := readAlgorithm(&value) // a type and a value
		var octets, der cryptobyte.String
		if !ok || !bag.params.ReadASN1(&octets, contextTag0.Constructed()) || !octets.ReadASN1(&der, asn1.OCTET_STRING) {
			return damaged("a certificate")
		}
		if bag.oid == oidX509Certificate {
			b.addCertificate(der, id)
		}
	case oidKeyBag, oidShroudedKeyBag:
		b.keys = append(b.keys, &keyBag{localKeyID: id, der: value, encrypted: oid == oidShroudedKeyBag})
	case oidSafeContentsBag:
		return b.readContents(value, depth-1)
	}
	if len(b.certs) > maxCertificates || len(b.keys) > maxKeys {
		return fmt.Errorf("the file holds more than %d certificates or %d private keys", maxCertificates, maxKeys)
	}
	return nil
}

// addCertificate adds a certificate unless it is there already.
func (b *bags) addCertificate(der []byte, id string) {
	for _, cert := range b.certs {
		if string(cert.der) == string(der) {
			if cert.localKeyID == "" {
				cert.localKeyID = id
			}
			return
		}
	}
	b.certs = append(b.certs, &certificate{der: bytes.Clone(der), localKeyID: id}) // not the rest of the file
}

// localKeyID finds the attribute that a private key and its certificate have
// in common.
func localKeyID(attributes cryptobyte.String) string {
	var set cryptobyte.String
	if !attributes.ReadASN1(&set, asn1.SET) {
		return ""
	}
	for !set.Empty() {
		var values, id cryptobyte.String
		attr, ok := readAlgorithm(&set) // a type and a set of values
		if !ok {
			return ""
		}
		if attr.oid == oidLocalKeyID && attr.params.ReadASN1(&values, asn1.SET) && values.ReadASN1(&id, asn1.OCTET_STRING) {
			return string(id)
		}
	}
	return ""
}
