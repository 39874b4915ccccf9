// Package directives writes routes of Caddy as the directives of a Caddyfile. What it
// writes it has adapted again, and compares: what no directive says is written as JSON.
package directives

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// The directives for what no other directive says.
const (
	// JSON takes the JSON of a handler or of routes.
	JSON = "iis_json"

	// InOrder keeps its directives in the order in which they stand.
	InOrder = "iis_in_order"
)

type (
	object = map[string]any
	line   = caddytext.Line
)

// Content is what serves a site: its routes, and those for errors.
type Content struct {
	Routes []any
	Errors map[string]any
}

// Writer writes the content of sites.
type Writer struct {
	// Adapt has Caddy read the directives of a site.
	Adapt func(lines []*caddytext.Line) (Content, error)

	// Same tells whether two values of JSON come to the same.
	Same func(got, want any) bool

	// Own is the name by which file servers hide the Caddyfile that is written.
	Own string

	matchers matchers
}

// Content writes content. It is not ok if no directives come to exactly that.
func (w *Writer) Content(want Content) (lines []*caddytext.Line, ok bool) {
	w.matchers = newMatchers()
	routes := w.block(wrapped(want.Routes))
	errors := w.errors(want.Errors)
	for _, lines := range [][]*line{routes, {{Words: []string{InOrder}, Block: routes}}} {
		lines = w.matchers.before(append(slices.Clip(lines), errors...))
		if got, err := w.Adapt(lines); err == nil && w.Same(contentJSON(got), contentJSON(want)) {
			return lines, true
		}
	}
	return nil, false
}

// wrapped are the routes in the subroute that Caddy makes around all routes of a site if
// one of them is terminal.
func wrapped(routes []any) []any {
	if len(routes) != 1 {
		return routes
	}
	route, _ := routes[0].(object)
	handlers, _ := route["handle"].([]any)
	if !is(route["terminal"], true) || !onlyHas(route, "handle", "terminal") || len(handlers) != 1 {
		return routes
	}
	subroute, _ := handlers[0].(object)
	if inner, ok := subroute["routes"].([]any); ok {
		return inner
	}
	return routes
}

// adapt has Caddy read a line, with the matchers that it names.
func (w *Writer) adapt(l *line) (Content, error) { return w.Adapt(w.matchers.before([]*line{l})) }

func contentJSON(c Content) any {
	return []any{append([]any{}, c.Routes...), c.Errors}
}

// errors writes the routes for errors as handle_errors, which Caddy puts into a subroute
// each. What has another form is left out.
func (w *Writer) errors(config map[string]any) (lines []*line) {
	routes, _ := config["routes"].([]any)
	for _, item := range routes {
		route, _ := item.(object)
		handlers, _ := route["handle"].([]any)
		if len(handlers) != 1 {
			continue
		}
		subroute, _ := handlers[0].(object)
		inner, _ := subroute["routes"].([]any)
		lines = append(lines, w.first(func(l *line) bool {
			got, err := w.adapt(l)
			return err == nil && w.Same(got.Errors, object{"routes": []any{item}})
		}, w.blocks(inner, append([]string{"handle_errors"}, statusWords(route)...)...)...)...)
	}
	return lines
}

// first returns the first line that is right, if there is one.
func (w *Writer) first(right func(*line) bool, lines ...*line) []*line {
	for _, l := range lines {
		if right(l) {
			return []*line{l}
		}
	}
	return nil
}

// blocks writes routes as a block of directives: one that Caddy sorts, and one in which they
// stay as they are.
func (w *Writer) blocks(routes []any, words ...string) []*line {
	inner := w.block(routes)
	return []*line{
		{Words: words, Block: inner, Open: true},
		{Words: words, Block: []*line{{Words: []string{InOrder}, Block: inner, Open: true}}, Open: true},
	}
}

// block writes routes as directives, in their order.
func (w *Writer) block(routes []any) (lines []*line) {
	b := blockWriter{Writer: w, exclusive: exclusiveOf(routes)}
	for _, item := range routes {
		b.route(item)
	}
	return b.lines
}

// blockWriter writes the routes of one block.
type blockWriter struct {
	*Writer
	exclusive exclusive
	lines     []*line
}

// route writes a route: a directive for each of its handlers.
func (b *blockWriter) route(item any) {
	route, _ := item.(object)
	handlers, _ := route["handle"].([]any)
	matcher, ok := b.matchers.word(route["match"])
	if !ok || !b.exclusive.fits(route) || !onlyHas(route, "match", "handle", "group") || len(handlers) == 0 {
		b.lines = append(b.lines, &line{Words: []string{JSON}, JSON: item})
		return
	}
	for _, h := range handlers {
		b.lines = append(b.lines, b.handler(route, matcher, h))
	}
}

// handler writes a handler of a route, as the first directive that Caddy reads as exactly
// that.
func (b *blockWriter) handler(route object, matcher string, item any) *line {
	h, _ := item.(object)
	want := object{"handle": []any{item}}
	if match, ok := route["match"]; ok {
		want["match"] = match
	}
	for _, l := range b.candidates(route, h) {
		if l = withMatcher(l, matcher); l != nil && b.right(l, want, route["group"] != nil) {
			return l
		}
	}
	return withMatcher(&line{Words: []string{JSON}, JSON: item}, matcher)
}

// right tells whether a directive is read as a route.
func (b *blockWriter) right(l *line, want object, grouped bool) bool {
	got, err := b.adapt(&line{Words: []string{"route"}, Block: []*line{l}})
	if err != nil || len(got.Routes) != 1 {
		return false
	}
	outer, _ := got.Routes[0].(object)
	handlers, _ := outer["handle"].([]any)
	if len(handlers) != 1 {
		return false
	}
	inner, _ := handlers[0].(object)
	routes, _ := inner["routes"].([]any)
	if len(routes) != 1 {
		return false
	}
	route, _ := routes[0].(object)
	if l.Words[0] == "rewrite" && (route["group"] != nil) != grouped {
		return false // a group is what Caddy gives to each
	}
	delete(route, "group")
	return b.Same(route, want)
}

// withMatcher puts a matcher behind the name of a directive. A first argument that looks
// like one has the matcher of all requests before it.
func withMatcher(l *line, matcher string) *line {
	if l == nil || l.Words[0] == "handle_path" {
		if l != nil && matcher != l.Words[1] {
			return nil
		}
		return l
	}
	if matcher == "" {
		if len(l.Words) < 2 || l.Words[1] == "" || !strings.Contains("/@*", l.Words[1][:1]) {
			return l
		}
		matcher = "*"
	}
	words := append([]string{l.Words[0], matcher}, l.Words[1:]...)
	return &line{Words: words, Block: l.Block, Open: l.Open, JSON: l.JSON}
}

// candidates are the directives that a handler may be.
func (b *blockWriter) candidates(route, h object) []*line {
	name, _ := h["handler"].(string)
	switch {
	case name == "subroute":
		return b.subroute(route, h)
	case name == "vars":
		return b.exclusive.vars(route, h)
	case writers[name] != nil:
		return writers[name](b.Writer, h)
	}
	return marshaled("http.handlers."+name, name, h)
}

// subroute writes a handler with routes.
func (b *blockWriter) subroute(route, h object) []*line {
	routes, _ := h["routes"].([]any)
	if route["group"] == nil {
		return b.blocks(routes, "route")[:1]
	}
	handle := b.blocks(routes, "handle")
	if len(routes) > 0 {
		if prefix, ok := stripped(routes[0]); ok {
			return append(b.blocks(routes[1:], "handle_path", prefix+"/*")[:1], handle...)
		}
	}
	return handle
}

// stripped is the prefix that a route takes off, which is all that it does.
func stripped(item any) (string, bool) {
	route, _ := item.(object)
	handlers, _ := route["handle"].([]any)
	if len(handlers) != 1 || !onlyHas(route, "handle") {
		return "", false
	}
	h, _ := handlers[0].(object)
	prefix, ok := h["strip_path_prefix"].(string)
	return prefix, ok && h["handler"] == "rewrite" && onlyHas(h, "handler", "strip_path_prefix")
}

func onlyHas(o object, fields ...string) bool {
	known := 0
	for _, field := range fields {
		if _, ok := o[field]; ok {
			known++
		}
	}
	return known == len(o)
}

// marshaled writes a module that can write itself, by the name that is its word.
func marshaled(id, word string, config object) []*line {
	l := Module(id, config)
	if l == nil {
		return nil
	}
	return []*line{l.Behind(word)}
}

// Module has a module write itself: nil if it cannot, or is none.
func Module(id string, config map[string]any) *caddytext.Line {
	info, err := caddy.GetModule(id)
	if err != nil {
		return nil
	}
	module := info.New()
	writer, ok := module.(caddytext.Marshaler)
	if !ok || decode(config, module) != nil {
		return nil
	}
	return writer.MarshalCaddyfile()
}

// Inline writes a module whose JSON has its name in a field: the name, then what it says.
// A module of Caddy that takes nothing is written as well.
func Inline(namespace, field string, raw json.RawMessage) *caddytext.Line {
	config, err := caddytext.Object(raw)
	if err != nil {
		return nil
	}
	name, _ := config[field].(string)
	delete(config, field)
	if argument, ok := moduleArguments[namespace+"."+name]; ok {
		return &line{Words: append([]string{name}, caddytext.Texts(config[argument])...)}
	}
	if fields, ok := moduleFields[namespace+"."+name]; ok || len(config) == 0 {
		return &line{Words: []string{name}, Block: caddytext.Fields(config, fields)}
	}
	if l := Module(namespace+"."+name, config); l != nil {
		return l.Behind(name)
	}
	return nil
}

// moduleArguments are the fields of modules of Caddy that take one argument and no block.
var moduleArguments = map[string]string{
	"tls.permission.http":      "endpoint",
	"tls.get_certificate.http": "url",
}

// moduleFields are the words of modules of Caddy.
var moduleFields = map[string][]caddytext.Field{
	"tls.issuance.internal": {
		{Word: "ca", Path: "ca"}, {Word: "lifetime", Path: "lifetime", Kind: caddytext.Duration}, {Word: "sign_with_root", Path: "sign_with_root", Kind: caddytext.Flag},
	},
	"tls.issuance.acme": {
		{Word: "dir", Path: "ca"},
		{Word: "test_dir", Path: "test_ca"},
		{Word: "email", Path: "email"},
		{Word: "profile", Path: "profile"},
		{Word: "timeout", Path: "acme_timeout", Kind: caddytext.Duration},
		{Word: "trusted_roots", Path: "trusted_roots_pem_files", Kind: caddytext.List},
		{Word: "disable_http_challenge", Path: "challenges.http.disabled", Kind: caddytext.Flag},
		{Word: "disable_tlsalpn_challenge", Path: "challenges.tls-alpn.disabled", Kind: caddytext.Flag},
		{Word: "alt_http_port", Path: "challenges.http.alternate_port"},
		{Word: "alt_tlsalpn_port", Path: "challenges.tls-alpn.alternate_port"},
	},
}

// decode decodes JSON into a module. What is lost by that is noticed by who compares.
func decode(config map[string]any, into any) error {
	raw, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// Count counts the handlers in JSON.
func Count(value any) (n int) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			n += Count(item)
		}
	case map[string]any:
		if _, ok := value["handler"].(string); ok {
			n++
		}
		for _, item := range value {
			n += Count(item)
		}
	}
	return n
}

// CountJSON counts the handlers that lines have as JSON.
func CountJSON(lines []*caddytext.Line) (n int) {
	for _, l := range lines {
		n += Count(l.JSON) + CountJSON(l.Block)
	}
	return n
}
