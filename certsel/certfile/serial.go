package certfile

import (
	"crypto/x509"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ParseCertificate parses a certificate as crypto/x509 does, and takes also those
// with a negative serial number: old tools of Windows wrote them (RFC 5280 section
// 4.1.2.2 has users handle them gracefully), and IIS and OpenSSL serve them.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err == nil {
		return cert, nil
	}
	positive, tbs, serial, ok := withPositiveSerial(der)
	if !ok {
		return nil, err
	}
	if cert, err = x509.ParseCertificate(positive); err != nil {
		return nil, err
	}
	cert.Raw, cert.RawTBSCertificate, cert.SerialNumber = der, tbs, serial
	return cert, nil
}

// withPositiveSerial returns a copy of a certificate in which the bytes of its
// negative serial number stand for a positive one; its signed part as it is; and
// the number. It is not ok if the serial number is not negative.
func withPositiveSerial(der []byte) (positive, tbs []byte, serial *big.Int, ok bool) {
	var (
		in               = cryptobyte.String(der)
		outer, inner     cryptobyte.String
		version, element cryptobyte.String
		number           cryptobyte.String
	)
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1Element(&element, asn1.SEQUENCE) {
		return nil, nil, nil, false
	}
	tbs = element
	if !element.ReadASN1(&inner, asn1.SEQUENCE) {
		return nil, nil, nil, false
	}
	tag := asn1.Tag(0).ContextSpecific().Constructed()
	if inner.PeekASN1Tag(tag) && !inner.ReadASN1Element(&version, tag) {
		return nil, nil, nil, false
	}
	serial = new(big.Int)
	whole := inner
	if !inner.ReadASN1(&number, asn1.INTEGER) || !whole.ReadASN1Integer(serial) || serial.Sign() >= 0 {
		return nil, nil, nil, false
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(version)
			b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
				b.AddUint8(0)
				b.AddBytes(number)
			})
			b.AddBytes(inner)
		})
		b.AddBytes(outer)
	})
	positive, err := b.Bytes()
	return positive, tbs, serial, err == nil
}
