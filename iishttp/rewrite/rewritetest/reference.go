// Package rewritetest runs rules as slowly and plainly as their description reads, for
// comparison with the engine: a text is a list of bytes that know where they come from,
// templates are read again each time, and nothing is shared. It has Go's regexp where that
// has a form for a pattern, so patterns must be ones that mean the same in it, and ASCII.
package rewritetest

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/dlclark/regexp2/v2"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// char is a byte of a text: whether it was decoded, and whether the client chose it.
type char struct {
	b               byte
	decoded, client bool
}

type chars []char

func mark(s string, decoded, client bool) (out chars) {
	for i := range len(s) {
		out = append(out, char{s[i], decoded, client})
	}
	return out
}

func (t chars) String() string {
	var sb strings.Builder
	for _, c := range t {
		sb.WriteByte(c.b)
	}
	return sb.String()
}

var errReference = errors.New("500")

// plain is one run.
type plain struct {
	config      rewrite.Config
	req         *rewrite.Request
	path, query string
	original    string
	rule        []chars
	conditions  []chars
	set         map[string]string
}

// Run is what rewrite.Set.Run should be.
func Run(config rewrite.Config, req *rewrite.Request) (result rewrite.Result, err error) {
	p := &plain{config: config, req: req, path: req.URL.Path, query: req.URL.RawQuery, set: make(map[string]string)}
	result.Action = "none"
	for _, r := range config.Rules {
		fired, end, err := p.try(r, &result)
		if err != nil {
			return result, err
		}
		if end || fired && r.Stop {
			break
		}
	}
	result.Path, result.Query = p.path, p.query
	return result, nil
}

func (p *plain) try(r rewrite.Rule, result *rewrite.Result) (fired, end bool, err error) {
	base := strings.TrimSuffix(r.Base, "/")
	rest, ok := strings.CutPrefix(strings.ToLower(p.path), strings.ToLower(base))
	if !ok || rest != "" && rest[0] != '/' {
		return false, false, nil
	}
	input := mark(strings.TrimPrefix(p.path[len(base):], "/"), true, true)
	groups, ok, err := fit(r.Match, r.Syntax, input)
	if err != nil || ok == r.Match.Not {
		return false, false, err
	}
	if !ok {
		groups = []chars{input}
	}
	p.rule, p.conditions = groups, nil
	if ok, err := p.hold(r); !ok || err != nil {
		return false, false, err
	}
	for _, v := range r.Set {
		value, err := p.expand(v.Value)
		if err != nil {
			return false, false, err
		}
		name := strings.ToUpper(v.Name)
		allowed := p.config.Global
		for _, a := range p.config.AllowVariables {
			allowed = allowed || strings.EqualFold(a, name)
		}
		if !allowed || strings.ContainsAny(value.String(), "\r\n\x00") {
			return false, false, errReference
		}
		if have, _ := p.variable(name); v.Keep && len(have) > 0 {
			continue
		}
		p.set[name] = value.String()
	}
	end, err = p.act(r, base, result)
	return true, end, err
}

func (p *plain) hold(r rewrite.Rule) (bool, error) {
	if len(r.Conditions) == 0 {
		return true, nil
	}
	for _, c := range r.Conditions {
		input, err := p.expand(c.Input)
		if err != nil {
			return false, err
		}
		var ok bool
		if c.Is != "" {
			file, directory, _ := p.req.Files.Is(input.String())
			ok = (c.Is == "file" && file || c.Is == "directory" && directory) != c.Not
		} else {
			groups, fits, err := fit(c.Pattern, r.Syntax, input)
			if err != nil {
				return false, err
			}
			ok = fits != c.Not
			switch {
			case !fits || c.Not:
			case r.TrackAllCaptures && p.conditions != nil:
				p.conditions = append(p.conditions, groups[1:]...)
			default:
				p.conditions = groups
			}
		}
		if ok == r.AnyCondition {
			return ok, nil
		}
	}
	return !r.AnyCondition, nil
}

func fit(pattern rewrite.Pattern, syntax ecma.Syntax, input chars) (groups []chars, ok bool, err error) {
	if strings.ContainsAny(input.String(), "\r\n") {
		return nil, false, errReference
	}
	fold := ""
	if !pattern.CaseSensitive {
		fold = "(?i)"
	}
	text := pattern.Pattern
	switch syntax {
	case ecma.ExactMatch:
		text = "^" + regexp.QuoteMeta(text) + "$"
	case ecma.Wildcard:
		text = regexp.QuoteMeta(text)
		text = strings.ReplaceAll(text, `\*`, "(.*?)")
		text = "^" + strings.ReplaceAll(text, `\?`, ".") + "$"
	}
	at := find(fold, text, input.String())
	if at == nil {
		return nil, false, nil
	}
	for i := 0; i < len(at); i += 2 {
		if at[i] < 0 {
			groups = append(groups, nil)
			continue
		}
		groups = append(groups, input[at[i]:at[i+1]])
	}
	return groups, true, nil
}

// find returns from where to where the groups are. What looks ahead is not for Go's regexp.
func find(fold, pattern, input string) (at []int) {
	if re, err := regexp.Compile(fold + pattern); err == nil {
		return re.FindStringSubmatchIndex(input)
	}
	options := regexp2.ECMAScript
	if fold != "" {
		options |= regexp2.IgnoreCase
	}
	m, err := regexp2.MustCompile(pattern, options).FindStringMatch(input)
	if m == nil || err != nil {
		return nil
	}
	for _, g := range m.Groups() {
		if len(g.Captures) == 0 {
			at = append(at, -1, -1)
		} else {
			from, length := g.ByteRange()
			at = append(at, from, from+length)
		}
	}
	return at
}

func group(groups []chars, digit byte) chars {
	if i := int(digit - '0'); i < len(groups) {
		return groups[i]
	}
	return nil
}

// expand replaces the innermost reference first, from the left.
func (p *plain) expand(template string) (chars, error) {
	text := mark(template, false, false)
	var done chars
	for len(text) > 0 {
		if text[0].b != '{' {
			done, text = append(done, text[0]), text[1:]
			continue
		}
		depth, end := 0, 0
		for i, c := range text {
			if c.b == '{' {
				depth++
			}
			if c.b == '}' {
				if depth--; depth == 0 {
					end = i
					break
				}
			}
		}
		value, err := p.reference(text[1:end].String())
		if err != nil {
			return nil, err
		}
		done, text = append(done, value...), text[end+1:]
	}
	return done, nil
}

func (p *plain) reference(text string) (chars, error) {
	name, arg, ok := strings.Cut(text, ":")
	if !ok {
		return p.variable(strings.ToUpper(name))
	}
	switch name {
	case "R":
		return group(p.rule, arg[0]), nil
	case "C":
		return group(p.conditions, arg[0]), nil
	}
	value, err := p.expand(arg)
	if err != nil {
		return nil, err
	}
	var out chars
	switch name {
	case "ToLower":
		for _, c := range value {
			c.b = strings.ToLower(string(rune(c.b)))[0]
			out = append(out, c)
		}
	case "UrlEncode":
		for _, c := range value {
			if strings.IndexByte("-._~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", c.b) >= 0 {
				out = append(out, char{c.b, false, c.client})
			} else {
				out = append(out, mark("%"+strings.ToUpper(hex(c.b)), false, c.client)...)
			}
		}
	case "UrlDecode":
		s := value.String()
		for i := 0; i < len(s); i++ {
			client := value[i].client
			if u, err := url.PathUnescape(s[i:min(i+3, len(s))]); err == nil && s[i] == '%' {
				out = append(out, mark(u, true, client)...)
				i += 2
				continue
			}
			out = append(out, char{s[i], true, client})
		}
	default:
		for _, m := range p.config.Maps {
			if m.Name == name {
				for k, v := range m.Entries {
					if k == value.String() || !m.CaseSensitive && strings.EqualFold(k, value.String()) {
						return mark(v, false, false), nil
					}
				}
				return mark(m.Default, false, false), nil
			}
		}
	}
	return out, nil
}

func hex(b byte) string { return string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]) }

func (p *plain) variable(name string) (chars, error) {
	if v, ok := p.set[name]; ok {
		return mark(v, true, true), nil
	}
	switch name {
	case "URL":
		return mark(p.path, true, true), nil
	case "QUERY_STRING":
		return mark(p.query, false, true), nil
	case "HTTP_HOST":
		return mark(p.req.Host, false, true), nil
	case "HTTPS":
		if p.req.TLS != nil {
			return mark("ON", false, false), nil
		}
		return mark("OFF", false, false), nil
	case "REQUEST_URI":
		out := mark(p.req.Original.Path, true, true)
		if p.req.Original.RawQuery != "" {
			out = append(out, mark("?"+p.req.Original.RawQuery, false, true)...)
		}
		return out, nil
	case "UNENCODED_URL":
		return mark(p.req.Original.RequestURI(), false, true), nil
	case "REQUEST_FILENAME":
		physical, ok := p.req.Files.Physical(p.path)
		if !ok {
			return nil, rewrite.ErrNoFile
		}
		return mark(physical, true, true), nil
	case "HTTP_X_ORIGINAL_URL":
		return mark(p.original, true, true), nil
	}
	if name, ok := strings.CutPrefix(name, "HTTP_"); ok {
		return mark(p.req.Header.Get(strings.ReplaceAll(name, "_", "-")), false, true), nil
	}
	return nil, nil
}

func (p *plain) act(r rewrite.Rule, base string, result *rewrite.Result) (end bool, err error) {
	switch r.Action.Type {
	case "", "none":
		return false, nil
	case "abort":
		result.Action = "abort"
		return true, nil
	case "respond":
		result.Action, result.Status, result.SubStatus = "respond", r.Action.Status, r.Action.SubStatus
		reason, err := p.expand(r.Action.Reason)
		if err != nil {
			return true, err
		}
		description, err := p.expand(r.Action.Description)
		result.Reason, result.Description = reason.String(), description.String()
		return true, err
	}
	text, err := p.expand(strings.TrimSpace(r.Action.URL))
	if err != nil {
		return true, err
	}
	if strings.ContainsAny(text.String(), "\r\n\x00\t") {
		return true, errReference
	}
	origin := ""
	for _, scheme := range []string{"http://", "https://"} {
		if strings.HasPrefix(strings.ToLower(text.String()), scheme) {
			end := len(scheme)
			for end < len(text) && strings.IndexByte(`/?#\`, text[end].b) < 0 {
				end++
			}
			ours := true // not the client's
			for i, c := range text[:end] {
				if c.client && (i < len(scheme) || r.Action.Type == "rewrite") {
					ours = false
				}
			}
			if ours {
				origin = scheme
				for _, c := range text[len(scheme):end] {
					if c.b <= ' ' || strings.IndexByte(`"<>^{|}`+"`", c.b) >= 0 {
						origin += "%" + strings.ToUpper(hex(c.b))
					} else {
						origin += string(rune(c.b))
					}
				}
				text = text[end:]
			}
			break
		}
	}
	return p.take(r, base, origin, text, result)
}

// take takes the result of a template apart: path, ?query, #fragment.
func (p *plain) take(r rewrite.Rule, base, origin string, text chars, result *rewrite.Result) (end bool, err error) {
	keep := p.config.KeepEscapes || r.Action.Type == "redirect"
	var parts [3]string
	at, hasQuery := 0, false
	for i, c := range text {
		switch {
		case c.b == '?' && !c.decoded && at == 0:
			at, hasQuery = 1, true
		case c.b == '#' && !c.decoded && at < 2:
			at = 2
		case at == 0 && strings.IndexByte("-._~/!$&'()*+,;=:@", c.b) < 0 && !alnum(c.b) && (c.b != '%' || !keep || !isEscape(text[i:].String())):
			parts[0] += "%" + strings.ToUpper(hex(c.b))
		case at > 0 && (c.b <= ' ' || strings.IndexByte("\"<>#`\\^{|}", c.b) >= 0):
			parts[at] += "%" + strings.ToUpper(hex(c.b))
		default:
			parts[at] += string(rune(c.b))
		}
	}
	path, query, fragment := parts[0], parts[1], parts[2]
	if !r.Action.DropQueryString && p.query != "" {
		if query != "" {
			query += "&"
		}
		query, hasQuery = query+p.query, true
	}
	if origin == "" && !strings.HasPrefix(path, "/") {
		path = base + "/" + path
	}
	if r.Action.Type == "redirect" {
		result.Action, result.Status = "redirect", r.Action.Status
		if origin == "" {
			path = "/" + strings.TrimLeft(path, "/")
		}
		result.Location = origin + path
		if hasQuery {
			result.Location += "?" + query
		}
		if fragment != "" {
			result.Location += "#" + fragment
		}
		return true, nil
	}
	result.Action = "rewrite"
	if p.original == "" {
		uri, _ := p.variable("REQUEST_URI")
		p.original = uri.String()
	}
	if origin != "" {
		result.Proxy = "404"
		for _, o := range p.config.Proxy {
			if strings.EqualFold(o, origin) {
				result.Proxy = strings.ToLower(o) + "/" + strings.TrimPrefix(path, "/")
				if query != "" {
					result.Proxy += "?" + query
				}
			}
		}
		return true, nil
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.ContainsAny(decoded, "\r\n\x00") {
		return true, errReference
	}
	var stack []string
	segments := strings.Split(strings.ReplaceAll(decoded, `\`, "/"), "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			if len(stack) == 0 {
				return true, errReference
			}
			stack = stack[:len(stack)-1]
		default:
			stack = append(stack, s)
		}
	}
	p.path = "/" + strings.Join(stack, "/")
	if last := segments[len(segments)-1]; len(stack) > 0 && (last == "" || last == "." || last == "..") {
		p.path += "/"
	}
	p.query = query
	return false, nil
}

func alnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

func isEscape(s string) bool {
	_, err := url.PathUnescape(s[:min(3, len(s))])
	return len(s) >= 3 && err == nil
}
