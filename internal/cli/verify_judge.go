package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// Class is what became of a comparison.
type Class string

// The classes, from the best to the worst.
const (
	// ClassExpected: it is as the tables say, and no error.
	ClassExpected Class = "expected"
	// ClassUnknown: whether it is right cannot be told from outside, such as an
	// answer with status 404.
	ClassUnknown Class = "unknown"
	// ClassDiffers: it is not as the tables say, or not as on the other server.
	ClassDiffers Class = "differs"
	// ClassBroken: a visitor gets an error, or nothing.
	ClassBroken Class = "broken"
)

// classes are all, the worst first.
var classes = []Class{ClassBroken, ClassDiffers, ClassUnknown, ClassExpected}

// Reason is why a comparison is not as expected.
type Reason struct {
	Class Class `json:"class"`

	// Cause is what comparisons are grouped by.
	Cause string `json:"cause"`

	// Message is the cause with what is particular to this comparison.
	Message string `json:"message"`
}

// judge keeps the reasons and the class that follows from them.
func (c *Comparison) judge(reasons []Reason) {
	c.Reasons, c.Class = reasons, ClassExpected
	for _, class := range classes {
		if slices.ContainsFunc(reasons, func(r Reason) bool { return r.Class == class }) {
			c.Class = class
			return
		}
	}
}

// expect takes from an explanation what can be compared.
func expect(x adminapi.Explanation, protocol string) Expectation {
	var want Expectation
	if h := x.Handshake; h != nil {
		want.Handshake = h.Outcome
		want.Certificate = h.Certificate
		want.ClientCertificate = h.ClientCertificate
		want.NotOffered = len(h.Protocols) > 0 && !slices.Contains(h.Protocols, protocol)
		want.refusal, want.deliberate, want.unavailable = h.Reason, h.Deliberate, h.Outcome == adminapi.OutcomeRefused && h.Record != ""
		if h.Leaf != nil {
			want.SHA256 = h.Leaf.SHA256
		}
	}
	if r := x.Request; r != nil {
		want.Request, want.Site, want.Status = r.Outcome, r.Site, r.Status
	}
	return want
}

// own judges what this server did.
func (v Verification) own(c *Comparison) []Reason {
	want, got := c.Expected, c.Got
	one := func(class Class, cause, format string, args ...any) []Reason {
		return []Reason{{class, cause, fmt.Sprintf(format, args...)}}
	}
	switch {
	case got.NotTried && !got.Unreachable:
		return one(ClassUnknown, "not tried: "+got.Error, "not tried, since the connections before it to %s have all failed: %s", c.Address, got.Error)
	case want.NotOffered && (got.Refused || got.Unreachable):
		return nil
	case want.NotOffered:
		return one(ClassDiffers, c.Protocol+" is offered, which the configuration leaves out", "the server speaks %s, which the configuration leaves out", c.Protocol)
	case got.Unreachable:
		return one(ClassBroken, "nothing answers: "+got.Error, "nothing answers at %s: %s", c.Address, got.Error)
	case want.Handshake == adminapi.OutcomeRefused && got.Refused && !c.idle && (want.unavailable || c.named && !want.deliberate):
		return one(ClassBroken, "the handshake is refused: "+want.refusal, "the handshake is refused: %s", want.refusal)
	case want.Handshake == adminapi.OutcomeRefused && got.Refused:
		return nil
	case want.Handshake == adminapi.OutcomeRefused:
		return one(ClassDiffers, "a handshake that was to be refused is not", "the handshake was to be refused, but certificate %s came", got.certificate())
	case want.ClientCertificate != "" && got.Status == 0 && got.alert || want.ClientCertificate == adminapi.CertificateRequired && v.client == nil && got.Status == 0 && !got.silent:
		return one(ClassUnknown, "a client certificate is demanded", "the server demands a client certificate: --cert and --key name one that it takes (%s)", got.Error)
	case got.Refused:
		return one(ClassBroken, "the handshake fails: "+got.Error, "the handshake fails (%s), instead of certificate %q", got.Error, want.Certificate)
	}
	return slices.Concat(v.certificate(c), v.answer(c), c.body())
}

// body judges whether the answer has come as a whole.
func (c *Comparison) body() []Reason {
	switch got := c.Got; {
	case got.Status == 0 || got.Error == "":
		return nil
	case got.endless:
		return []Reason{{ClassUnknown, "the answer does not end", "the answer has not ended within the time: " + got.Error}}
	default:
		return []Reason{{ClassBroken, "the answer is cut off", "the answer is cut off: " + got.Error}}
	}
}

// certificate judges the certificate that came, as a browser would where it is
// that of a site.
func (v Verification) certificate(c *Comparison) []Reason {
	want, got := c.Expected, c.Got
	var reasons []Reason
	if want.SHA256 != "" && got.SHA256 != want.SHA256 {
		reasons = append(reasons, Reason{ClassDiffers, "another certificate", fmt.Sprintf("certificate %s instead of %q", got.certificate(), want.Certificate)})
	}
	if len(got.chain) == 0 || want.Request != adminapi.OutcomeSite || !c.named && c.SNI != "" {
		return reasons
	}
	leaf := got.chain[0]
	broken := func(cause, format string, args ...any) {
		reasons = append(reasons, Reason{ClassBroken, "browsers refuse the certificate: " + cause, fmt.Sprintf("browsers refuse certificate %s: "+format, append([]any{got.certificate()}, args...)...)})
	}
	if c.SNI != "" && !health.Covers(leaf, c.Host) {
		broken("it is for other names", "it is for %s", health.Names(leaf))
	}
	for _, problem := range health.Examine(&tls.Certificate{Leaf: leaf}, time.Now()) {
		if problem.Refused() {
			broken(problem.Code, "it %s", strings.TrimSuffix(problem.Message, "; browsers refuse it"))
			return reasons
		}
	}
	options := x509.VerifyOptions{Roots: v.roots, Intermediates: x509.NewCertPool()}
	for _, cert := range got.chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		issuer := cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())
		broken(fmt.Sprintf("its issuer %q is not trusted", issuer),
			"nobody whom this machine trusts is behind its issuer %q; if clients do, --roots names the file of the authority, or internal for Caddy's own", issuer)
	}
	return reasons
}

// answer judges the answer to the request.
func (v Verification) answer(c *Comparison) []Reason {
	want, got := c.Expected, c.Got
	one := func(class Class, cause, format string, args ...any) []Reason {
		return []Reason{{class, cause, fmt.Sprintf(format, args...)}}
	}
	routes := want.Request == adminapi.OutcomeSite || want.Request == adminapi.OutcomeServer
	switch {
	case want.Request == adminapi.OutcomeSite && got.InvalidHost:
		return one(ClassDiffers, "no site answers", "no site answers (%d, %s), instead of site %d", got.Status, headingInvalidHost, want.Site)
	case v.client != nil && want.ClientCertificate != "" && routes:
		return c.routes() // what the tables say is for clients without certificate
	case want.Status == 0 && routes:
		return c.routes()
	case want.Request == adminapi.OutcomeHeldBack && len(c.faults) == 0:
		return one(ClassBroken, "a binding is not served", "%s%s, since the site or its binding is held back", statusText(got.Status), ofSite(want))
	case got.Status == want.Status && (got.Status != 0 || !got.silent):
		return nil // whatever it is, the configuration wants it so
	case got.Status == 0:
		return one(ClassBroken, "no answer: "+got.Error, "no answer (%s), instead of %s", got.Error, statusText(want.Status))
	}
	return one(statusClass(got.Status, ClassDiffers), fmt.Sprintf("%s instead of %s", statusText(got.Status), statusText(want.Status)),
		"%s instead of %s%s", statusText(got.Status), statusText(want.Status), ofSite(want))
}

func ofSite(want Expectation) string {
	if want.Site == 0 {
		return ""
	}
	return fmt.Sprintf(" of site %d", want.Site)
}

// statusClass is broken for errors of the server, else the other one.
func statusClass(status int, other Class) Class {
	if status >= http.StatusInternalServerError {
		return ClassBroken
	}
	return other
}

// routes judges what the routes of a site have answered.
func (c *Comparison) routes() []Reason {
	got := c.Got
	by := "the answer"
	if c.Expected.Request == adminapi.OutcomeSite {
		by = fmt.Sprintf("site %d", c.Expected.Site)
	}
	one := func(class Class, cause, format string, args ...any) []Reason {
		return []Reason{{class, cause, fmt.Sprintf(format, args...)}}
	}
	switch {
	case got.Status == 0:
		return one(ClassBroken, "no answer: "+got.Error, "%s gives no answer: %s", by, got.Error)
	case c.status != 0 && got.Status == c.status:
		return nil
	case c.status != 0:
		return one(statusClass(got.Status, ClassDiffers), fmt.Sprintf("%s instead of %s", statusText(got.Status), statusText(c.status)),
			"%s answers %s with %s, and --paths names %d", by, c.Path, statusText(got.Status), c.status)
	case got.Status >= http.StatusInternalServerError:
		return one(ClassBroken, statusText(got.Status), "%s answers %s with %s", by, c.Path, statusText(got.Status))
	case got.Status >= http.StatusBadRequest:
		return one(ClassUnknown, statusText(got.Status), "%s answers %s with %s: if that is right, a line %s%s %d in the file of --paths says so", by, c.Path, statusText(got.Status), c.Host, c.Path, got.Status)
	}
	return nil
}

func statusText(status int) string {
	if status == 0 {
		return "no answer"
	}
	return strings.TrimSpace(fmt.Sprintf("status %d %s", status, http.StatusText(status)))
}

// between compares the other server's answer with this server's.
func (c *Comparison) between() []Reason {
	other, got := *c.Against, c.Got
	differs := func(cause, format string, args ...any) []Reason {
		return []Reason{{ClassDiffers, cause, fmt.Sprintf(format, args...)}}
	}
	switch {
	case other.Unreachable || other.NotTried:
		return []Reason{{ClassUnknown, "the other server cannot be compared: " + other.Error, "the other server cannot be compared at " + c.other + ": " + other.Error}}
	case got.Unreachable || got.NotTried:
		return nil // that is said already
	case other.Refused && got.Refused:
		return nil
	case other.Refused:
		return differs("the other server refuses the handshake", "the other server refuses the handshake (%s), this one has certificate %s", other.Error, got.certificate())
	case got.Refused:
		return differs("only the other server makes the handshake", "the other server has certificate %s, this one refuses the handshake", other.certificate())
	}
	var reasons []Reason
	switch {
	case other.SHA256 != got.SHA256:
		reasons = differs("the other server has another certificate", "the other server has certificate %s, this one %s", other.certificate(), got.certificate())
	case !slices.Equal(other.Chain, got.Chain):
		reasons = differs("the other server sends another chain", "the other server has a chain of %d certificates (%s), this one %d (%s)",
			len(other.Chain), strings.Join(other.Chain, ", "), len(got.Chain), strings.Join(got.Chain, ", "))
	}
	if other.Status != got.Status {
		reasons = append(reasons, differs(fmt.Sprintf("the other server answers with %s, this one with %s", statusText(other.Status), statusText(got.Status)),
			"the other server answers with %s, this one with %s", statusText(other.Status), statusText(got.Status))...)
	}
	if other.Location != got.Location {
		reasons = append(reasons, differs("the other server redirects elsewhere", "the other server redirects to %s, this one to %s",
			cmp.Or(other.Location, "nowhere"), cmp.Or(got.Location, "nowhere"))...)
	}
	return reasons
}

// confirmed leaves out what is unknown of an answer that the other server gives too.
func confirmed(reasons []Reason, other, got Answer) []Reason {
	if other.Status == 0 || other.Status != got.Status {
		return reasons
	}
	return slices.DeleteFunc(reasons, func(r Reason) bool { return r.Class == ClassUnknown })
}
