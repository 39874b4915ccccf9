package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/near"
)

// siteBody is the part of a site, of defaults or of a template, that consists of directives.
// It is compiled when the whole block is read, since order options may follow.
type siteBody struct {
	label    string
	words    []string // what is accepted beside directives
	content  *Content
	segments []caddyfile.Segment
}

// refusedDirectives are those that would do nothing in a site, and what takes
// their place.
var refusedDirectives = map[string]string{
	"tls":  "a site's certificate is named by its bindings, its certificate option or an endpoint",
	"bind": "write the address into the site's bindings, such as 10.0.0.5:443:www.example.com, or use the listen option of iis",
	"log":  "it stands alone in a site, or in iis for all sites",
}

// unorderedDirectives are those of Caddy that have a place in a site only, not
// within another directive.
var unorderedDirectives = map[string]string{
	"tls":           refusedDirectives["tls"],
	"bind":          refusedDirectives["bind"],
	"log":           refusedDirectives["log"],
	"handle_errors": "it belongs directly in a site, in defaults or in a template",
}

// add takes over a directive, and refuses those that would do nothing here.
func (b *siteBody) add(d *caddyfile.Dispenser) error {
	directive := d.Val()
	if instead, ok := refusedDirectives[directive]; ok {
		return d.Errf("%s has no place here: %s", directive, instead)
	}
	b.segments = append(b.segments, d.NextSegment())
	return nil
}

func (p *caddyfileParser) addBody(body siteBody) {
	if len(body.segments) > 0 {
		p.bodies = append(p.bodies, body)
	}
}

// compileBodies turns the directives of each body into routes. Sites with
// equal bodies are compiled once.
func (p *caddyfileParser) compileBodies() error {
	compiled := make(map[string]*Content)
	for _, body := range p.bodies {
		key := bodyKey(body.segments)
		content, ok := compiled[key]
		if !ok {
			var err error
			if content, err = p.compile(body.segments); err != nil {
				return p.bodyError(body, err)
			}
			compiled[key] = content
		}
		body.content.Routes, body.content.Errors = content.Routes, content.Errors
	}
	return nil
}

// bodyKey is equal for bodies of which Caddy's adapter makes the same: the
// text of the tokens with their quotes and line breaks, and the files that
// they come from, which file_server hides.
func bodyKey(segments []caddyfile.Segment) string {
	var key []byte
	var file string
	for _, segment := range segments {
		d := caddyfile.NewDispenser(segment)
		for d.Next() {
			key = append(key, '\n')
			if d.File() != file {
				file = d.File()
				key = append(strconv.AppendQuote(key, file), ':')
			}
			key = appendToken(key, d)
			for d.NextArg() {
				key = appendToken(append(key, ' '), d)
			}
		}
	}
	return string(key)
}

// appendToken writes a token behind the kind of its quotes, which some
// directives heed.
func appendToken(key []byte, d *caddyfile.Dispenser) []byte {
	if d.Token().Quoted() {
		quote := byte('<') // as heredocs start; their delimiters are not kept
		if raw := d.ValRaw(); len(raw) > len(d.Val()) {
			quote = raw[0]
		}
		key = append(key, quote)
	}
	return strconv.AppendQuote(key, d.Val())
}

// lossError says what a directive sets that a site cannot have, and where it
// is set instead.
type lossError struct{ what, instead string }

func (e lossError) Error() string {
	return fmt.Sprintf("sets %s, which a site cannot: %s", e.what, e.instead)
}

// compile has Caddy's own Caddyfile adapter compile directives, as a site with
// the address http://, and takes the routes from the result. Whatever else the
// adapter makes of a directive would be lost, and is refused.
func (p *caddyfileParser) compile(segments []caddyfile.Segment) (*Content, error) {
	clones := make([]caddyfile.Segment, len(segments))
	for i, segment := range segments {
		clones[i] = slices.Clone(segment) // placeholders are replaced in place
	}
	srv, err := p.setup(clones)
	if err != nil {
		return nil, err
	}
	content := &Content{Routes: srv.Routes, Errors: srv.Errors}
	srv.Routes, srv.Errors, srv.Listen, srv.AutoHTTPS = nil, nil, nil, nil
	if rest := fieldsOf(srv); rest != "" {
		return nil, lossError{rest + " of the server", "use the servers option of iis"}
	}
	return content, nil
}

// fieldsOf lists the JSON fields that are set in a struct.
func fieldsOf(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err.Error()
	}
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}

// setup runs Caddy's Caddyfile adapter over directives and global options, and
// returns the one server that it makes of them.
func (p *caddyfileParser) setup(segments []caddyfile.Segment, options ...caddyfile.Segment) (*caddyhttp.Server, error) {
	var blocks []caddyfile.ServerBlock
	for _, order := range p.orders {
		options = append(options, slices.Clone(order))
	}
	if len(options) > 0 {
		blocks = append(blocks, caddyfile.ServerBlock{HasBraces: true, Segments: options})
	}
	blocks = append(blocks, caddyfile.ServerBlock{
		HasBraces: true,
		Keys:      []caddyfile.Token{{Text: "http://"}},
		Segments:  segments,
	})
	cfg, warnings, err := httpcaddyfile.ServerType{}.Setup(blocks, nil)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, errors.New(warnings[0].String())
	}
	return onlyServer(cfg)
}

// onlyServer takes the server out of a configuration that must hold nothing
// else.
func onlyServer(cfg *caddy.Config) (*caddyhttp.Server, error) {
	app := new(caddyhttp.App)
	if raw, ok := cfg.AppsRaw["http"]; ok {
		if err := json.Unmarshal(raw, app); err != nil {
			return nil, err
		}
		delete(cfg.AppsRaw, "http")
	}
	servers := app.Servers
	app.Servers = nil
	if rest := fieldsOf(app); rest != "" {
		return nil, lossError{rest + " of the http app", "use Caddy's global options"}
	}
	if len(cfg.AppsRaw) > 0 {
		return nil, lossError{"options of the app " + strings.Join(slices.Sorted(maps.Keys(cfg.AppsRaw)), ", "), "use Caddy's global options"}
	}
	cfg.AppsRaw = nil
	if rest := fieldsOf(cfg); rest != "" {
		return nil, lossError{"the global " + rest, "use Caddy's global options"}
	}
	if len(servers) != 1 {
		return nil, fmt.Errorf("expected one server, got %d", len(servers))
	}
	return servers[slices.Sorted(maps.Keys(servers))[0]], nil
}

// bodyError says which directive of a body makes its compilation fail. Not all
// errors of Caddy's adapter say it, so each directive is tried alone.
func (p *caddyfileParser) bodyError(body siteBody, err error) error {
	var matchers, directives []caddyfile.Segment
	for _, segment := range body.segments {
		if strings.HasPrefix(segment.Directive(), "@") {
			matchers = append(matchers, segment)
		} else {
			directives = append(directives, segment)
		}
	}
	for i, segment := range matchers {
		if _, err := p.compile(matchers[:i+1]); err != nil {
			return body.segmentError(segment, err)
		}
	}
	for _, segment := range directives {
		if _, err := p.compile(append(slices.Clone(matchers), segment)); err != nil {
			return body.segmentError(segment, err)
		}
	}
	return body.segmentError(body.segments[0], err)
}

// The errors of Caddy's adapter that are said in another way here.
var (
	reUnrecognized = regexp.MustCompile(`unrecognized directive: (\S+)`)
	reUnordered    = regexp.MustCompile(`directive '([^']+)' is not an ordered HTTP handler`)
	reNoHandler    = regexp.MustCompile(`(\S+) directive returned something other than an HTTP route`)
	reNamedRoute   = regexp.MustCompile(`cannot invoke named route '([^']*)'`)
)

// segmentError adds to the error of a directive what an administrator needs:
// the site, the line and the way out.
func (b *siteBody) segmentError(segment caddyfile.Segment, err error) error {
	text := err.Error()
	if m := reUnrecognized.FindStringSubmatch(text); m != nil {
		return atToken(findWord(segment, m[1])).Errf("%s: %s", b.label, b.unrecognized(m[1]))
	}
	if m := reUnordered.FindStringSubmatch(text); m != nil && unorderedDirectives[m[1]] == "" {
		return atToken(findWord(segment, m[1])).Errf("%s: directive %q has no place in Caddy's order of directives: put it into a route block, "+
			"or write order into this iis block as well, since the global order option is out of reach here", b.label, m[1])
	}
	for _, re := range []*regexp.Regexp{reUnordered, reNoHandler} {
		if m := re.FindStringSubmatch(text); m != nil {
			instead := cmp.Or(unorderedDirectives[m[1]], "it is not a handler of requests")
			return atToken(findWord(segment, m[1])).Errf("%s: %s has no place here: %s", b.label, m[1], instead)
		}
	}
	if m := reNamedRoute.FindStringSubmatch(text); m != nil {
		return atToken(findWord(segment, "invoke")).Errf("%s: cannot invoke named route %q: named routes are out of reach here, "+
			"use a snippet and import it", b.label, m[1])
	}
	if loss := (lossError{}); errors.As(err, &loss) {
		return atToken(segment[0]).Errf("%s: directive %q %w", b.label, segment.Directive(), loss)
	}
	if hasLine(segment, text) {
		return fmt.Errorf("%s: %w", b.label, err)
	}
	return atToken(segment[0]).Errf("%s: %w", b.label, err)
}

// unrecognized says what a word is not, and where it may belong.
func (b *siteBody) unrecognized(word string) string {
	switch {
	case slices.Contains(b.words, word):
		return fmt.Sprintf("%s belongs directly in the site, not within a directive", word)
	case slices.Contains(siteWords, word):
		return fmt.Sprintf("%s belongs in a site", word)
	case slices.Contains(words, word):
		return fmt.Sprintf("%s belongs in iis, not here: is a closing brace missing above?", word)
	case len(b.words) > 0:
		return fmt.Sprintf("%q is neither a directive of this Caddy nor one of %s%s", word, strings.Join(b.words, ", "), near.Hint(word, append(knownDirectives(), b.words...)))
	}
	return fmt.Sprintf("%q is not a directive of this Caddy%s", word, near.Hint(word, knownDirectives()))
}

// knownDirectives are words that somebody may have meant: most directives are named as
// the handler that they make.
func knownDirectives() []string {
	list := []string{"redir", "php_fastcgi", "handle", "handle_path", "handle_errors", "route", "root", "respond", "header", "basic_auth", "import"}
	for _, info := range caddy.GetModules("http.handlers") {
		list = append(list, info.ID.Name())
	}
	return list
}

// findWord returns the first token of a directive that starts a line with a word,
// or else the directive itself.
func findWord(segment caddyfile.Segment, word string) caddyfile.Token {
	for d := caddyfile.NewDispenser(segment); d.Next(); d.RemainingArgs() {
		if d.Val() == word {
			return d.Token()
		}
	}
	return segment[0]
}

// hasLine tells whether an error names a file and line of a directive.
func hasLine(segment caddyfile.Segment, text string) bool {
	return slices.ContainsFunc(segment, func(token caddyfile.Token) bool {
		return strings.Contains(text, fmt.Sprintf("%s:%d", token.File, token.Line))
	})
}

// refusedServers are the options of Caddy's servers option that bindings and
// sites decide.
var refusedServers = map[string]string{
	"name":                 "the servers here have no names",
	"strict_sni_host":      "requests are routed by Host, as in IIS",
	"metrics":              "it is deprecated in Caddy as well",
	"packet_conn_wrappers": "UDP sockets outlive configurations here, and wrappers do not",
}

// servers parses the options of the HTTP servers with Caddy's own parser.
func (p *caddyfileParser) servers(d *caddyfile.Dispenser) error {
	here := atToken(d.Token())
	if p.app.Server != nil {
		return here.Errf("servers is configured twice: one block holds for all bindings")
	}
	if d.NextArg() {
		return d.Errf("servers takes no address here, such as %q: it applies to all bindings", d.Val())
	}
	segment := d.NextSegment()
	if len(segment) == 1 {
		return here.Errf("servers expects a block with options")
	}
	sd := caddyfile.NewDispenser(segment)
	sd.Next()
	for sd.NextBlock(0) {
		if reason, ok := refusedServers[sd.Val()]; ok {
			return sd.Errf("servers: %s has no place here: %s", sd.Val(), reason)
		}
		sd.NextSegment()
	}
	srv, err := new(caddyfileParser).setup(nil, segment)
	if err != nil && !hasLine(segment, err.Error()) {
		return here.WrapErr(err)
	}
	if err != nil {
		return err
	}
	srv.Listen, srv.AutoHTTPS, srv.Routes = nil, nil, nil
	if err := CheckServer(srv); err != nil {
		return here.WrapErr(err)
	}
	p.app.Server = srv
	return nil
}
