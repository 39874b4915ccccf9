package winstore

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// Certificate is a certificate of a store.
type Certificate struct {
	Item
	Store      string
	Thumbprint string
	Leaf       *x509.Certificate
}

// String names a certificate for messages.
func (c *Certificate) String() string {
	return fmt.Sprintf("%s in %s, valid from %s to %s", c.Thumbprint, c.Store,
		c.Leaf.NotBefore.Format(time.DateOnly), c.Leaf.NotAfter.Format(time.DateOnly))
}

// sameAs reports whether two certificates are one, with one key. The same certificate can
// come with a key that was imported anew, and the former one may be gone.
func (c *Certificate) sameAs(other *Certificate) bool {
	return c.Store == other.Store && c.KeyName == other.KeyName && bytes.Equal(c.DER, other.DER)
}

// Query says which certificate is wanted, by one of its three names.
type Query struct {
	Thumbprint   string // as certfile.Thumbprint writes it
	Subject      string // as health.Subjects has it
	FriendlyName string
	Stores       []string
}

// String says what is looked for.
func (q Query) String() string {
	switch {
	case q.Thumbprint != "":
		return "with the thumbprint " + q.Thumbprint
	case q.Subject != "":
		return fmt.Sprintf("for the subject %q", q.Subject)
	}
	return fmt.Sprintf("with the friendly name %q", q.FriendlyName)
}

// names are what the names of certificates are compared with, whatever the query is by.
// There may be several readings of one subject: of a host, an address, a common name.
func (q Query) names() []string {
	switch {
	case q.Thumbprint != "":
		return []string{byThumbprint + q.Thumbprint}
	case q.FriendlyName != "":
		return []string{byFriendlyName + strings.ToLower(q.FriendlyName)}
	}
	names := []string{bySubject + strings.ToLower(q.Subject)}
	if ascii, err := idn.ToASCII(q.Subject); err == nil {
		names = append(names, bySubject+ascii)
	}
	if ip, err := netip.ParseAddr(q.Subject); err == nil {
		names = append(names, bySubject+ip.String())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// The kinds of names that a listing is looked up by.
const (
	byThumbprint   = "t "
	byFriendlyName = "f "
	bySubject      = "s "
)

// names are the names of a certificate.
func (c *Certificate) names() []string {
	names := []string{byThumbprint + c.Thumbprint}
	if c.FriendlyName != "" {
		names = append(names, byFriendlyName+strings.ToLower(c.FriendlyName))
	}
	for _, subject := range health.Subjects(c.Leaf) {
		names = append(names, bySubject+strings.ToLower(subject))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// suits reports whether a certificate that was found is one to serve, and if not why. A
// thumbprint names one certificate, be it what it may; behind other names there are also
// those of clients, of authorities, and renewals that wait for their certificate.
func (q Query) suits(c *Certificate) (problem string) {
	switch {
	case !c.HasKey:
		return "it has no private key there"
	case q.Thumbprint == "" && c.Leaf.IsCA && c.Leaf.BasicConstraintsValid && !selfSigned(c.Leaf):
		return "it is that of an authority"
	case q.Thumbprint == "" && !health.ForServers(c.Leaf):
		return "it is not meant for servers"
	}
	return ""
}

// selfSigned certificates of tests are often marked as authorities.
func selfSigned(c *x509.Certificate) bool { return string(c.RawSubject) == string(c.RawIssuer) }

// compare orders certificates of one name, the best first: those that are valid before
// others, and of these the newest, since whoever renews does it before the end. Self-signed
// ones come last among the valid ones: they were made to try something, often after the
// certificate that clients trust. Of the others, the one that is valid longest.
func compare(a, b *Certificate, now time.Time) int {
	validA, validB := certfile.ValidAt(a.Leaf, now), certfile.ValidAt(b.Leaf, now)
	selfA, selfB := selfSigned(a.Leaf), selfSigned(b.Leaf)
	switch {
	case validA && validB && selfA == selfB:
		return cmp.Or(b.Leaf.NotBefore.Compare(a.Leaf.NotBefore), b.Leaf.NotAfter.Compare(a.Leaf.NotAfter), cmp.Compare(a.Thumbprint, b.Thumbprint))
	case validA && (!validB || selfB):
		return -1
	case validB:
		return 1
	}
	return cmp.Or(b.Leaf.NotAfter.Compare(a.Leaf.NotAfter), cmp.Compare(a.Thumbprint, b.Thumbprint))
}
