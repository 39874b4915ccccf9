package iisconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddy-iis/caddy-iis/binding"
)

// Source is the place that an element of the model was read from.
type Source struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // from 1; 0 if the file as a whole is meant
	// Scope is the IIS configuration path that the line applies to: empty for the
	// whole server, else a site's name, perhaps with a path: "Default Web Site/app".
	Scope string `json:"scope,omitempty"`
}

// String returns "file:line".
func (s Source) String() string {
	if s.Line == 0 {
		return s.File
	}
	return s.File + ":" + strconv.Itoa(s.Line)
}

// The codes of findings. They are part of the interface: tools filter by them.
const (
	CodeBadValue     = "bad-value"         // a value that IIS would not take either
	CodeCertificate  = "certificate"       // the certificate of a binding is not known
	CodeConflict     = "conflict"          // inputs that contradict each other
	CodeDuplicate    = "duplicate"         // the same thing twice
	CodeElsewhere    = "elsewhere"         // the content is in a file that is not here
	CodeEncoding     = "encoding"          // characters that may be wrong
	CodeIgnored      = "ignored"           // understood, and without effect on what is served
	CodeLocked       = "locked"            // IIS refuses the section at this place
	CodeMalformed    = "malformed"         // a file of which nothing could be used
	CodeNoFolder     = "no-folder"         // a site or application without content
	CodeNoSite       = "no-site"           // settings that belong to no site
	CodeNotHTTP      = "not-http"          // a binding of another service than the web server
	CodeRefused      = "refused"           // what only the server itself may say
	CodeTooMany      = "more"              // findings that were left out
	CodeUnknown      = "unknown"           // not understood
	CodeUnrecognised = "unrecognised-file" // a file of no known kind
	CodeUnsupported  = "unsupported"       // understood, but not held by the model
	CodeUnusedRecord = "unused-record"     // a certificate record that no binding uses
)

// Finding is one remark about the inputs, for people. The severity Error means
// that something cannot be served as it is, Warning that something may be served
// otherwise than IIS did, Info that a line needs nothing.
type Finding struct {
	Severity binding.Severity `json:"severity"`
	Code     string           `json:"code"`
	Source   Source           `json:"source"`
	Message  string           `json:"message"`
	Fix      string           `json:"fix,omitempty"`
}

// String writes the finding in one line, as compilers do.
func (f Finding) String() string {
	s := f.Severity.String() + ": " + f.Message
	if f.Source.File != "" {
		s = f.Source.String() + ": " + s
	}
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// Error says which line of a file cannot be read.
type Error struct {
	File string
	Line int // 0 if the file as a whole is meant
	Err  error
}

// Error returns "file:line: message".
func (e *Error) Error() string {
	return Source{File: e.File, Line: e.Line}.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// reporter collects findings. It keeps so many of each code that a hostile file
// cannot fill the memory with them, and counts the others.
type reporter struct {
	findings []Finding
	max      int
	count    map[string]int
	muted    bool // a file is read again for another place
}

func newReporter(limit int) *reporter {
	return &reporter{max: limit, count: make(map[string]int)}
}

func (r *reporter) add(f Finding) {
	if r.muted {
		return
	}
	r.count[f.Code]++
	if r.count[f.Code] <= r.max {
		r.findings = append(r.findings, f)
	}
}

// all returns the findings in the order of the inputs and their lines, those of no
// file last, and one more for each code of which some were left out.
func (r *reporter) all(inputs []Input) []Finding {
	order := make(map[string]int, len(inputs))
	for i, in := range inputs {
		order[in.Name] = i - len(inputs)
	}
	slices.SortStableFunc(r.findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(order[x.Source.File], order[y.Source.File]),
			cmp.Compare(x.Source.File, y.Source.File), cmp.Compare(x.Source.Line, y.Source.Line))
	})
	out := r.findings
	for _, f := range r.findings {
		if more := r.count[f.Code] - r.max; more > 0 {
			r.count[f.Code] = 0
			out = append(out, Finding{
				Severity: f.Severity, Code: CodeTooMany,
				Message: fmt.Sprintf("%d more findings of the code %s are not shown", more, f.Code),
			})
		}
	}
	return out
}

func (r *reporter) info(code string, src Source, format string, args ...any) {
	r.add(Finding{Severity: binding.Info, Code: code, Source: src, Message: fmt.Sprintf(format, args...)})
}

func (r *reporter) warn(code string, src Source, fix, format string, args ...any) {
	r.add(Finding{Severity: binding.Warning, Code: code, Source: src, Message: fmt.Sprintf(format, args...), Fix: fix})
}

func (r *reporter) error(code string, src Source, fix, format string, args ...any) {
	r.add(Finding{Severity: binding.Error, Code: code, Source: src, Message: fmt.Sprintf(format, args...), Fix: fix})
}
