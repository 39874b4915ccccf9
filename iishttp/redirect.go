package iishttp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

func init() {
	caddy.RegisterModule(new(Redirect))
}

// Redirect redirects as the section httpRedirect of IIS does. Path and query go
// into the target as they were sent; where HTTP.sys resolves dot segments,
// escaped slashes or backslashes, the resolved path does.
//
// In a destination $V is the path, $Q the query with its question mark, $P the
// query without, and $S the suffix, which is the path behind At. To a
// destination with one of these, or with ExactDestination, nothing is appended;
// to others the suffix, with one slash between, and the query are. What the
// client has sent never becomes a scheme or a host: behind a host it begins
// with a slash, and a destination that has it in front of one is refused.
//
// A request that a rule of iis_rewrite has sent to another server is redirected
// as well, by the path that it had before: the server is asked behind this.
type Redirect struct {
	// Where to redirect what no wildcard fits. Empty: nowhere.
	Destination string `json:"destination,omitempty"`

	// Whether nothing is appended to destinations (exactDestination).
	ExactDestination bool `json:"exact_destination,omitempty"`

	// Whether only what is directly in the folder At is redirected (childOnly).
	ChildOnly bool `json:"child_only,omitempty"`

	// The status (httpResponseStatus): 301, 302, 307 or 308. Default: 302.
	Status int `json:"status,omitempty"`

	// The path that the section was written for, of which nothing outside is
	// redirected. Default: /.
	At string `json:"at,omitempty"`

	// Redirects by pattern; the first that fits counts.
	Wildcards []WildcardRedirect `json:"wildcards,omitempty"`

	at          []string // names, by winpath.Fold
	destination template
	wildcards   []wildcard
}

// WildcardRedirect is an entry of httpRedirect.
type WildcardRedirect struct {
	// The pattern for the whole decoded path, without regard to case. Each
	// asterisk takes as little as it can; the first ten are $0 to $9 in the
	// destination.
	Wildcard string `json:"wildcard"`

	// The destination; "!" means that such a path is not redirected.
	Destination string `json:"destination"`
}

// wildcard is a WildcardRedirect ready for use.
type wildcard struct {
	pattern     [][]rune // between the asterisks, by winpath.Fold
	destination template // empty: no redirect
}

// CaddyModule returns the Caddy module information.
func (*Redirect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_redirect", New: func() caddy.Module { return new(Redirect) }}
}

// Provision implements caddy.Provisioner.
func (d *Redirect) Provision(caddy.Context) error {
	if err := d.compile(); err != nil {
		return fmt.Errorf("iis_redirect: %w", err)
	}
	return nil
}

func (d *Redirect) compile() (err error) {
	switch d.Status {
	case 0, http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return fmt.Errorf("status %d: expected 301, 302, 307 or 308", d.Status)
	}
	if d.At != "" && !strings.HasPrefix(d.At, "/") {
		return fmt.Errorf("at %q: expected a path that begins with a slash", d.At)
	}
	if d.at, _, err = winpath.Segments(winpath.Fold(d.At)); err != nil {
		return fmt.Errorf("at %q: %w", d.At, err)
	}
	if d.Destination == "" && len(d.Wildcards) == 0 {
		return errors.New("there is no destination")
	}
	if d.destination, err = parseTemplate(d.Destination, false); err != nil {
		return err
	}
	d.wildcards = nil
	for i, w := range d.Wildcards {
		if w.Wildcard == "" || w.Destination == "" {
			return fmt.Errorf("wildcard %d needs a pattern and a destination", i+1)
		}
		var c wildcard
		for part := range strings.SplitSeq(winpath.Fold(w.Wildcard), "*") {
			c.pattern = append(c.pattern, []rune(part))
		}
		if w.Destination != "!" {
			if c.destination, err = parseTemplate(w.Destination, true); err != nil {
				return fmt.Errorf("wildcard %d: %w", i+1, err)
			}
		}
		d.wildcards = append(d.wildcards, c)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (d *Redirect) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	target, ok := d.target(r.URL)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	status := d.Status
	if status == 0 {
		status = http.StatusFound
	}
	w.Header().Set("Location", target)
	w.WriteHeader(status)
	return nil
}

// redirected are the parts of a request that destinations use. All begin with
// the character that divides them from what is in front, or are empty.
type redirected struct {
	path, suffix, query string // escaped
	captures            []string
}

// target returns where a URL is redirected to.
func (d *Redirect) target(u *url.URL) (string, bool) {
	forms, err := readURL(u)
	if err != nil || !strings.HasPrefix(u.Path, "/") || !hasPrefixNames(forms.names, d.at) {
		return "", false
	}
	if rest := len(forms.names) - len(d.at); d.ChildOnly && (rest > 1 || rest == 1 && forms.folder) {
		return "", false
	}
	parts := redirected{path: forms.escaped()}
	parts.suffix = behind(parts.path, len(d.at))
	if u.RawQuery != "" {
		parts.query = "?" + u.RawQuery
	}
	var text []rune
	for i := range d.wildcards {
		c := &d.wildcards[i]
		if text == nil {
			text = []rune(forms.resolved())
		}
		if captures, ok := c.match(text); ok {
			parts.captures = captures
			return d.expand(c.destination, &parts)
		}
	}
	return d.expand(d.destination, &parts)
}

func hasPrefixNames(names, prefix []string) bool {
	if len(names) < len(prefix) {
		return false
	}
	for i, name := range prefix {
		if winpath.Fold(names[i]) != name {
			return false
		}
	}
	return true
}

// escaped is the path as it was sent, if its names stand there one for one, and
// else the resolved path.
func (f *urlForms) escaped() string {
	clean := f.resolved()
	if clean == f.path && strings.Count(f.raw, "/") == strings.Count(clean, "/") {
		return f.raw
	}
	return (&url.URL{Path: clean}).EscapedPath()
}

// behind returns what stands behind the first names of a path.
func behind(path string, names int) string {
	for range names {
		i := strings.IndexByte(path[1:], '/')
		if i < 0 {
			return ""
		}
		path = path[1+i:]
	}
	return path
}

// match matches a whole path. Its captures are escaped.
func (c *wildcard) match(path []rune) (captures []string, ok bool) {
	folded := []rune(winpath.Fold(string(path))) // rune by rune
	at, last := 0, len(c.pattern)-1
	for i, part := range c.pattern {
		var n int
		switch {
		case i == 0 && last > 0:
			n = -1
			if hasPrefixRunes(folded, part) {
				n = 0
			}
		case i == last:
			n = len(folded) - at - len(part) // reaches to the end
			if n < 0 || i == 0 && n > 0 || !hasPrefixRunes(folded[at+n:], part) {
				return nil, false
			}
		default:
			n = indexRunes(folded[at:], part)
		}
		if n < 0 {
			return nil, false
		}
		if i > 0 {
			captures = append(captures, (&url.URL{Path: string(path[at : at+n])}).EscapedPath())
		}
		at += n + len(part)
	}
	return captures, true
}

func hasPrefixRunes(text, prefix []rune) bool {
	return len(text) >= len(prefix) && string(text[:len(prefix)]) == string(prefix)
}

func indexRunes(text, part []rune) int {
	for i := 0; i+len(part) <= len(text); i++ {
		if hasPrefixRunes(text[i:], part) {
			return i
		}
	}
	return -1
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Redirect)(nil)
	_ caddyhttp.MiddlewareHandler = (*Redirect)(nil)
)
