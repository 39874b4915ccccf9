package iisimport_test

import (
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The model of TestPipeline: what IIS does with a request, one module after the other,
// as slowly and plainly as it can be said.

// level is what a web.config or a location says, and what it does to the settings.
type level struct {
	xml    string
	change []func(*inForce)
}

// inForce are the settings of a path.
type inForce struct {
	fault         bool // 500.19
	segments      []string
	extensions    map[string]bool
	unlistedExt   bool
	verbs         map[string]bool
	unlistedVerbs bool
	urlTexts      []string
	queryTexts    []string
	addresses     []modelEntry
	denyUnlisted  bool
	noAnonymous   bool
	authorization []modelAuth
	rules         []modelRule
	documents     []string
	noType        []string
	php, core     bool
}

type modelEntry struct {
	prefix netip.Prefix
	allow  bool
}

type modelAuth struct {
	allow       bool
	users, verb string
}

type modelRule struct {
	name, base, pattern, condition string
	negate, stop                   bool
	action, url                    string // url: or the status
}

// model is a site.
type model struct {
	levels   map[string]*level // by path in lower case
	otherApp bool              // /shop has a pool of its own
	shop     bool              // is there
	img      bool
	files    []string
}

// answer is what a client gets: "refused", or the status and what is behind it.
func (m *model) answer(method, target, header string) string {
	raw, query, _ := strings.Cut(target, "?")
	p, ok := modelPath(raw)
	if !ok {
		return "refused"
	}
	set := m.at(p)
	if set.fault || !set.filter(method, raw, p, query) || !set.address() {
		return "refused"
	}
	client := p
	for _, r := range set.rules {
		matched, groups := m.match(r, p, query, header, client)
		if !matched {
			continue
		}
		url := r.url
		for i, g := range groups {
			url = strings.ReplaceAll(url, "{R:"+string(rune('0'+i))+"}", g)
		}
		switch r.action {
		case "CustomResponse", "AbortRequest":
			return "refused"
		case "Redirect":
			return "302 " + url
		case "Rewrite":
			if up, ok := strings.CutPrefix(url, "http://127.0.0.1:21990"); ok {
				// The path at the other server is none of the site's: the accounts are
				// those of the URL that the rule has seen.
				if set := m.at(p); set.fault || !set.account(method) {
					return "refused"
				}
				return "200 UPSTREAM " + up
			}
			url, _, _ = strings.Cut(url, "?")
			if !strings.HasPrefix(url, "/") {
				url = strings.TrimSuffix(r.base, "/") + "/" + url
			}
			p = path.Clean(url)
			if strings.HasSuffix(url, "/") && p != "/" {
				p += "/"
			}
		}
		if r.stop {
			break
		}
	}
	if m.pool(p) != m.pool(client) {
		return "refused"
	}
	return m.handle(method, p, query)
}

// handle is what comes behind the rules.
func (m *model) handle(method, p, query string) string {
	set := m.at(p)
	if set.fault || !set.account(method) {
		return "refused"
	}
	script := slices.ContainsFunc(strings.Split(strings.ToLower(p), "/"), func(name string) bool { return strings.HasSuffix(name, ".php") })
	switch {
	case set.core, script && set.php:
		return "200 UPSTREAM " + p
	case script:
		return "refused"
	}
	file, folder := m.find(p)
	switch {
	case folder && !strings.HasSuffix(p, "/"):
		if method != "GET" {
			return "refused"
		}
		if query != "" {
			query = "?" + query
		}
		return "301 " + p + "/" + query
	case folder:
		for _, doc := range set.documents {
			name, _ := m.find(p + doc)
			if name == "" {
				continue
			}
			// A request of its own.
			if !set.filter("GET", p+doc, p+doc, "") || !set.address() {
				return "refused"
			}
			if doc == "x.php" {
				if set.php {
					return "200 UPSTREAM " + p + doc
				}
				return "refused"
			}
			return set.send(method, name)
		}
		return "refused"
	case file != "":
		return set.send(method, file)
	}
	return "refused"
}

func (s *inForce) send(method, file string) string {
	ext := path.Ext(file)
	if method != "GET" || ext == ".pem" || ext == "" || slices.Contains(s.noType, ext) {
		return "refused"
	}
	return "200 FILE " + file
}

// modelPath is what HTTP.sys makes of a path.
func modelPath(raw string) (string, bool) {
	var sb strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			sb.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", false
		}
		hi, lo := strings.IndexByte("0123456789abcdef", raw[i+1]|0x20), strings.IndexByte("0123456789abcdef", raw[i+2]|0x20)
		if hi < 0 || lo < 0 {
			return "", false
		}
		sb.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	p := strings.ReplaceAll(sb.String(), `\`, "/")
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean, true
}

// at are the settings of a path: the server's, then those of each part.
func (m *model) at(p string) *inForce {
	s := &inForce{
		segments: []string{"web.config"}, unlistedExt: true, unlistedVerbs: true, extensions: map[string]bool{}, verbs: map[string]bool{},
		authorization: []modelAuth{{true, "*", ""}}, documents: []string{"Default.htm", "Default.asp", "index.htm", "index.html", "iisstart.htm"},
	}
	parts := strings.Split(strings.ToLower(strings.Trim(p, "/")), "/")
	for i := range len(parts) + 1 {
		at := "/" + strings.Join(parts[:i], "/")
		if l := m.levels[at]; l != nil && (at != "/" || i == 0) {
			for _, change := range l.change {
				change(s)
			}
		}
	}
	return s
}

func (s *inForce) filter(method, raw, p, query string) bool {
	if allowed, listed := s.verbs[method]; listed && !allowed || !listed && !s.unlistedVerbs {
		return false
	}
	if strings.Contains(p, "+") || strings.Contains(p, "%") {
		return false
	}
	for _, text := range s.urlTexts {
		if strings.Contains(strings.ToLower(p), text) || strings.Contains(strings.ToLower(raw), text) {
			return false
		}
	}
	names := strings.Split(strings.ToLower(p), "/")
	for i, name := range names {
		if slices.Contains(s.segments, name) {
			return false
		}
		ext, last := path.Ext(name), i == len(names)-1
		if ext == "" {
			ext = "."
		}
		allowed, listed := s.extensions[ext]
		// A folder is without extension, but only the one that is asked for counts.
		if (last || ext != ".") && (listed && !allowed || !listed && !s.unlistedExt) {
			return false
		}
	}
	for _, text := range s.queryTexts {
		if strings.Contains(strings.ToLower(query), text) {
			return false
		}
	}
	return true
}

func (s *inForce) address() bool {
	for _, e := range s.addresses {
		if e.prefix.Contains(netip.MustParseAddr("127.0.0.1")) {
			return e.allow
		}
	}
	return !s.denyUnlisted
}

// account tells whether an anonymous client may.
func (s *inForce) account(method string) bool {
	if s.noAnonymous {
		return false
	}
	for _, allow := range []bool{false, true} {
		for _, a := range s.authorization {
			if a.allow == allow && (a.verb == "" || a.verb == method) && (a.users == "*" || a.users == "?") {
				return allow
			}
		}
	}
	return false
}

// match tells whether a rule fires, and the groups of its pattern. One that blocks is
// also tried from the application of the client's path.
func (m *model) match(r modelRule, p, query, header, client string) (bool, []string) {
	bases := []string{r.base}
	if (r.action == "CustomResponse" || r.action == "AbortRequest") && m.shop && below(strings.ToLower(client), "/shop") && !below(r.base, "/shop") {
		bases = append(bases, "/shop")
	}
	for _, base := range bases {
		if !below(strings.ToLower(p), base) {
			continue
		}
		rest := strings.TrimPrefix(p[len(strings.TrimSuffix(base, "/")):], "/")
		groups := regexp.MustCompile("(?i)" + r.pattern).FindStringSubmatch(rest)
		if (groups != nil) == r.negate {
			continue
		}
		if r.negate {
			groups = []string{rest}
		}
		file, folder := m.find(p)
		isFile := file != "" && !folder && !strings.HasSuffix(p, "/")
		switch r.condition {
		case "file":
			if !isFile {
				continue
			}
		case "no file":
			if isFile {
				continue
			}
		case "query":
			if !strings.Contains(strings.ToLower(query), "go") {
				continue
			}
		case "header":
			if header != "1" {
				continue
			}
		}
		return true, groups
	}
	return false, nil
}

func below(p, base string) bool {
	return base == "/" || p == base || strings.HasPrefix(p, base+"/")
}

func (m *model) pool(p string) string {
	if m.shop && m.otherApp && below(strings.ToLower(p), "/shop") {
		return "other"
	}
	return "main"
}

// find returns the file of a path, or tells that it is a folder.
func (m *model) find(p string) (file string, folder bool) {
	lower, prefix := strings.ToLower(p), ""
	switch {
	case m.shop && below(lower, "/shop"):
		lower, prefix = lower[len("/shop"):], "shop:"
	case m.img && below(lower, "/img"):
		lower, prefix = lower[len("/img"):], "img:"
	}
	lower = strings.Trim(lower, "/")
	if lower == "" {
		return "", true
	}
	for _, f := range m.files {
		if strings.ToLower(f) == lower && !strings.HasSuffix(p, "/") {
			return prefix + f, false
		}
		if strings.HasPrefix(strings.ToLower(f), lower+"/") {
			return "", true
		}
	}
	return "", false
}
