package iishttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

func init() {
	httpcaddyfile.RegisterDirective("iis_json", parseJSON)
	httpcaddyfile.RegisterDirective("iis_in_order", parseInOrder)
	for _, directive := range []string{"iis_json", "iis_in_order"} {
		httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "handle")
	}
}

// parseJSON reads what no other directive says: the JSON of one handler, of a route, or of a
// list of routes.
//
//	iis_json [<matcher>] <handler>
//	iis_json <route or routes>
func parseJSON(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume the directive's name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // again, since the matcher was taken out
	var text string
	if !h.AllArgs(&text) || h.NextBlock(h.Nesting()) {
		return nil, h.Err("iis_json takes one text, the JSON of a handler or of routes: write it between backticks, such as `{\"handler\": \"file_server\"}`")
	}
	routes, err := jsonRoutes(text, matcher)
	if err != nil {
		return nil, h.Errf("iis_json: %w", err)
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: caddyhttp.Subroute{Routes: routes}}}, nil
}

// expectedJSON is what iis_json takes.
const expectedJSON = "expected the JSON of a handler, with a field handler, or of routes"

// jsonRoutes reads routes, or one handler for what a matcher matches.
func jsonRoutes(text string, matcher caddy.ModuleMap) (caddyhttp.RouteList, error) {
	var routes caddyhttp.RouteList
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		if err := strictJSON(text, &routes); err != nil {
			return nil, err
		}
	} else {
		var fields map[string]json.RawMessage
		if err := strictJSON(text, &fields); err != nil {
			return nil, err
		}
		var route caddyhttp.Route
		if _, ok := fields["handler"]; ok {
			route.HandlersRaw = []json.RawMessage{json.RawMessage(text)}
			if matcher != nil {
				route.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
			}
			return caddyhttp.RouteList{route}, checkHandler(route.HandlersRaw[0])
		}
		if err := strictJSON(text, &route); err != nil {
			return nil, fmt.Errorf("%w: %s", err, expectedJSON)
		}
		routes = caddyhttp.RouteList{route}
	}
	if matcher != nil {
		return nil, errors.New("a matcher has no place before routes, which have their own in match: it is for a handler, which has a field handler")
	}
	return routes, checkRoutes(routes)
}

// checkRoutes refuses routes that say nothing.
func checkRoutes(routes caddyhttp.RouteList) error {
	if !slices.ContainsFunc(routes, func(r caddyhttp.Route) bool { return !reflect.ValueOf(r).IsZero() }) {
		return errors.New("there is no route in it: " + expectedJSON)
	}
	for _, route := range routes {
		for _, handler := range route.HandlersRaw {
			if err := checkHandler(handler); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkHandler refuses a handler that no module of this Caddy is.
func checkHandler(raw json.RawMessage) error {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("a handler is no JSON object: %s", expectedJSON)
	}
	name, _ := fields["handler"].(string)
	if name == "" {
		return errors.New(`a handler has no name: expected a field handler, such as {"handler": "file_server"}`)
	}
	const namespace = "http.handlers"
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		var known []string
		for _, info := range caddy.GetModules(namespace) {
			known = append(known, info.ID.Name())
		}
		return fmt.Errorf("this Caddy has no handler %q%s: expected the name of a module in %s, as caddy list-modules shows them", name, near.Hint(name, known), namespace)
	}
	return nil
}

// strictJSON decodes one value, and refuses fields that are not known.
func strictJSON(text string, into any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	err := decoder.Decode(into)
	if _, broken := errors.AsType[*json.SyntaxError](err); broken || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			return errors.New("there is more behind the JSON")
		}
	}
	if err := jsondoc.CheckFields([]byte(text), into); err != nil {
		return err
	}
	if err != nil {
		return jsondoc.Plain(err)
	}
	return nil
}

// parseInOrder reads directives that stay in the order in which they stand, as in route,
// but as routes of the site itself and not in a subroute of their own.
//
//	iis_in_order {
//		<directives...>
//	}
func parseInOrder(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume the directive's name
	tokens := h.NextSegment()
	if len(tokens) == 1 || tokens[1].Text != "{" || tokens[1].Quoted() {
		h.Reset()
		h.Next() // the error is about the first line
		return nil, h.Err("iis_in_order takes nothing but a block of directives, and no matcher: put one before each directive, or use route")
	}
	// Only the directive route keeps an order: it is asked, in a block of that one line.
	word := func(like caddyfile.Token, text string, line int) caddyfile.Token {
		like.Text, like.Line = text, line
		return like
	}
	first, last := tokens[0], tokens[len(tokens)-1]
	block := caddyfile.Segment{word(first, "iis_in_order", first.Line-1), word(first, "{", first.Line-1), word(first, "route", first.Line)}
	block = append(append(block, tokens[1:]...), word(last, "}", last.Line+1))
	handler, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(caddyfile.NewDispenser(block)))
	if err != nil {
		return nil, err
	}
	var inner struct {
		Routes caddyhttp.RouteList `json:"routes"`
	}
	outer := handler.(*caddyhttp.Subroute).Routes
	if len(outer) == 1 && len(outer[0].HandlersRaw) == 1 {
		if err := json.Unmarshal(outer[0].HandlersRaw[0], &inner); err != nil {
			return nil, h.WrapErr(err)
		}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: caddyhttp.Subroute{Routes: inner.Routes}}}, nil
}
