package iismanager

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// counts are the numbers of findings, as far as they were looked at.
type counts struct {
	Errors, Warnings, Ending int
	More                     bool // there may be more
	Worst                    []adminapi.Finding
}

// maxWorst is how many findings stand on the first page.
const maxWorst = 5

// count looks at the findings, the worst first.
func (v *visit) count() (counts, error) {
	var list adminapi.Page[adminapi.Finding]
	if err := v.get("check", url.Values{"limit": {fmt.Sprint(adminapi.MaxLimit)}}, &list); err != nil {
		return counts{}, err
	}
	c := counts{More: list.Next != ""}
	for _, f := range list.Items {
		ending := f.Code == health.ExpiresSoon
		switch {
		case f.Severity == adminapi.SeverityError:
			c.Errors++
		case f.Severity == adminapi.SeverityWarning && !ending:
			c.Warnings++
		}
		if ending {
			c.Ending++
		}
		if len(c.Worst) < maxWorst && (ending || f.Severity != adminapi.SeverityInfo) {
			c.Worst = append(c.Worst, f)
		}
	}
	return c, nil
}

// String tells the counts in few words, empty if there is nothing to tell.
func (c counts) String() string {
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{c.Errors, "error", "errors"},
		{c.Warnings, "warning", "warnings"},
		{c.Ending, "certificate ends soon", "certificates end soon"},
	} {
		switch part.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+part.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.many))
		}
	}
	if c.More && len(parts) > 0 {
		parts = append(parts, "and more")
	}
	return strings.Join(parts, ", ")
}

// check shows all findings.
func (v *visit) check() error {
	var list adminapi.Page[adminapi.Finding]
	after := v.r.URL.Query().Get("after")
	if err := v.get("check", pageOf(after, 100), &list); err != nil {
		return err
	}
	v.show(200, "check.html", &view{Title: "Check", Section: "check", Data: struct {
		adminapi.Page[adminapi.Finding]
		After string
	}{list, after}})
	return nil
}

// pageOf are the parameters of a page of a list.
func pageOf(after string, limit int) url.Values {
	params := url.Values{"limit": {fmt.Sprint(limit)}}
	if after != "" {
		params.Set("after", after)
	}
	return params
}
