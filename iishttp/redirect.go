package iishttp

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Redirect))
	httpcaddyfile.RegisterHandlerDirective("iis_redirect", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		d := new(Redirect)
		return d, d.UnmarshalCaddyfile(h.Dispenser)
	})
}

// Redirect redirects as the section httpRedirect of IIS does. Path and query go into the
// target as they were sent.
//
// In the destination $V is the path, $Q the query with its question mark, $P the query
// without it, $S the suffix, which is the path behind At. Without any of these, and
// without ExactDestination, the suffix and the query are appended.
type Redirect struct {
	// Where to redirect what no wildcard fits. Empty: nowhere.
	Destination string `json:"destination,omitempty"`

	// Whether nothing is appended to the destination.
	ExactDestination bool `json:"exact_destination,omitempty"`

	// Whether only what is directly in the folder At is redirected.
	ChildOnly bool `json:"child_only,omitempty"`

	// The status: 301, 302, 307 or 308. Default: 302.
	Status int `json:"status,omitempty"`

	// The path that the section was written for. Default: /.
	At string `json:"at,omitempty"`

	// Redirects by pattern; the first that fits counts.
	Wildcards []WildcardRedirect `json:"wildcards,omitempty"`
}

// WildcardRedirect is an entry of httpRedirect.
type WildcardRedirect struct {
	// The pattern for the whole path, without regard to case. Each asterisk stands for any
	// text, which is $0 to $9 in the destination.
	Wildcard string `json:"wildcard"`
	// The destination; "!" means that such a path is not redirected.
	Destination string `json:"destination"`
}

// CaddyModule returns the Caddy module information.
func (*Redirect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_redirect", New: func() caddy.Module { return new(Redirect) }}
}

// Provision implements caddy.Provisioner.
func (d *Redirect) Provision(caddy.Context) error {
	if d.Status == 0 {
		d.Status = http.StatusFound
	}
	d.At = "/" + strings.Trim(d.At, "/")
	return nil
}

// Validate implements caddy.Validator.
func (d *Redirect) Validate() error {
	switch d.Status {
	case 0, 301, 302, 307, 308:
	default:
		return fmt.Errorf("iis_redirect: status %d: expected 301, 302, 307 or 308", d.Status)
	}
	for _, w := range d.Wildcards {
		if w.Wildcard == "" || w.Destination == "" {
			return fmt.Errorf("iis_redirect: a wildcard needs a pattern and a destination")
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (d *Redirect) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if caddyhttp.GetVar(r.Context(), proxyTargetVar) != nil {
		return next.ServeHTTP(w, r)
	}
	target, ok := d.target(r.URL)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("Location", target)
	w.WriteHeader(d.Status)
	return nil
}

// target returns where a URL is redirected to.
func (d *Redirect) target(u *url.URL) (string, bool) {
	escaped := u.EscapedPath()
	for _, wild := range d.Wildcards {
		if captures, ok := matchWildcard(wild.Wildcard, u.Path); ok {
			if wild.Destination == "!" {
				return "", false
			}
			return clean(d.expand(wild.Destination, u, captures)), true
		}
	}
	suffix, ok := d.suffix(escaped)
	if d.Destination == "" || !ok || d.ChildOnly && strings.Contains(strings.TrimPrefix(suffix, "/"), "/") {
		return "", false
	}
	if d.ExactDestination || hasVariable(d.Destination) {
		return clean(d.expand(d.Destination, u, nil)), true
	}
	out := strings.TrimSuffix(d.Destination, "/") + "/" + strings.TrimPrefix(suffix, "/")
	if suffix == "" {
		out = d.Destination
	}
	return clean(out + prefixedQuery(u)), true
}

// suffix is the part of a path behind At.
func (d *Redirect) suffix(escaped string) (string, bool) {
	if d.At == "/" {
		return escaped, true
	}
	// Segments are compared decoded, since the client may have escaped what it likes.
	rest := escaped
	for want := range strings.SplitSeq(strings.TrimPrefix(d.At, "/"), "/") {
		rest = strings.TrimLeft(rest, "/")
		segment, behind, more := strings.Cut(rest, "/")
		plain, err := url.PathUnescape(segment)
		if err != nil || strings.ToLower(plain) != strings.ToLower(want) {
			return "", false
		}
		rest = ""
		if more {
			rest = "/" + behind
		}
	}
	return rest, true
}

func prefixedQuery(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	return "?" + u.RawQuery
}

func hasVariable(destination string) bool {
	for _, v := range []string{"$V", "$Q", "$P", "$S"} {
		if strings.Contains(destination, v) {
			return true
		}
	}
	return false
}

// expand replaces the variables of a destination.
func (d *Redirect) expand(destination string, u *url.URL, captures []string) string {
	suffix, _ := d.suffix(u.EscapedPath())
	var sb strings.Builder
	for i := 0; i < len(destination); i++ {
		if destination[i] != '$' || i+1 == len(destination) {
			sb.WriteByte(destination[i])
			continue
		}
		switch v := destination[i+1]; {
		case v == 'V':
			sb.WriteString(u.EscapedPath())
		case v == 'Q':
			sb.WriteString(prefixedQuery(u))
		case v == 'P':
			sb.WriteString(u.RawQuery)
		case v == 'S':
			sb.WriteString(suffix)
		case v >= '0' && v <= '9' && int(v-'0') < len(captures):
			sb.WriteString((&url.URL{Path: captures[v-'0']}).EscapedPath())
		default:
			sb.WriteByte('$')
			continue
		}
		i++
	}
	return sb.String()
}

// clean takes out of a target what could end the header, and encodes blanks.
func clean(target string) string {
	var sb strings.Builder
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c >= 0x80 {
			fmt.Fprintf(&sb, "%%%02X", c)
			continue
		}
		sb.WriteByte(target[i])
	}
	return sb.String()
}

// matchWildcard matches a whole text without regard to case. Each asterisk takes as
// little as it can.
func matchWildcard(pattern, text string) (captures []string, ok bool) {
	parts := strings.Split(strings.ToLower(pattern), "*")
	lower := strings.ToLower(text)
	if len(lower) != len(text) {
		text = lower // the letters differ in length: captures are in lower case
	}
	if !strings.HasPrefix(lower, parts[0]) {
		return nil, false
	}
	at := len(parts[0])
	for i, part := range parts[1:] {
		if i == len(parts)-2 { // the last one reaches to the end
			if len(lower)-len(part) < at || !strings.HasSuffix(lower, part) {
				return nil, false
			}
			return append(captures, text[at:len(lower)-len(part)]), true
		}
		n := strings.Index(lower[at:], part)
		if n < 0 {
			return nil, false
		}
		captures = append(captures, text[at:at+n])
		at += n + len(part)
	}
	return nil, at == len(lower)
}

// UnmarshalCaddyfile reads:
//
//	iis_redirect [<matcher>] <destination>|- {
//		exact_destination
//		child_only
//		status 301|302|307|308
//		at <path>
//		wildcard <pattern> <destination>
//	}
func (d *Redirect) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	disp.Next()
	if !disp.Args(&d.Destination) || disp.NextArg() {
		return disp.ArgErr()
	}
	if d.Destination == "-" {
		d.Destination = ""
	}
	for disp.NextBlock(0) {
		word, args := disp.Val(), disp.RemainingArgs()
		switch {
		case word == "exact_destination" && len(args) == 0:
			d.ExactDestination = true
		case word == "child_only" && len(args) == 0:
			d.ChildOnly = true
		case word == "status" && len(args) == 1:
			status, err := strconv.Atoi(args[0])
			if err != nil {
				return disp.Errf("status %q is no number", args[0])
			}
			d.Status = status
		case word == "at" && len(args) == 1:
			d.At = args[0]
		case word == "wildcard" && len(args) == 2:
			d.Wildcards = append(d.Wildcards, WildcardRedirect{args[0], args[1]})
		default:
			return disp.Errf("%s: expected exact_destination, child_only, status, at or wildcard with their arguments", word)
		}
	}
	return d.Validate()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Redirect)(nil)
	_ caddy.Validator             = (*Redirect)(nil)
	_ caddyhttp.MiddlewareHandler = (*Redirect)(nil)
	_ caddyfile.Unmarshaler       = (*Redirect)(nil)
)
