package inspect

import (
	"fmt"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/many"
)

// The codes of findings about what serves sites.
const (
	codeVariableUnset = "variable-not-set"
	codeNoUpstream    = "no-upstream"
)

// contentFindings warns of what serves started sites: what has variables of the environment
// that are not set, and what passes requests on to nobody. What many sites share is told once.
func (sn view) contentFindings() []binding.Finding {
	type cause struct {
		code    string
		content any
	}
	var findings []binding.Finding
	at, more, left := make(map[cause]int), make(map[cause]int), 0
	for _, entry := range sn.Tables.Sites() {
		site := sn.Sites.At(entry.Index)
		if !entry.State.Started || site.Offline {
			continue
		}
		for _, f := range contentFindingsOf(entry, site.Content.May.Unset, site.Content.May.NoUpstream) {
			key := cause{f.Code, site.Content}
			switch _, told := at[key]; {
			case told:
				more[key]++
			case len(at) == many.Max:
				left++
			default:
				at[key] = len(findings)
				findings = append(findings, f)
			}
		}
	}
	for key, n := range more {
		f := &findings[at[key]]
		f.Message += fmt.Sprintf("; so it is with %d more", n)
	}
	if left > 0 {
		findings = append(findings, binding.Finding{Severity: binding.Info, Code: codeVariableUnset, Message: fmt.Sprintf("and %d more warnings about what serves sites", left)})
	}
	return findings
}

// contentFindingsOf are those about what serves one site.
func contentFindingsOf(entry *binding.SiteEntry, unset []string, noUpstream bool) (findings []binding.Finding) {
	if len(unset) == 0 && !noUpstream {
		return nil // of most sites, and the label is not for nothing
	}
	label := config.SiteLabel(entry.ID, entry.Name)
	if len(unset) > 0 {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeVariableUnset, Site: entry.ID,
			Message: fmt.Sprintf("%s is served with {env.%s}, which Caddy's environment does not have, or has empty", label, strings.Join(unset, "}, {env.")),
			Fix:     "set it for the service (Environment= of its unit), or write the value into the configuration",
		})
	}
	if noUpstream {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeNoUpstream, Site: entry.ID,
			Message: label + " is served by a reverse_proxy without an upstream: visitors get status 503",
			Fix:     "name one; if a variable such as {$APP_UPSTREAM} stands there, set it where the configuration is loaded, or write {$APP_UPSTREAM:127.0.0.1:8080}",
		})
	}
	return findings
}
