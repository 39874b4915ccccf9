package certfile

import (
	"bytes"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Options tell how to open a PFX file.
type Options struct {
	// The password of the file, empty if it has none.
	Password string

	// The SHA-1 thumbprint of the certificate to take, in any of the forms
	// that ParseThumbprint knows. Needed only if the file has several private
	// keys.
	Thumbprint string
}

// PFX decodes a PKCS #12 file, the form in which Windows exports certificates
// with their private keys.
//
// The leaf is the certificate of the private key, or the one with the
// thumbprint; intermediates follow in order, the root is left out. Without a
// password, files with an empty one open too. The error is ErrPassword if
// the password is wrong.
func PFX(data []byte, opts Options) (*tls.Certificate, error) {
	thumbprint, err := ParseThumbprint(opts.Thumbprint)
	if err != nil {
		return nil, err
	}
	outer, err := parsePFX(data)
	if err != nil {
		return nil, err
	}
	w := &work{left: maxWork}
	for _, pw := range secrets(opts.Password) {
		bags, err := outer.open(pw, w)
		if err == nil {
			var cert *tls.Certificate
			if cert, err = bags.choose(thumbprint); err == nil {
				return cert, nil
			}
		}
		if !errors.Is(err, ErrPassword) {
			return nil, err
		}
	}
	if opts.Password == "" {
		return nil, fmt.Errorf("%w: the file has a password, and none is given", ErrPassword)
	}
	return nil, fmt.Errorf("%w, or the file is damaged", ErrPassword)
}

const (
	oidData          = "1.2.840.113549.1.7.1"
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidEnvelopedData = "1.2.840.113549.1.7.3"
	oidEncryptedData = "1.2.840.113549.1.7.6"
	oidPBMAC1        = "1.2.840.113549.1.5.14"
)

var contextTag0 = asn1.Tag(0).ContextSpecific()

// pfx is the outer layer of a file.
type pfx struct {
	content []byte
	mac     *mac // nil if there is none
}

// mac protects the content of a file, and tells whether a password is right.
type mac struct {
	alg        algorithm
	digest     []byte
	salt       []byte
	iterations int64
}

func parsePFX(data []byte) (*pfx, error) {
	if len(data) > MaxFileSize {
		return nil, errSize
	}
	if err := notPFX(data); err != nil {
		return nil, err
	}
	der, err := toDER(data)
	if err != nil {
		return nil, err
	}
	var (
		in      = cryptobyte.String(der)
		seq     cryptobyte.String
		version int
	)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&version) || version != 3 {
		return nil, errors.New("not a PFX file (PKCS #12, version 3)")
	}
	info, err := readContentInfo(&seq)
	if err != nil {
		return nil, err
	}
	p := new(pfx)
	switch {
	case info.oid == oidSignedData:
		return nil, errors.New("the file is protected by a signature instead of a password: export it again with a password")
	case info.oid != oidData:
		return nil, damaged("the content")
	case !info.content.ReadASN1Bytes(&p.content, asn1.OCTET_STRING):
		return nil, damaged("the content")
	}
	if !seq.Empty() {
		if p.mac = readMAC(&seq); p.mac == nil {
			return nil, damaged("the MAC")
		}
	}
	return p, nil
}

// notPFX tells what a file is that is obviously no PFX file.
func notPFX(data []byte) error {
	trimmed := bytes.TrimSpace(plainText(data))
	switch {
	case len(trimmed) == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		return errors.New("the file is a PEM file, not a PFX file: use the certificate source pem")
	case bytes.HasPrefix(trimmed, []byte("MII")):
		return errors.New("the file is a PFX file in base64: decode it first, for instance with base64 -d, or certutil -decode on Windows")
	}
	if length, header, ok := readHeader(data); ok && length > len(data)-header {
		return fmt.Errorf("%w: it ends after %d of %d bytes", errDamaged, len(data), length+header)
	}
	return nil
}

// contentInfo is a ContentInfo of PKCS #7.
type contentInfo struct {
	oid     string
	content cryptobyte.String
}

func readContentInfo(s *cryptobyte.String) (info contentInfo, err error) {
	alg, ok := readAlgorithm(s) // which has the same form
	if !ok || !alg.params.ReadASN1(&info.content, contextTag0.Constructed()) {
		return info, damaged("the content")
	}
	info.oid = alg.oid
	return info, nil
}

func readMAC(s *cryptobyte.String) *mac {
	var (
		seq, digestInfo cryptobyte.String
		m               = mac{iterations: 1}
		ok              bool
	)
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&digestInfo, asn1.SEQUENCE) {
		return nil
	}
	if m.alg, ok = readAlgorithm(&digestInfo); !ok || !digestInfo.ReadASN1Bytes(&m.digest, asn1.OCTET_STRING) ||
		!seq.ReadASN1Bytes(&m.salt, asn1.OCTET_STRING) {
		return nil
	}
	if !seq.Empty() && !seq.ReadASN1Integer(&m.iterations) {
		return nil
	}
	return &m
}

// verify returns ErrPassword if the MAC is another one.
func (m *mac) verify(content []byte, pw secret, w *work) error {
	sum, err := m.compute(content, pw, w)
	if err != nil {
		return err
	}
	if !hmac.Equal(sum, m.digest) {
		return ErrPassword
	}
	return nil
}

func (m *mac) compute(content []byte, pw secret, w *work) ([]byte, error) {
	if m.alg.oid == oidPBMAC1 {
		return m.pbmac1(content, pw.utf8, w)
	}
	newHash, ok := digests[m.alg.oid]
	if !ok {
		return nil, m.alg.unsupported("MAC")
	}
	key, err := pkcs12Key(newHash, keyForMAC, pw.bmp, m.salt, m.iterations, newHash().Size(), w)
	if err != nil {
		return nil, err
	}
	h := hmac.New(newHash, key)
	h.Write(content)
	return h.Sum(nil), nil
}

// pbmac1 computes a MAC as RFC 9579 says.
func (m *mac) pbmac1(content []byte, password string, w *work) ([]byte, error) {
	params, seq := m.alg.params, cryptobyte.String(nil)
	if !params.ReadASN1(&seq, asn1.SEQUENCE) {
		return nil, damaged("the MAC")
	}
	kdf, ok1 := readAlgorithm(&seq)
	scheme, ok2 := readAlgorithm(&seq)
	if !ok1 || !ok2 {
		return nil, damaged("the MAC")
	}
	newHash, ok := hmacs[scheme.oid]
	if !ok {
		return nil, scheme.unsupported("MAC")
	}
	key, err := pkcs5Key(kdf, password, 0, w)
	if err != nil {
		return nil, err
	}
	h := hmac.New(newHash, key)
	h.Write(content)
	return h.Sum(nil), nil
}
