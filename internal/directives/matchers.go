package directives

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// matchers are those of a site that have names. All stand directly in the site, where all
// of its blocks see them.
type matchers struct {
	names       map[string]string // by their JSON
	definitions map[string]*line  // by their names
}

func newMatchers() matchers { return matchers{make(map[string]string), make(map[string]*line)} }

// word returns the word for the matchers of a route. Several sets of matchers no word
// stands for.
func (m matchers) word(match any) (word string, ok bool) {
	if match == nil {
		return "", true
	}
	sets, _ := match.([]any)
	if len(sets) != 1 {
		return "", false
	}
	set, _ := sets[0].(object)
	if paths := caddytext.Texts(set["path"]); len(set) == 1 && len(paths) == 1 && strings.HasPrefix(paths[0], "/") {
		return paths[0], true
	}
	text, err := json.Marshal(set)
	if name, known := m.names[string(text)]; err != nil || known {
		return name, known
	}
	lines, ok := matcherLines(set)
	if !ok {
		return "", false
	}
	name := "@" + ownName(set)
	for n := len(m.names) + 1; m.definitions[name] != nil || !caddytext.Bare(name) || name == "@"; n++ {
		name = "@m" + strconv.Itoa(n)
	}
	m.names[string(text)] = name
	m.definitions[name] = &line{Words: []string{name}, Block: lines}
	if len(lines) == 1 {
		m.definitions[name] = lines[0].Behind(name)
	}
	return name, true
}

// response returns a new name for a matcher of responses.
func (m matchers) response() string {
	name := "@r" + strconv.Itoa(len(m.names)+1)
	m.names[name] = name
	return name
}

// ownName is the name that an expression or a regular expression has from the matcher that
// it stood in.
func ownName(set object) (name string) {
	for _, field := range []string{"path_regexp", "expression"} {
		if o, ok := set[field].(object); ok {
			if own, _ := o["name"].(string); own != "" {
				name = own
			}
		}
	}
	return name
}

// before puts before lines the definitions of the matchers that they name.
func (m matchers) before(lines []*line) (all []*line) {
	seen := make(map[string]bool)
	var named func(l *line)
	named = func(l *line) {
		if len(l.Words) > 1 && !seen[l.Words[1]] && m.definitions[l.Words[1]] != nil {
			seen[l.Words[1]] = true
			all = append(all, m.definitions[l.Words[1]])
		}
		for _, inner := range l.Block {
			named(inner)
		}
	}
	for _, l := range lines {
		named(l)
		all = append(all, l)
	}
	return all
}

// matcherLines writes a set of matchers, which all have to match.
func matcherLines(set object) (lines []*line, ok bool) {
	if len(set) == 0 {
		return nil, false
	}
	for _, name := range names(set) {
		write := matcherWriters[name]
		var own []*line
		switch config, _ := set[name].(object); {
		case write != nil:
			own = write(set[name])
		case config != nil:
			own = marshaled("http.matchers."+name, name, config)
		}
		if len(own) == 0 {
			return nil, false
		}
		lines = append(lines, own...)
	}
	return lines, true
}

func names(o object) []string { return slices.Sorted(maps.Keys(o)) }

// matcherWriters write Caddy's matchers.
var matcherWriters map[string]func(config any) []*line

func init() {
	matcherWriters = map[string]func(any) []*line{
		"host": listMatcher("host"), "path": listMatcher("path"), "method": listMatcher("method"),
		"protocol":      listMatcher("protocol"),
		"remote_ip":     rangesMatcher("remote_ip"),
		"client_ip":     rangesMatcher("client_ip"),
		"header":        headerMatcher,
		"header_regexp": regexpsMatcher("header_regexp"),
		"vars_regexp":   regexpsMatcher("vars_regexp"),
		"path_regexp":   func(config any) []*line { return regexpMatcher(config, "path_regexp") },
		"vars":          varsMatcher,
		"query":         queryMatcher,
		"expression":    expressionMatcher,
		"file":          fileMatcher,
		"not":           notMatcher,
	}
}

func listMatcher(word string) func(any) []*line {
	return func(config any) []*line {
		if list := caddytext.Texts(config); len(list) > 0 {
			return []*line{caddytext.New(append([]string{word}, list...)...)}
		}
		return nil
	}
}

func rangesMatcher(word string) func(any) []*line {
	return func(config any) []*line {
		o, _ := config.(object)
		return listMatcher(word)(o["ranges"])
	}
}

func headerMatcher(config any) (lines []*line) {
	o, _ := config.(object)
	for _, name := range names(o) {
		if o[name] == nil {
			lines = append(lines, caddytext.New("header", "!"+name))
			continue
		}
		for _, text := range caddytext.Texts(o[name]) {
			lines = append(lines, caddytext.New("header", name, text))
		}
	}
	return lines
}

func varsMatcher(config any) (lines []*line) {
	o, _ := config.(object)
	for _, name := range names(o) {
		lines = append(lines, caddytext.New(append([]string{"vars", name}, caddytext.Texts(o[name])...)...))
	}
	return lines
}

func queryMatcher(config any) []*line {
	o, _ := config.(object)
	l := caddytext.New("query")
	for _, name := range names(o) {
		for _, text := range caddytext.Texts(o[name]) {
			l.Words = append(l.Words, name+"="+text)
		}
	}
	return []*line{l}
}

func regexpMatcher(config any, words ...string) []*line {
	o, _ := config.(object)
	name, _ := o["name"].(string)
	pattern, _ := o["pattern"].(string)
	if name == "" {
		return nil // Caddy would give it one
	}
	return []*line{caddytext.New(append([]string{words[0], name}, append(words[1:], pattern)...)...)}
}

func regexpsMatcher(word string) func(any) []*line {
	return func(config any) (lines []*line) {
		o, _ := config.(object)
		for _, field := range names(o) {
			own := regexpMatcher(o[field], word, field)
			if own == nil {
				return nil
			}
			lines = append(lines, own...)
		}
		return lines
	}
}

// expressionMatcher writes an expression. The name that Caddy keeps with it is that of the
// matcher that it stood in.
func expressionMatcher(config any) []*line {
	if o, ok := config.(object); ok {
		config = o["expr"]
	}
	text, ok := config.(string)
	if !ok {
		return nil
	}
	return []*line{caddytext.New("expression", text)}
}

func fileMatcher(config any) []*line {
	o, ok := config.(object)
	if !ok {
		return nil
	}
	l := caddytext.New("file")
	l.Block = caddytext.Fields(o, []caddytext.Field{
		{Word: "root", Path: "root"},
		{Word: "try_files", Path: "try_files", Kind: caddytext.List},
		{Word: "try_policy", Path: "try_policy"},
		{Word: "split_path", Path: "split_path", Kind: caddytext.List},
	})
	return []*line{l}
}

func notMatcher(config any) (lines []*line) {
	sets, _ := config.([]any)
	for _, item := range sets {
		set, _ := item.(object)
		inner, ok := matcherLines(set)
		if !ok {
			return nil
		}
		if len(inner) == 1 {
			lines = append(lines, inner[0].Behind("not"))
			continue
		}
		lines = append(lines, &line{Words: []string{"not"}, Block: inner})
	}
	return lines
}
