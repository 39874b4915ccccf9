// Package health examines certificates for what clients will complain about.
package health

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Problem is one thing that is wrong with a certificate.
type Problem struct {
	Code    string // one of the codes below
	Serious bool   // clients fail now, or soon
	Message string // continues a sentence that begins with the certificate's name
	Fix     string
}

// Refused reports whether browsers do not go on, whoever has issued the certificate.
func (p Problem) Refused() bool {
	switch p.Code {
	case Expired, NotYetValid, WeakKey, WeakSigned, NotForServer:
		return true
	}
	return false
}

// The codes of problems.
const (
	Expired      = "certificate-expired"
	NotYetValid  = "certificate-not-yet-valid"
	ExpiresSoon  = "certificate-expires-soon"
	NoChain      = "certificate-chain-incomplete"
	WeakKey      = "certificate-weak-key"
	WeakSigned   = "certificate-weak-signature"
	NotForServer = "certificate-not-for-servers"
	NotForTLS13  = "certificate-not-for-tls13"
)

// When a certificate is said to expire soon.
const (
	soon     = 30 * 24 * time.Hour
	verySoon = 7 * 24 * time.Hour
)

// Examine returns the problems that a certificate has whatever name it is used
// for. A short-lived certificate expires soon when less than a third of its
// life is left: the usual time to renew.
func Examine(cert *tls.Certificate, now time.Time) []Problem {
	leaf := cert.Leaf
	if leaf == nil {
		return nil
	}
	var problems []Problem
	add := func(code string, serious bool, fix, format string, args ...any) {
		problems = append(problems, Problem{Code: code, Serious: serious, Message: fmt.Sprintf(format, args...), Fix: fix})
	}
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case left <= 0:
		add(Expired, true, "renew it", "has expired on %s; browsers refuse it", leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		add(NotYetValid, true, "check the clock of this machine, or wait", "is not valid before %s; browsers refuse it", leaf.NotBefore.Format(time.DateTime))
	case left < verySoon && left < life/3:
		add(ExpiresSoon, true, "renew it now", "expires on %s, in %s", leaf.NotAfter.Format(time.DateOnly), days(left))
	case left < soon && left < life/3:
		add(ExpiresSoon, false, "renew it", "expires on %s, in %s", leaf.NotAfter.Format(time.DateOnly), days(left))
	}
	if key := weakKey(leaf); key != "" {
		add(WeakKey, true, "get a certificate with an ECDSA key or an RSA key of 2048 bits", "has %s; browsers refuse it", key)
	}
	switch leaf.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		add(WeakSigned, true, "get a new one", "is signed with %s; browsers refuse it", leaf.SignatureAlgorithm)
	}
	if !ForServers(leaf) {
		add(NotForServer, true, "get one with the extended key usage TLS web server authentication", "is not meant for servers; browsers refuse it")
	}
	if notForTLS13(cert) {
		add(NotForTLS13, true, "import it again with a key storage provider, such as certutil -csp \"Microsoft Software Key Storage Provider\" -importpfx, or set disable_tls13 in its bindings",
			"has a private key whose provider knows no RSA-PSS: clients with TLS 1.3, all of today, cannot connect")
	}
	if incompleteChain(cert, now) {
		add(NoChain, false, fmt.Sprintf("append the certificate of %q to the file", leaf.Issuer.CommonName),
			"comes without the certificate of its issuer %q; clients that do not have that one refuse it", leaf.Issuer.CommonName)
	}
	return problems
}

func days(d time.Duration) string {
	if n := int(d.Hours() / 24); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "1 day"
}

func weakKey(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return fmt.Sprintf("an RSA key of %d bits", bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < 256 {
			return fmt.Sprintf("an ECDSA key of %d bits", bits)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Sprintf("a key of the unusual kind %s", leaf.PublicKeyAlgorithm)
	}
	return ""
}

// notForTLS13 reports whether a certificate has a key that can make no signature of TLS
// 1.3 (RFC 8446 section 4.2.3), as some that Windows keeps.
func notForTLS13(cert *tls.Certificate) bool {
	able := cert.SupportedSignatureAlgorithms
	return able != nil && cert.Leaf.PublicKeyAlgorithm == x509.RSA &&
		!slices.ContainsFunc(able, func(s tls.SignatureScheme) bool {
			return s == tls.PSSWithSHA256 || s == tls.PSSWithSHA384 || s == tls.PSSWithSHA512
		})
}

// ForServers reports whether a certificate may be used by a server (RFC 5280 section
// 4.2.1.12).
func ForServers(leaf *x509.Certificate) bool {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, usage := range leaf.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth || usage == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// incompleteChain reports whether a certificate that somebody else has issued comes
// without its issuer's, be it alone or with others, and no root that the machine
// knows has issued it. With a private authority, whose roots clients have and this
// machine has not, a chain that goes on from the certificate is taken for complete.
func incompleteChain(cert *tls.Certificate, now time.Time) bool {
	leaf := cert.Leaf
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) || hasIssuer(cert) {
		return false
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return false // the dates are the problem
	}
	_, err := leaf.Verify(x509.VerifyOptions{CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err != nil
}

// hasIssuer reports whether the issuer's certificate is among those that are sent.
func hasIssuer(cert *tls.Certificate) bool {
	if len(cert.Certificate) == 0 {
		return false
	}
	return slices.ContainsFunc(cert.Certificate[1:], func(der []byte) bool {
		other, err := x509.ParseCertificate(der)
		return err == nil && bytes.Equal(other.RawSubject, cert.Leaf.RawIssuer)
	})
}

// Covers reports whether a certificate is valid for a host: a name, which may
// be a wildcard such as *.example.com, or an IP address.
func Covers(leaf *x509.Certificate, host string) bool {
	if strings.HasPrefix(host, "*.") {
		for _, name := range leaf.DNSNames {
			if strings.EqualFold(name, host) {
				return true
			}
		}
		return false
	}
	if mayBeIP(host) && net.ParseIP(host) != nil {
		return leaf.VerifyHostname("["+host+"]") == nil
	}
	// Go's comparison, without what it allocates: there may be 100,000 hosts.
	_, parent, _ := strings.Cut(host, ".")
	for _, name := range leaf.DNSNames {
		if below, wildcard := strings.CutPrefix(name, "*."); strings.EqualFold(name, host) || wildcard && parent != "" && strings.EqualFold(below, parent) {
			return true
		}
	}
	// It knows other forms of hosts, too.
	return (strings.HasSuffix(host, ".") || strings.HasPrefix(host, "[")) && leaf.VerifyHostname(host) == nil
}

// mayBeIP reports whether a text can be an IP address: it has a colon, or a digit at its
// end.
func mayBeIP(host string) bool {
	return host != "" && host[len(host)-1] >= '0' && host[len(host)-1] <= '9' || strings.Contains(host, ":")
}

// Subjects lists what a certificate is valid for. The common name counts only where there
// is nothing else: clients have stopped to look at it (RFC 9525 section 1.3).
func Subjects(leaf *x509.Certificate) []string {
	subjects := hosts(leaf)
	if len(subjects) == 0 && leaf.Subject.CommonName != "" {
		subjects = append(subjects, leaf.Subject.CommonName)
	}
	return subjects
}

// hosts lists the names and addresses that clients accept a certificate for.
func hosts(leaf *x509.Certificate) []string {
	hosts := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// Names lists what a certificate is valid for, for messages.
func Names(leaf *x509.Certificate) string {
	names := hosts(leaf)
	const most = 5
	more := len(names) - most
	if more > 0 {
		names = names[:most]
	}
	switch text := strings.Join(names, ", "); {
	case text == "":
		return "no name at all"
	case more > 0:
		return fmt.Sprintf("%s and %d more", text, more)
	default:
		return text + " only"
	}
}
