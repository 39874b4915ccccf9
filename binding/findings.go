package binding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity grades a Finding.
type Severity uint8

// The severities, the worst first.
const (
	Error   Severity = iota // the configuration is refused
	Warning                 // it works, but some client will be surprised
	Info
)

// String returns "error", "warning" or "info".
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "info"
	}
}

// MarshalText writes what String returns.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// The codes of findings. They are part of the interface: tools filter by them.
const (
	CodeBadSite             = "bad-site"             // site id 0 or used twice
	CodeBadBinding          = "bad-binding"          // a binding that no table can hold
	CodeBadFlags            = "bad-flags"            // sslFlags that cannot be
	CodeBadEndpoint         = "bad-endpoint"         // an endpoint without port or certificate
	CodeDuplicateBinding    = "duplicate-binding"    // the same binding twice
	CodeProtocolConflict    = "protocol-conflict"    // http and https on one address and port
	CodeCertificateConflict = "certificate-conflict" // two certificates for one record
	CodeSettingsConflict    = "settings-conflict"    // two sets of TLS settings for one record
	CodeNoCertificate       = "no-certificate"       // nothing serves an https binding
	CodeNoDefault           = "no-default"           // clients without SNI are refused
	CodeShadowed            = "shadowed"             // an IP record hides server names
	CodeNotListening        = "not-listening"        // an address that listen leaves out
	CodeUnusedSettings      = "unused-settings"      // TLS settings without a record
)

// Finding is one remark about a configuration, for people.
type Finding struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	Site     uint32   `json:"site,omitempty"` // 0 if it is about no single site
	Other    uint32   `json:"-"`              // the other site of a conflict
	Binding  string   `json:"binding,omitempty"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"`
}

// String writes the message and the way out in one line.
func (f Finding) String() string {
	if f.Fix == "" {
		return f.Message
	}
	return f.Message + " (" + f.Fix + ")"
}

// ConflictError is the error of Compile: all reasons to refuse a configuration,
// in order of site id, up to Options.MaxFindings.
type ConflictError struct {
	Findings []Finding
	More     int // how many were left out
}

// Error writes one line for each reason.
func (e *ConflictError) Error() string {
	lines := make([]string, 0, len(e.Findings)+1)
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

const defaultMaxFindings = 20

// reporter collects findings. Each code comes in order of site id, so keeping
// the first ones of each code keeps the first ones of all.
type reporter struct {
	max      int
	findings []Finding
	count    map[string]int // by severity and code
	errors   int
}

func newReporter(limit int) *reporter {
	if limit <= 0 {
		limit = defaultMaxFindings
	}
	return &reporter{max: limit, count: make(map[string]int)}
}

// add keeps a finding unless there are enough of its kind. It takes a function so
// that a hundred thousand conflicts do not cost as many texts.
func (r *reporter) add(severity Severity, code string, text func() Finding) {
	if severity == Error {
		r.errors++
	}
	key := severity.String() + code
	r.count[key]++
	if r.count[key] > r.max {
		return
	}
	f := text()
	f.Severity, f.Code = severity, code
	r.findings = append(r.findings, f)
}

// result returns everything in order: errors first, each severity by site id.
func (r *reporter) result() ([]Finding, error) {
	for key, n := range r.count {
		code, ok := strings.CutPrefix(key, Warning.String())
		if ok && n > r.max {
			r.findings = append(r.findings, Finding{
				Severity: Info, Code: code,
				Message: fmt.Sprintf("and %d more warnings %q", n-r.max, code),
			})
		}
	}
	slices.SortStableFunc(r.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Code, b.Code))
	})
	if r.errors == 0 {
		return r.findings, nil
	}
	failed := 0
	for failed < len(r.findings) && r.findings[failed].Severity == Error {
		failed++
	}
	shown := min(failed, r.max)
	findings := slices.Delete(r.findings, shown, failed)
	return findings, &ConflictError{Findings: findings[:shown:shown], More: r.errors - shown}
}

// siteLabel names a site for people: site 2 "Shop".
func siteLabel(s *SiteEntry) string {
	if s.Name == "" {
		return fmt.Sprintf("site %d", s.ID)
	}
	return fmt.Sprintf("site %d %q", s.ID, s.Name)
}

// owner is who has taken something: a binding of a site, or an endpoint.
type owner struct {
	binding  *BindingEntry
	endpoint *Endpoint
}

func (o owner) isZero() bool { return o.binding == nil && o.endpoint == nil }

// site returns the site, nil for an endpoint.
func (o owner) site() *SiteEntry {
	if o.binding == nil {
		return nil
	}
	return o.binding.Site
}

func (o owner) String() string {
	if o.binding != nil {
		return bindingLabel(o.binding)
	}
	return "endpoint " + endpointText(o.endpoint.IP, o.endpoint.Port)
}

// bindingLabel names a binding for people: site 2 "Shop", https binding *:443:.
func bindingLabel(b *BindingEntry) string {
	return fmt.Sprintf("%s, %s binding %s", siteLabel(b.Site), b.Protocol, b.Binding)
}

// against adds to a conflict with whom it is.
func (f Finding) against(o owner) Finding {
	if site := o.site(); site != nil {
		f.Other = site.ID
	}
	return f
}

// about starts a finding about a binding.
func about(b *BindingEntry, message, fix string) Finding {
	return Finding{Site: b.Site.ID, Binding: b.Binding.String(), Message: message, Fix: fix}
}
