package certfile

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// certificate is one certificate of a file. Most are read only as far as it
// takes to put a chain in order; leaves are parsed.
type certificate struct {
	der        []byte
	localKeyID string // of a PKCS #12 bag: names the key's bag

	subject, issuer []byte // names in DER, once scanned
	parsed          *x509.Certificate
	err             error // of parsing
}

// parse parses the certificate, once.
func (c *certificate) parse() (*x509.Certificate, error) {
	if c.parsed == nil && c.err == nil {
		if c.parsed, c.err = ParseCertificate(c.der); c.err != nil {
			c.err = fmt.Errorf("certificate %s: %w", Thumbprint(c.der), c.err)
		}
	}
	return c.parsed, c.err
}

// scan reads the names of subject and issuer, at a small part of the cost of
// parsing everything.
func (c *certificate) scan() bool {
	if c.subject != nil {
		return true
	}
	var (
		in           = cryptobyte.String(c.der)
		outer, inner cryptobyte.String
		issuer       cryptobyte.String
		subject      cryptobyte.String
	)
	ok := in.ReadASN1(&outer, asn1.SEQUENCE) && outer.ReadASN1(&inner, asn1.SEQUENCE) &&
		inner.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) && // version
		inner.SkipASN1(asn1.INTEGER) && inner.SkipASN1(asn1.SEQUENCE) && // serial number, signature
		inner.ReadASN1Element(&issuer, asn1.SEQUENCE) &&
		inner.SkipASN1(asn1.SEQUENCE) && // validity
		inner.ReadASN1Element(&subject, asn1.SEQUENCE)
	if ok {
		c.issuer, c.subject = issuer, subject
	}
	return ok
}

func (c *certificate) selfIssued() bool { return bytes.Equal(c.subject, c.issuer) }

// chain returns a leaf's certificates in the order that TLS wants: the leaf,
// then each one's issuer as far as they are there. A root ends the chain, and
// stands in it only if asked for; clients have their own. What does not belong
// to the chain is left out.
func chain(leaf *certificate, others []*certificate, withRoot bool) [][]byte {
	out := [][]byte{leaf.der}
	if len(others) == 0 {
		return out
	}
	used := map[*certificate]bool{leaf: true}
	for current := leaf; current.scan() && !current.selfIssued(); {
		next := issuerOf(current, others, used)
		if next == nil || next.selfIssued() && !withRoot {
			break
		}
		used[next] = true
		out = append(out, next.der)
		current = next
	}
	return out
}

// Chain returns a certificate and those of its issuers, without a root, as far as
// they are among others: what is sent in a handshake.
func Chain(leaf *x509.Certificate, others [][]byte) [][]byte {
	candidates := make([]*certificate, len(others))
	for i, der := range others {
		candidates[i] = &certificate{der: der}
	}
	return chain(&certificate{der: leaf.Raw, parsed: leaf}, candidates, false)
}

// issuerOf finds the certificate that issued another one. Mostly there is one
// with the right name. If there are several, as after a renewal or when roots
// sign each other, or none, as when the names are encoded in two ways, key
// identifiers tell.
func issuerOf(c *certificate, others []*certificate, used map[*certificate]bool) *certificate {
	var named, rest []*certificate
	for _, other := range others {
		switch {
		case used[other] || !other.scan():
		case bytes.Equal(other.subject, c.issuer):
			named = append(named, other)
		default:
			rest = append(rest, other)
		}
	}
	switch len(named) {
	case 0:
		return byKeyID(c, rest)
	case 1:
		return named[0]
	}
	if best := byKeyID(c, named); best != nil {
		return best
	}
	return preferred(named)
}

// byKeyID picks the certificate of the key that a certificate says it was
// signed with.
func byKeyID(c *certificate, candidates []*certificate) *certificate {
	if len(candidates) == 0 {
		return nil
	}
	cert, err := c.parse()
	if err != nil || len(cert.AuthorityKeyId) == 0 {
		return nil
	}
	var matching []*certificate
	for _, other := range candidates {
		if ca, err := other.parse(); err == nil && bytes.Equal(ca.SubjectKeyId, cert.AuthorityKeyId) {
			matching = append(matching, other)
		}
	}
	if len(matching) == 0 {
		return nil
	}
	return preferred(matching)
}

// preferred picks one of certificates that are equally right: one that is
// valid now, then one that continues the chain, then the one that lasts
// longest.
func preferred(certs []*certificate) *certificate {
	now := time.Now()
	return slices.MaxFunc(certs, func(a, b *certificate) int {
		x, errX := a.parse()
		y, errY := b.parse()
		if errX != nil || errY != nil {
			return compareBool(errX == nil, errY == nil)
		}
		return cmp.Or(
			compareBool(ValidAt(x, now), ValidAt(y, now)),
			compareBool(!bytes.Equal(x.RawSubject, x.RawIssuer), !bytes.Equal(y.RawSubject, y.RawIssuer)),
			Compare(x, y, now),
		)
	})
}

// ValidAt reports whether a certificate is valid at a time, as to its dates.
func ValidAt(c *x509.Certificate, at time.Time) bool {
	return !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}

// Compare tells which of two certificates for one purpose is the better one at
// a time, as cmp.Compare does: one that is valid then, else the one that is
// valid longest.
func Compare(a, b *x509.Certificate, at time.Time) int {
	return cmp.Or(compareBool(ValidAt(a, at), ValidAt(b, at)), a.NotAfter.Compare(b.NotAfter))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}
