package rewrite

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
)

// template is a text with references in braces.
type template []node

// node is a piece of a template.
type node struct {
	kind  nodeKind
	text  string // literal, or name of a variable or map
	from  string // the name of the header of a variable
	index int
	arg   template // of functions and maps
	table *table
}

type nodeKind int

const (
	literalNode    nodeKind = iota
	ruleGroup               // {R:n}
	conditionGroup          // {C:n}
	variableNode            // {NAME}
	responseNode            // {RESPONSE_NAME}
	toLower
	urlEncode
	urlDecode
	htmlEncode
	mapNode
)

// piece is text that a template has made.
type piece struct {
	text string
	// decoded: a question mark in it is one, and separates nothing.
	decoded bool
	// client: the client can choose it.
	client bool
}

// maxNesting bounds references in references, maxTemplate the bytes of a template.
const (
	maxNesting  = 20
	maxTemplate = 16 << 10
)

// scope is what references of a template can mean.
type scope struct {
	tables    map[string]*table // by name in lower case
	custom    map[string]bool   // variables that rules set
	constants map[string]string
	captures  int // the highest {C:n}
	outbound  bool
}

// compileTemplate reads a template.
func (s *scope) compileTemplate(text string) (template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("a template is longer than %d bytes", maxTemplate)
	}
	t, rest, err := s.sequence(text, 0)
	if err == nil && rest != "" {
		err = fmt.Errorf("template %q: a brace that closes nothing", text)
	}
	return t, err
}

// sequence reads up to a closing brace or to the end.
func (s *scope) sequence(text string, depth int) (t template, rest string, err error) {
	if depth > maxNesting {
		return nil, "", fmt.Errorf("a template has more than %d references in each other", maxNesting)
	}
	for text != "" && text[0] != '}' {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			i = len(text)
		}
		if i > 0 {
			t, text = append(t, node{kind: literalNode, text: text[:i]}), text[i:]
			continue
		}
		var n node
		if n, text, err = s.reference(text, depth); err != nil {
			return nil, "", err
		}
		t = append(t, n)
	}
	return t, text, nil
}

// reference reads what begins with a brace.
func (s *scope) reference(text string, depth int) (n node, rest string, err error) {
	end := strings.IndexAny(text[1:], ":}{")
	if end < 0 || text[1+end] == '{' {
		return n, "", fmt.Errorf("template %q: a brace that is not closed", text)
	}
	name, rest := text[1:1+end], text[1+end+1:]
	if text[1+end] == '}' {
		n, err = s.variable(name)
		return n, rest, err
	}
	if strings.EqualFold(name, "R") || strings.EqualFold(name, "C") {
		index, behind, found := strings.Cut(rest, "}")
		n, err = s.group(strings.ToUpper(name), index)
		if !found {
			err = fmt.Errorf("template %q: a brace that is not closed", text)
		}
		return n, behind, err
	}
	if n, err = s.function(name); err != nil {
		return n, "", err
	}
	if n.arg, rest, err = s.sequence(rest, depth+1); err != nil {
		return n, "", err
	}
	if rest == "" {
		return n, "", fmt.Errorf("template %q: a brace that is not closed", text)
	}
	return n, rest[1:], nil
}

func (s *scope) group(kind, index string) (node, error) {
	i, err := strconv.Atoi(index)
	highest := 9
	n := node{kind: ruleGroup, index: i}
	if kind == "C" {
		n.kind, highest = conditionGroup, s.captures
	}
	if err != nil || i < 0 || i > highest || index != strconv.Itoa(i) {
		return n, fmt.Errorf("{%s:%s} is no reference: expected a number from 0 to %d", kind, index, highest)
	}
	return n, nil
}

func (s *scope) function(name string) (node, error) {
	switch strings.ToLower(name) {
	case "tolower":
		return node{kind: toLower}, nil
	case "urlencode":
		return node{kind: urlEncode}, nil
	case "urldecode":
		return node{kind: urlDecode}, nil
	case "htmlencode":
		if s.outbound {
			return node{kind: htmlEncode}, nil
		}
	}
	if table := s.tables[strings.ToLower(name)]; table != nil {
		return node{kind: mapNode, text: name, table: table}, nil
	}
	return node{}, fmt.Errorf("{%s:...} is neither a function nor the name of a map", name)
}

func (s *scope) variable(name string) (node, error) {
	n := node{kind: variableNode, text: variableName(name)}
	if isHeader(n.text) {
		n.from = headerName(n.text)
	}
	if name, ok := strings.CutPrefix(n.text, "RESPONSE_"); ok && name != "" && s.outbound {
		n.kind, n.from = responseNode, headerName("HTTP_"+name)
		return n, nil
	}
	if s.custom[n.text] || isVariable(n.text) {
		return n, nil
	}
	if _, ok := s.constants[n.text]; ok {
		return n, nil
	}
	return n, fmt.Errorf("{%s} is no server variable that is known here", name)
}

// uses tells whether a template or what is in it has a node of a kind.
func (t template) uses(fits func(node) bool) bool {
	for _, n := range t {
		if fits(n) || n.arg.uses(fits) {
			return true
		}
	}
	return false
}

// expand adds the text of a template to pieces.
func (t template) expand(c *call, out []piece) (_ []piece, err error) {
	for i := range t {
		if out, err = t[i].expand(c, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// text is expand as one text.
func (t template) text(c *call) (string, error) {
	pieces, err := t.expand(c, nil)
	return join(pieces), err
}

// html is text for a page: what the client chose is no markup.
func (t template) html(c *call) (string, error) {
	pieces, err := t.expand(c, nil)
	for i := range pieces {
		if pieces[i].client {
			pieces[i].text = html.EscapeString(pieces[i].text)
		}
	}
	return join(pieces), err
}

func join(pieces []piece) string {
	if len(pieces) == 1 {
		return pieces[0].text
	}
	var sb strings.Builder
	for _, p := range pieces {
		sb.WriteString(p.text)
	}
	return sb.String()
}

func (n *node) expand(c *call, out []piece) ([]piece, error) {
	switch n.kind {
	case literalNode:
		return append(out, piece{text: n.text}), nil
	case ruleGroup:
		return c.rule.group(n.index, out)
	case conditionGroup:
		return c.conditionGroup(n.index, out)
	case variableNode:
		return c.variable(n, out)
	case responseNode:
		return append(out, piece{text: c.responseVariable(n)}), nil
	}
	pieces, err := n.arg.expand(c, nil)
	if err != nil {
		return nil, err
	}
	if n.kind == mapNode {
		return append(out, piece{text: n.table.find(join(pieces))}), nil
	}
	for i := range pieces {
		p := &pieces[i]
		switch n.kind {
		case toLower:
			p.text = strings.Map(unicode.ToLower, p.text)
		case urlEncode:
			p.text, p.decoded = encodeAll(p.text), false
		case htmlEncode:
			p.text = html.EscapeString(p.text)
		case urlDecode:
			p.text, p.decoded = decodeValid(p.text), true
		}
	}
	return append(out, pieces...), nil
}

// match is what a pattern has fitted. Its groups are found when a template asks.
type match struct {
	pattern *ecma.Pattern // nil: the whole text is the match
	text    string
	pieces  []piece // of the text
	loc     []int
}

// groups is how many the match has, with the whole one.
func (m *match) groups() int {
	if m.pattern == nil {
		return 1
	}
	return m.pattern.Groups() + 1
}

// group adds a group to pieces.
func (m *match) group(i int, out []piece) ([]piece, error) {
	if m.loc == nil {
		m.loc = []int{0, len(m.text)}
		if m.pattern != nil {
			loc, err := m.pattern.MatchIndex(m.text)
			if err != nil {
				return nil, err
			}
			m.loc = loc
		}
	}
	if 2*i+1 >= len(m.loc) || m.loc[2*i] < 0 {
		return out, nil
	}
	from, to := m.loc[2*i], m.loc[2*i+1]
	for _, p := range m.pieces {
		if text := p.text[min(max(from, 0), len(p.text)):min(max(to, 0), len(p.text))]; text != "" {
			out = append(out, piece{text, p.decoded, p.client})
		}
		from, to = from-len(p.text), to-len(p.text)
	}
	return out, nil
}

// conditionGroup adds {C:n}: of the last condition that matched or, with all captures, of
// all of them, numbered on behind the first one's.
func (c *call) conditionGroup(i int, out []piece) ([]piece, error) {
	for k := range c.conditions {
		m := &c.conditions[k]
		if k > 0 {
			i++ // its whole match has no number
		}
		if i < m.groups() {
			return m.group(i, out)
		}
		i -= m.groups()
	}
	return out, nil
}

// table is a rewrite map.
type table struct {
	entries  map[string]string
	fold     bool
	fallback string
}

func newTable(m Map) (*table, error) {
	t := &table{entries: make(map[string]string, len(m.Entries)), fold: !m.CaseSensitive, fallback: m.Default}
	for key, value := range m.Entries {
		if t.fold {
			key = foldKey(key)
		}
		if have, ok := t.entries[key]; ok && have != value {
			return nil, fmt.Errorf("map %s: the key %q is there twice", m.Name, key)
		}
		t.entries[key] = value
	}
	return t, nil
}

func (t *table) find(key string) string {
	if t.fold {
		key = foldKey(key)
	}
	if v, ok := t.entries[key]; ok {
		return v
	}
	return t.fallback
}

func foldKey(s string) string { return strings.Map(unicode.ToLower, s) }
