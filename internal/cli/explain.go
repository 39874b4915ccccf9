package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// Explain tells in sentences what a client would get.
func Explain(ctx context.Context, e *Env, q adminapi.Question) error {
	x, err := e.Client.Explain(ctx, q)
	if err != nil {
		if _, _, none := binding.ParseEndpoint(q.Local); none != nil {
			err = fmt.Errorf("%w%s", err, guessAddress(q.Local))
		}
		return err
	}
	if e.JSON {
		return e.json(x)
	}
	e.printf("%s\n", asked(x))
	if !x.Listening {
		e.printf("\n%s\n", e.paint(red, fmt.Sprintf("Nothing answers %s on %s: %s.", x.Scheme, x.Local, x.Reason)))
	}
	if x.Handshake != nil {
		e.explainHandshake(x.Handshake)
	}
	if x.Request != nil {
		e.explainRequest(x.Request)
	}
	e.explainProblems(x)
	return nil
}

// guessAddress guesses what somebody means who writes a URL or a host in the place of an
// address.
func guessAddress(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		scheme, rest = "https", text
	}
	host, _, _ := strings.Cut(rest, "/")
	host, port, _ := strings.Cut(host, ":")
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	name, ok := binding.Host(host)
	switch {
	case !ok || !validPort(port):
		return ""
	case name.IsIP():
		return fmt.Sprintf(" (did you mean %s:%s?)", name, port)
	}
	return fmt.Sprintf(" (did you mean *:%s --host %s?)", port, name)
}

func asked(x adminapi.Explanation) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "A client connects to %s by %s", x.Local, x.Scheme)
	switch {
	case x.Scheme != "https":
	case x.SNI == "":
		sb.WriteString(", sends no server name")
	default:
		fmt.Fprintf(&sb, ", sends the server name %q", x.SNI)
	}
	if x.Host == "" {
		sb.WriteString(" and names no host.")
	} else {
		fmt.Fprintf(&sb, " and asks for host %q.", x.Host)
	}
	return sb.String()
}

func (e *Env) explainHandshake(h *adminapi.Handshake) {
	e.printf("\n")
	switch h.Outcome {
	case adminapi.OutcomeRefused:
		e.printf("%s %s.\n", e.paint(red, "The handshake is refused:"), h.Reason)
	case adminapi.OutcomeServer:
		if h.Server == adminapi.ServerECH {
			e.printf("The name is the public name of Encrypted Client Hello: Caddy's own certificate for it serves the handshake.\n")
			return
		}
		e.printf("The ordinary HTTP server %q of Caddy makes the handshake: the port is shared, and no binding has the name.\n", h.Server)
		return
	default:
		if h.Certificate == "" {
			e.printf("It gets the certificate that the central store has for the name.\n")
		} else {
			e.printf("It gets certificate %s.\n", e.paint(green, fmt.Sprintf("%q", h.Certificate)))
		}
		if h.Leaf != nil {
			e.printf("  It is for %s, is valid until %s, and has the thumbprint %s.\n",
				strings.Join(h.Leaf.Subjects, ", "), h.Leaf.NotAfter.Format("2006-01-02"), h.Leaf.SHA1)
		}
		if h.Instead != "" {
			e.printf("  It stands in for %q, which is not available.\n", h.Instead)
		}
	}
	if h.ClientCertificate != "" {
		e.printf("  A client certificate is %s.\n", h.ClientCertificate)
	}
	e.explainSteps(h.Steps)
}

func (e *Env) explainRequest(r *adminapi.Request) {
	e.printf("\n")
	answer := fmt.Sprintf("the answer is %d", r.Status)
	if r.Status == 0 {
		answer = "the connection is closed without an answer"
	}
	switch r.Outcome {
	case adminapi.OutcomeServer:
		e.printf("The ordinary HTTP server %q of Caddy answers: the port is shared, and no binding has the host.\n", r.Server)
		if r.Status != 0 {
			e.printf("  Its answer is %d: %s.\n", r.Status, r.Reason)
		}
		return
	case adminapi.OutcomeSite:
		e.printf("%s answers, by its binding %s.\n", e.paint(green, title(siteLabel(r.Site, r.Name))), r.Binding)
		if r.Status != 0 {
			e.printf("  Its answer is %d: %s.\n", r.Status, r.Reason)
		}
	case adminapi.OutcomeOffline:
		e.printf("%s has the request, by its binding %s, but it is offline: %s.\n", title(siteLabel(r.Site, r.Name)), r.Binding, answer)
	case adminapi.OutcomeHeldBack:
		e.printf("%s %s has the request, by its binding %s, and is held back: %s. %s.\n", e.paint(red, "No site answers:"), siteLabel(r.Site, r.Name), r.Binding, r.Reason, title(answer))
	case adminapi.OutcomeInvalidHost:
		e.printf("%s the host is no valid host name: %s.\n", e.paint(red, "No site answers:"), answer)
	default:
		e.printf("%s no started site has a binding for the host: %s.\n", e.paint(red, "No site answers:"), answer)
	}
	e.explainSteps(r.Steps)
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// explainSteps tells which rule decided, and those that were passed over.
func (e *Env) explainSteps(steps []adminapi.Step) {
	for _, s := range steps {
		lead := "  passed over "
		if s.Hit {
			lead = "  decided by  "
		}
		key := ""
		if s.Key != "" {
			key = ", " + s.Key
		}
		e.printf("%s%s%s: %s\n", lead, s.Rule, key, s.Reason)
	}
}

// errorPage is what Chromium calls a problem.
func errorPage(code string) string {
	return map[string]string{
		adminapi.ProblemNotListening:  "ERR_CONNECTION_REFUSED",
		adminapi.ProblemWrongProtocol: "ERR_SSL_PROTOCOL_ERROR",
		adminapi.ProblemRefused:       "ERR_CONNECTION_RESET",
		adminapi.ProblemWrongName:     "ERR_CERT_COMMON_NAME_INVALID",
		adminapi.ProblemExpired:       "ERR_CERT_DATE_INVALID",
		adminapi.ProblemNotYetValid:   "ERR_CERT_DATE_INVALID",
		adminapi.ProblemUntrusted:     "ERR_CERT_AUTHORITY_INVALID",
	}[code]
}

func (e *Env) explainProblems(x adminapi.Explanation) {
	if len(x.Problems) == 0 {
		e.printf("\nA browser would show the answer without complaint.\n")
		return
	}
	e.printf("\nA browser would not be content:\n")
	for _, p := range x.Problems {
		page := cmp.Or(errorPage(p.Code), p.Code)
		if p.Code == adminapi.ProblemWrongProtocol && x.Scheme == "http" {
			page = p.Code // servers of https answer http with 400
		}
		e.printf("  %s: %s\n", e.paint(yellow, page), p.Message)
	}
}

// ExplainBrowser is Explain for a client that sends the host as server name,
// where it can: on https, and if the host is no IP address.
func ExplainBrowser(ctx context.Context, e *Env, q adminapi.Question) error {
	if q.SNI == "" && q.Scheme != "http" {
		if name, ok := binding.Host(q.Host); ok && !name.IsIP() {
			q.SNI = name.String()
		}
	}
	return Explain(ctx, e, q)
}
