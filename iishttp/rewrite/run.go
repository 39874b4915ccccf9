package rewrite

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// Budget bounds the time that the rules of one request may take altogether.
const Budget = 500 * time.Millisecond

// Errors of Run, beside those of package ecma. IIS has none of them: they are where
// nobody knows what IIS answers, so that the request is refused.
var (
	// ErrNoFile says that a path is none that a file can have: the client's fault.
	ErrNoFile = errors.New("the path is none that a file can have")

	errBudget  = errors.New("the rules took too long")
	errControl = errors.New("a value has a control character")
)

// ErrPath says that a result leads out of the site.
var ErrPath = errors.New("the result is no path of the site")

// Result is what becomes of a request.
type Result struct {
	// Action is "none" if the request goes on as it was, "rewrite" if it goes on with Path
	// and Query, or the one that ends it: "redirect", "respond", "abort".
	Action string
	// Rule is the name of the rule that acted last.
	Rule string

	Path  string // decoded
	Query string // as it is sent

	// Proxy is the URL of a rewrite to another server, with its path and query escaped.
	// Path and Query are what they were before.
	Proxy string

	Location            string
	Status, SubStatus   int
	Reason, Description string

	// Headers are to be set, an empty value to be removed.
	Headers []Header
	// Variables have the values of variables that are no headers.
	Variables map[string]string
	// OriginalURL is path and query before the first rewrite; empty if there was none.
	OriginalURL string
}

// Header is a request header that rules have set.
type Header struct{ Name, Value string }

// call is one run of the rules.
type call struct {
	set     *Set
	request *Request
	path    string
	query   string
	custom  map[string]string
	result  Result
	noFile  bool

	started  time.Time
	response http.Header // of outbound rules
	status   int

	originalURL string
	rule        match
	ruleInput   [1]piece
	conditions  []match // that matched: the last one, or all
	scratch     []piece // of the input of a condition

	unencoded, localAddr, uri string // values that take work, once asked for
}

// Run runs the rules. An error ends the request: with 404 if it is ErrNoFile, else with
// 500.50.
func (s *Set) Run(r *Request) (Result, error) {
	c := &call{set: s, request: r, path: r.URL.Path, query: r.URL.RawQuery, originalURL: r.OriginalURL}
	c.result.Action = "none"
	if len(s.rules) > 0 {
		c.started = time.Now()
	}
	for i := range s.rules {
		if i > 0 && c.overdue() {
			return c.result, errBudget
		}
		done, err := c.try(&s.rules[i])
		if err != nil {
			c.result.Rule = s.rules[i].name
			return c.result, fmt.Errorf("rule %q: %w", s.rules[i].name, err)
		}
		if done {
			break
		}
	}
	c.result.Path, c.result.Query = c.path, c.query
	c.result.Variables = c.custom
	c.result.OriginalURL = c.originalURL
	return c.result, nil
}

// overdue tells whether the rules have had their time.
func (c *call) overdue() bool { return time.Since(c.started) > Budget }

// try runs one rule and tells whether it is the last one.
func (c *call) try(r *rule) (done bool, err error) {
	input, ok := r.input(c.path)
	if !ok {
		return false, nil
	}
	fits, err := r.match.pattern.Fits(input)
	if err != nil || fits == r.match.not {
		return false, err
	}
	c.ruleInput[0] = piece{input, true, true}
	c.rule = match{text: input, pieces: c.ruleInput[:]}
	if fits {
		c.rule.pattern = r.match.pattern
	}
	c.conditions = c.conditions[:0]
	if holds, err := c.holds(r); err != nil || !holds {
		return false, err
	}
	for i := range r.set {
		if err := c.assign(&r.set[i]); err != nil {
			return false, err
		}
	}
	c.result.Rule = r.name
	end, err := c.act(r)
	return end || r.stop, err
}

// input is what the pattern of a rule sees of a path: what is behind its base, which IIS
// compares without regard to case.
func (r *rule) input(p string) (string, bool) {
	if r.base == "" {
		return strings.TrimPrefix(p, "/"), true
	}
	if len(p) < len(r.base) || !strings.EqualFold(p[:len(r.base)], r.base) {
		return "", false
	}
	rest := p[len(r.base):]
	if rest == "" || rest[0] == '/' {
		return strings.TrimPrefix(rest, "/"), true
	}
	return "", false
}

func (c *call) holds(r *rule) (bool, error) {
	for i := range r.conditions {
		if i > 0 && c.overdue() {
			return false, errBudget
		}
		holds, err := c.test(&r.conditions[i], r.track)
		if err != nil || holds == r.any {
			return holds, err
		}
	}
	return !r.any || len(r.conditions) == 0, nil
}

func (c *call) test(cond *condition, track bool) (bool, error) {
	pieces, err := cond.input.expand(c, c.scratch[:0])
	if err != nil {
		return false, err
	}
	c.scratch = pieces
	text := c.joined(cond.input, pieces)
	if cond.is != "" {
		holds, err := c.isFile(text, cond.is)
		return holds != cond.not, err
	}
	fits, err := cond.pattern.Fits(text)
	if err != nil || !fits || cond.not {
		return err == nil && fits != cond.not, err
	}
	if !track {
		c.conditions = c.conditions[:0]
	}
	c.conditions = append(c.conditions, match{pattern: cond.pattern, text: text, pieces: slices.Clone(pieces)})
	return true, nil
}

// joined is the text of pieces; that of {REQUEST_URI}, which many conditions have, is
// made once.
func (c *call) joined(t template, pieces []piece) string {
	if len(t) != 1 || t[0].text != "REQUEST_URI" || t[0].kind != variableNode {
		return join(pieces)
	}
	if c.uri == "" {
		c.uri = join(pieces)
	}
	return c.uri
}

func (c *call) isFile(physical, is string) (bool, error) {
	if c.request.Files == nil {
		return false, errors.New("nobody to ask for files")
	}
	file, directory, err := c.request.Files.Is(physical)
	if err != nil {
		return false, err
	}
	if is == "file" {
		return file, nil
	}
	return directory, nil
}

func (c *call) assign(v *variable) error {
	if !c.set.global && !c.set.allowed[v.name] {
		return fmt.Errorf("the variable %s is not among those that rules may set", v.name)
	}
	value, err := v.value.text(c)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(value, isControl) {
		return errControl
	}
	if !isHeader(v.name) {
		if v.keep && c.custom[v.name] != "" {
			return nil
		}
		if c.custom == nil {
			c.custom = make(map[string]string)
		}
		c.custom[v.name] = value
		return nil
	}
	if v.keep {
		if have, err := c.variable(&v.node, nil); err != nil || join(have) != "" {
			return err
		}
	}
	if c.custom == nil {
		c.custom = make(map[string]string)
	}
	c.custom[v.name] = value // what later rules see
	c.result.Headers = append(c.result.Headers, Header{v.node.from, value})
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// act takes the action of a rule and tells whether it ends the rules.
func (c *call) act(r *rule) (end bool, err error) {
	a := &r.action
	switch a.kind {
	case "none":
		return false, nil
	case "abort":
		c.result.Action = "abort"
		return true, nil
	case "respond":
		c.result.Action, c.result.Status, c.result.SubStatus = "respond", a.status, a.sub
		if c.result.Reason, err = a.reason.text(c); err == nil {
			c.result.Description, err = a.description.html(c)
		}
		return true, err
	}
	t, err := c.target(r)
	if err != nil {
		return true, err
	}
	if a.kind == "redirect" {
		c.result.Action, c.result.Status = "redirect", a.status
		c.result.Location = t.location(r.base)
		return true, nil
	}
	return c.rewrite(r, t)
}

// target is the result of the template of an action.
type target struct {
	origin   string // scheme and host; empty for a path
	path     string
	query    string
	hasQuery bool
	fragment string
}

// target expands the template of an action and splits it.
func (c *call) target(r *rule) (t target, err error) {
	pieces, err := r.action.url.expand(c, nil)
	if err != nil {
		return t, err
	}
	for _, p := range pieces {
		if strings.ContainsFunc(p.text, isControl) {
			return t, errControl
		}
	}
	pieces = t.takeOrigin(pieces, r.action.kind == "redirect")
	var sb [3]strings.Builder // path, query, fragment
	at, length := 0, 0
	for _, p := range pieces {
		length += len(p.text)
	}
	for i := range sb[:2] {
		sb[i].Grow(length)
	}
	for _, p := range pieces {
		for i := range len(p.text) {
			switch b := p.text[i]; {
			case p.decoded && at > 0 && (b == '#'):
				writeEscape(&sb[at], b)
			case p.decoded && r.action.kind == "redirect" && at == 0 && (b == '?' || b == '#'):
				writeEscape(&sb[at], b)
			case !p.decoded && b == '?' && at == 0:
				at, t.hasQuery = 1, true
			case !p.decoded && b == '#' && at < 2:
				at = 2
			default:
				sb[at].WriteByte(b)
			}
		}
	}
	t.path, t.query, t.fragment = sb[0].String(), sb[1].String(), sb[2].String()
	if !r.action.drop && c.query != "" {
		if t.query != "" {
			t.query += "&"
		}
		t.query, t.hasQuery = t.query+c.query, true
	}
	return t, nil
}

// takeOrigin takes scheme and host off the front, if the client has not chosen the
// scheme. Of a redirect it may choose the host.
func (t *target) takeOrigin(pieces []piece, redirect bool) []piece {
	all := join(pieces)
	lower := strings.ToLower(all[:min(len(all), len("https://"))])
	var length int
	switch {
	case strings.HasPrefix(lower, "http://"):
		length = len("http://")
	case strings.HasPrefix(lower, "https://"):
		length = len("https://")
	default:
		return pieces
	}
	end := len(all)
	if i := strings.IndexAny(all[length:], `/?#\`); i >= 0 {
		end = length + i
	}
	fixed := length
	if !redirect {
		fixed = end
	}
	at := 0
	for _, p := range pieces {
		if at >= fixed {
			break
		}
		if p.client && p.text != "" {
			return pieces
		}
		at += len(p.text)
	}
	t.origin = lower[:length] + all[length:end]
	return cut(pieces, end)
}

// cut takes bytes off the front.
func cut(pieces []piece, n int) []piece {
	var out []piece
	for _, p := range pieces {
		if n >= len(p.text) {
			n -= len(p.text)
			continue
		}
		p.text = p.text[n:]
		n = 0
		out = append(out, p)
	}
	return out
}

// below makes a path one from the root: a relative one is below the base of the rule.
func (t *target) below(base string) string {
	if strings.HasPrefix(t.path, "/") {
		return t.path
	}
	return base + "/" + t.path
}

// location is the header of a redirect.
func (t *target) location(base string) string {
	var sb strings.Builder
	if t.origin != "" {
		sb.WriteString(encodeQuery(t.origin))
		sb.WriteString(encodePath(t.path, true))
	} else {
		// Two slashes in front would be a host.
		sb.WriteString("/" + strings.TrimLeft(encodePath(t.below(base), true), "/"))
	}
	if t.hasQuery {
		sb.WriteString("?" + encodeQuery(t.query))
	}
	if t.fragment != "" {
		sb.WriteString("#" + encodeQuery(t.fragment))
	}
	return sb.String()
}

// rewrite changes the URL that the request goes on with.
func (c *call) rewrite(r *rule, t target) (end bool, err error) {
	if c.originalURL == "" {
		c.originalURL = join(c.requestURI(nil))
	}
	query := encodeQuery(t.query)
	if t.origin != "" {
		origin, err := Origin(t.origin)
		if err != nil || !c.set.proxy[origin] {
			origin = ""
		}
		c.result.Action = "rewrite"
		c.result.Proxy = "404"
		if origin != "" {
			u := url.URL{Path: "/"}
			c.result.Proxy = origin + "/" + strings.TrimPrefix(encodePath(t.path, c.set.keep), u.Path)
			if query != "" {
				c.result.Proxy += "?" + query
			}
		}
		return true, nil
	}
	p := t.below(r.base)
	if c.set.keep {
		p = decodeValid(p)
	}
	if strings.ContainsFunc(p, isControl) {
		return true, errControl
	}
	clean, ok := cleanPath(p)
	if !ok {
		return true, ErrPath
	}
	c.result.Action = "rewrite"
	c.path, c.query = clean, query
	return false, nil
}

// cleanPath resolves dot segments, as HTTP.sys does; a path that leads above the root is
// none of the site.
func cleanPath(p string) (string, bool) {
	p = strings.ReplaceAll(p, `\`, "/")
	depth := 0
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", false
			}
		default:
			depth++
		}
	}
	clean := path.Clean("/" + p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean, true
}
