package cli

import (
	"context"
	"fmt"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// CheckRunning shows the findings of the running configuration.
func CheckRunning(ctx context.Context, e *Env) error {
	findings, err := collect(e.Client.Findings(ctx))
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	raw, err := e.Client.App(ctx)
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	decide, err := PlaceFindings(raw)
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	return Check(e, append(findings, decide...))
}

// The codes of the findings about what an import has left to people.
const (
	codeClosed   = "closed-places"
	codeWaiting  = "waiting-places"
	codeUpstream = "unset-upstreams"
)

// PlaceFindings counts, in the JSON of the iis app, what an import has left to people.
// A configuration without any such place has none of these findings.
func PlaceFindings(raw []byte) ([]adminapi.Finding, error) {
	count, err := places.In(raw)
	if err != nil || count.Zero() {
		return nil, err
	}
	var findings []adminapi.Finding
	for i, sentence := range count.Sentences() {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: []string{codeClosed, codeWaiting, codeUpstream}[i], Message: sentence,
		})
	}
	return findings, nil
}

// Check shows findings and tells their worst severity by its exit code.
func Check(e *Env, findings []adminapi.Finding) error {
	if e.JSON {
		if err := e.json(findings); err != nil {
			return err
		}
		return exit(severityCode(findings))
	}
	counts := make(map[string]int)
	for _, f := range findings {
		counts[f.Severity]++
	}
	e.writeFindings(findings)
	if len(findings) > 0 {
		e.printf("\n")
	}
	e.printf("%s, %s, %s\n",
		count(counts[adminapi.SeverityError], "error"),
		count(counts[adminapi.SeverityWarning], "warning"),
		count(counts[adminapi.SeverityInfo], "remark"))
	return exit(severityCode(findings))
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func severityCode(findings []adminapi.Finding) int {
	code := ExitOK
	for _, f := range findings {
		switch f.Severity {
		case adminapi.SeverityError:
			return ExitErrors
		case adminapi.SeverityWarning:
			code = ExitWarnings
		}
	}
	return code
}

// writeFindings writes each finding with its way out.
func (e *Env) writeFindings(findings []adminapi.Finding) {
	for _, f := range findings {
		c := plain
		switch f.Severity {
		case adminapi.SeverityError:
			c = red
		case adminapi.SeverityWarning:
			c = yellow
		}
		e.printf("%s [%s]: %s\n", e.paint(c, f.Severity), f.Code, f.Message)
		if f.Fix != "" {
			e.printf("  way out: %s\n", f.Fix)
		}
	}
}
