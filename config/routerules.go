package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// RouteRules are what the routes that rows of a source bring with them may do.
//
// Whoever may write a row is not who may write the configuration. So nothing is allowed
// that is not known: modules are on a list of the source, and that list may have only those
// whose fields are known here, each of them. Files are below folders of the source,
// requests go where the source says, and placeholders tell nothing of the machine.
type RouteRules struct {
	MaxSites int

	modules map[string]bool
	folder  SiteVar
	address SiteVar
}

// NewRouteRules compiles the rules of a source, nil if its rows have no routes.
func NewRouteRules(allow *sites.AllowRoutes) (*RouteRules, error) {
	if allow == nil {
		return nil, nil
	}
	r := &RouteRules{MaxSites: allow.MaxSites, modules: make(map[string]bool), folder: SiteVar{Below: allow.Below}, address: SiteVar{To: allow.To}}
	r.modules["http.reverse_proxy.transport.http"] = true // reverse_proxy has it anyway
	known := slices.Sorted(maps.Keys(routeModules))
	for _, id := range allow.Modules {
		found := false
		for _, is := range known {
			if all, ok := strings.CutSuffix(id, "*"); id == is || ok && strings.HasSuffix(all, ".") && strings.HasPrefix(is, all) && !strings.Contains(is[len(all):], ".") {
				r.modules[is], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("allow_routes: module %q cannot be allowed, since it is not known what it lets others do: %s%s; put it into a template", id, near.Expected(known), near.Hint(id, known))
		}
	}
	return r, nil
}

// Take checks the routes of a row, given as JSON, and has the site keep them. Without
// rules it must have none.
func (r *RouteRules) Take(document []byte, cfg *Site) error {
	if cfg.SiteVars != nil {
		return errors.New("site_vars have no place here: a template declares them")
	}
	if cfg.Routes == nil && cfg.Errors == nil {
		return nil
	}
	if r == nil {
		return errors.New("routes, errors and site_vars have no place here: name a template of the configuration (a source whose rows may have routes has allow_routes)")
	}
	if len(cfg.Vars) > maxSiteVars {
		return fmt.Errorf("vars: there are %d, and %d are allowed", len(cfg.Vars), maxSiteVars)
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	own := make(map[string]any, 2)
	for _, part := range []string{"routes", "errors"} {
		if object[part] != nil {
			own[part] = object[part]
		}
	}
	if len(own) == 0 {
		return errors.New("routes and errors are written in lower case")
	}
	if err := r.check(own); err != nil {
		return err
	}
	nameTransports(own)
	canonical, err := sites.CanonicalObject(own)
	cfg.OwnRoutes = canonical
	return err
}

// nameTransports writes out what reverse_proxy has by default: Caddy cleans up, with its
// connections that wait for requests, only a transport that is named.
func nameTransports(node any) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			nameTransports(item)
		}
	case map[string]any:
		if node["handler"] == "reverse_proxy" && node["transport"] == nil {
			node["transport"] = map[string]any{"protocol": "http"}
		}
		for _, item := range node {
			nameTransports(item)
		}
	}
}

func (r *RouteRules) check(own map[string]any) error {
	placeholders := 0
	err := walkTexts("", own, func(_, text string) error {
		if placeholders += strings.Count(text, "{"); placeholders > maxPlaceholders {
			return fmt.Errorf("there are more than %d braces of placeholders and patterns in the routes of a row", maxPlaceholders)
		}
		return checkPlaceholders(text)
	})
	if err != nil {
		return err
	}
	c := &routeCheck{rules: r, patterns: maxPatterns}
	return fields{"routes": routesShape, "errors": fields{"routes": routesShape}.shape()}.check(c, "", own)
}

// Placeholders that begin like these tell of the request, of its site and of the time.
var safePlaceholders = []string{"http.", "iis.", "time."}

// unsafePlaceholders are those that tell of the machine, whatever ends them. The body of a
// request is as large as its sender likes, and is read as a whole; the headers of an answer
// could be made of themselves, twice as long each time.
var unsafePlaceholders = regexp.MustCompile(`\{(env\.|file\.|system\.|http\.request\.body|http\.response\.)`)

// maxPlaceholders bounds how many placeholders the routes of a row can have: each can be as
// long as the headers of a request.
const maxPlaceholders = 200

// anyPlaceholder is the form of what a module could replace.
var anyPlaceholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_-]*\.[^\s{}]+)\}`)

func checkPlaceholders(text string) error {
	found := unsafePlaceholders.FindString(text)
	for _, m := range anyPlaceholder.FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(safePlaceholders, func(p string) bool { return strings.HasPrefix(m[1], p) }) {
			found = m[0]
		}
	}
	if found != "" {
		return fmt.Errorf("the placeholder %.100q has no place in routes of a row: those of the request ({http.*}), the site ({iis.*}) and the time ({time.*}) have", found)
	}
	return nil
}

// routeCheck is one look at routes.
type routeCheck struct {
	rules    *RouteRules
	patterns int // how much regular expressions may still come to
}

// shape checks a part of decoded JSON. at is where it is, for errors.
type shape func(c *routeCheck, at string, value any) error

// free is what modules read by themselves: texts, numbers, headers.
func free(*routeCheck, string, any) error { return nil }

// texts looks at each text of what a module reads by itself.
func texts(check func(text string) error) shape {
	return func(_ *routeCheck, at string, value any) error {
		return walkTexts(at, value, func(at, text string) error {
			if err := check(text); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			return nil
		})
	}
}

// steadyPlaceholders begin those that no handler changes.
var steadyPlaceholders = []string{
	"http.request.remote", "http.request.local", "http.request.scheme", "http.request.proto", "http.request.orig_",
	"http.request.tls.", "http.request.uuid", "iis.", "time.",
}

var (
	// fixed has no placeholders.
	fixed = texts(func(text string) error {
		if strings.Contains(text, "{") {
			return errors.New("it has no placeholders here")
		}
		return nil
	})
	// steady has placeholders only of what no route changes: what is made of itself can
	// double without end.
	steady = texts(func(text string) error {
		found := anyPlaceholder.FindAllStringSubmatch(text, -1)
		for _, m := range found {
			if !slices.ContainsFunc(steadyPlaceholders, func(p string) bool { return strings.HasPrefix(m[1], p) }) {
				return fmt.Errorf("the placeholder %.100q has no place in a header of the request: those of the connection, of the URI as it came ({http.request.orig_uri}), of the site and of the time have", m[0])
			}
		}
		if strings.Count(text, "{") > len(found) {
			return errors.New("braces have no place in a header of the request but for placeholders")
		}
		return nil
	})
	// once has one placeholder at most.
	once = texts(func(text string) error {
		if strings.Count(text, "{") > 1 {
			return errors.New("one placeholder is allowed here, such as {http.request.uri}")
		}
		return nil
	})
	// noGlobs looks for files by their names, and walks no folders.
	noGlobs = texts(func(text string) error {
		if strings.ContainsAny(text, `*?[\\`) {
			return errors.New("files are named without * ? [ and \\")
		}
		return nil
	})
)

// fields are those of an object, and no others. One whose name ends with an exclamation
// mark is required.
type fields map[string]shape

func (f fields) shape() shape { return f.check }

func (f fields) check(c *routeCheck, at string, value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: an object is expected", at)
	}
	for name, inner := range f {
		plain, required := strings.CutSuffix(name, "!")
		field, there := object[plain]
		if required && !there {
			return fmt.Errorf("%s: %s is missing, and must be there", at, plain)
		}
		if !there {
			continue
		}
		if err := inner(c, under(at, plain), field); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if f[name] == nil && f[name+"!"] == nil {
			return fmt.Errorf("%s cannot be used in routes of a row", under(at, name))
		}
	}
	return nil
}

func under(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// list is one of things of a kind.
func list(of shape) shape {
	return func(c *routeCheck, at string, value any) error {
		items, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%s: a list is expected", at)
		}
		for i, item := range items {
			if err := of(c, fmt.Sprintf("%s[%d]", at, i), item); err != nil {
				return err
			}
		}
		return nil
	}
}

// named has things of a kind under any names.
func named(of shape) shape {
	return func(c *routeCheck, at string, value any) error {
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: an object is expected", at)
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if err := of(c, under(at, name), object[name]); err != nil {
				return err
			}
		}
		return nil
	}
}

// module checks what a module takes.
func (c *routeCheck) module(at, id string, value any) error {
	takes := routeModules[id]
	switch {
	case takes == nil:
		return fmt.Errorf("%s: %q is no module that routes of a row can use", at, id)
	case !c.rules.modules[id]:
		return fmt.Errorf("%s: the module %s is not one that routes of this source may use (allow_routes modules)", at, id)
	}
	return takes(c, at, value)
}

// modules are those of a namespace, by their names.
func modules(namespace string) shape {
	return func(c *routeCheck, at string, value any) error {
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: an object is expected", at)
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if err := c.module(under(at, name), namespace+"."+name, object[name]); err != nil {
				return err
			}
		}
		return nil
	}
}

// guest is one module of a namespace, which is named in a field beside its own.
func guest(namespace, key string) shape {
	return func(c *routeCheck, at string, value any) error {
		object, _ := value.(map[string]any)
		name, ok := object[key].(string)
		if !ok {
			return fmt.Errorf("%s: %s is missing", at, key)
		}
		own := maps.Clone(object)
		delete(own, key)
		return c.module(at, namespace+"."+name, own)
	}
}

// text is one that decides about something, and is there as it is written.
func text(check func(c *routeCheck, value string) error) shape {
	return func(c *routeCheck, at string, value any) error {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s: a text is expected", at)
		}
		if err := check(c, text); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	}
}

var (
	folder = text(func(c *routeCheck, value string) error {
		switch {
		case strings.ContainsAny(value, "{}"):
			return errors.New("a folder is written out, without placeholders")
		case len(c.rules.folder.Below) == 0:
			return errors.New("routes of this source serve no files (allow_routes below)")
		}
		return c.rules.folder.check(value)
	})
	upstream = text(func(c *routeCheck, value string) error {
		switch {
		case strings.ContainsAny(value, "{}"):
			return errors.New("an upstream is written out, without placeholders")
		case len(c.rules.address.To) == 0:
			return errors.New("routes of this source send requests nowhere (allow_routes to)")
		}
		if err := c.rules.address.check(value); err != nil {
			return err
		}
		if isOwn(value) && !slices.Contains(c.rules.address.To, value) {
			return fmt.Errorf("%s is this machine: allow_routes to names it with its port if routes may send requests there", value)
		}
		return nil
	})
	pattern = text(func(c *routeCheck, value string) error {
		parsed, err := syntax.Parse(value, syntax.Perl)
		if err != nil {
			return err
		}
		if c.patterns -= sizeOf(parsed, c.patterns); c.patterns < 0 {
			return fmt.Errorf("the regular expressions of a row come to more than %d steps: repeat less in them", maxPatterns)
		}
		return nil
	})
)

// isOwn reports whether an upstream is an address of this machine, where its admin endpoint
// and the sites themselves listen.
func isOwn(value string) bool {
	host, _, err := net.SplitHostPort(value)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return true // then it is better not
	}
	return slices.ContainsFunc(own, func(addr net.Addr) bool {
		prefix, err := netip.ParsePrefix(addr.String())
		return err == nil && prefix.Addr().Unmap() == ip.Unmap().WithZone("")
	})
}

// maxPatterns bounds what the regular expressions of a row come to when they are compiled,
// about 40 bytes a step: {1000} behind {1000} is a million.
const maxPatterns = 2000

// sizeOf is about how many steps a regular expression comes to, or more than a limit.
func sizeOf(re *syntax.Regexp, limit int) int {
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		if size > limit {
			return limit + 1
		}
		size += sizeOf(sub, limit-size)
	}
	if re.Op == syntax.OpRepeat {
		times := max(re.Min, re.Max, 1)
		if size > limit/times {
			return limit + 1
		}
		size *= times
	}
	return size
}
