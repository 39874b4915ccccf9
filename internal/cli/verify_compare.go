package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// expect takes from an explanation what can be compared.
func expect(x adminapi.Explanation) Expectation {
	var want Expectation
	if h := x.Handshake; h != nil {
		want.Handshake = h.Outcome
		want.Certificate = h.Certificate
		want.ClientCertificate = h.ClientCertificate
		if h.Leaf != nil {
			want.SHA256 = h.Leaf.SHA256
		}
	}
	if r := x.Request; r != nil {
		want.Request, want.Site, want.Status = r.Outcome, r.Site, r.Status
	}
	return want
}

// unexpected compares an answer with what the tables say.
func unexpected(want Expectation, got Answer) []string {
	switch {
	case got.Unreachable:
		return []string{"nothing answers: " + got.Error}
	case want.Handshake == adminapi.OutcomeRefused && got.Refused:
		return nil
	case want.Handshake == adminapi.OutcomeRefused:
		return []string{fmt.Sprintf("the handshake was to be refused, but certificate %s came", got.certificate())}
	case want.ClientCertificate == adminapi.CertificateRequired && got.Status == 0:
		return nil
	case got.Refused:
		return []string{fmt.Sprintf("the handshake failed (%s), instead of certificate %q", got.Error, want.Certificate)}
	}
	var differences []string
	if want.SHA256 != "" && got.SHA256 != want.SHA256 {
		differences = append(differences, fmt.Sprintf("certificate %s instead of %q", got.certificate(), want.Certificate))
	}
	switch {
	case want.Request == adminapi.OutcomeSite && got.InvalidHost:
		differences = append(differences, fmt.Sprintf("no site answers (%d, %s), instead of site %d", got.Status, headingInvalidHost, want.Site))
	case want.Request == adminapi.OutcomeSite && want.Status != 0 && want.ClientCertificate == "" && got.Status != want.Status:
		differences = append(differences, fmt.Sprintf("%s instead of %s of site %d", statusText(got.Status), statusText(want.Status), want.Site))
	case want.Request == adminapi.OutcomeSite || want.Request == adminapi.OutcomeServer:
		if got.Status == 0 {
			differences = append(differences, fmt.Sprintf("the connection was closed without an answer (%s), instead of %s", got.Error, who(want)))
		}
	case got.Status != want.Status:
		differences = append(differences, fmt.Sprintf("%s instead of %s", statusText(got.Status), statusText(want.Status)))
	}
	return differences
}

func who(want Expectation) string {
	if want.Request == adminapi.OutcomeServer {
		return "the answer of an ordinary HTTP server"
	}
	return fmt.Sprintf("site %d", want.Site)
}

func statusText(status int) string {
	if status == 0 {
		return "no answer"
	}
	return fmt.Sprintf("status %d", status)
}

// between compares the other server's answer with this server's.
func between(other, got Answer) []string {
	switch {
	case other.Unreachable:
		return []string{"the other server cannot be compared: " + other.Error}
	case got.Unreachable:
		return nil // that is said already
	case other.Refused && got.Refused:
		return nil
	case other.Refused:
		return []string{fmt.Sprintf("the other server refuses the handshake (%s), this one has certificate %s", other.Error, got.certificate())}
	case got.Refused:
		return []string{"the other server has certificate " + other.certificate() + ", this one refuses the handshake"}
	}
	var differences []string
	add := func(what, theirs, ours string) {
		differences = append(differences, fmt.Sprintf("the other server has %s %s, this one %s", what, theirs, ours))
	}
	switch {
	case other.SHA256 != got.SHA256:
		add("certificate", other.certificate(), got.certificate())
	case !slices.Equal(other.Chain, got.Chain):
		add("a chain of", fmt.Sprintf("%d certificates (%s)", len(other.Chain), strings.Join(other.Chain, ", ")),
			fmt.Sprintf("%d (%s)", len(got.Chain), strings.Join(got.Chain, ", ")))
	}
	if other.Status != got.Status {
		differences = append(differences, fmt.Sprintf("the other server answers with %s, this one with %s", statusText(other.Status), statusText(got.Status)))
	}
	if other.Location != got.Location {
		differences = append(differences, fmt.Sprintf("the other server redirects to %s, this one to %s", cmp.Or(other.Location, "nowhere"), cmp.Or(got.Location, "nowhere")))
	}
	return differences
}
