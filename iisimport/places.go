package iisimport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/places"
)

// places counts what caddy iis check counts in the result, once all sites are where they are to be.
func (p *Plan) places() places.Count {
	templates, sites := make(map[string]any), make(map[string]any)
	for _, t := range p.Templates {
		templates[t.Name] = content(t.body)
	}
	for _, s := range p.Sites {
		if s.template == nil {
			sites[strconv.FormatUint(uint64(s.ID), 10)] = content(s.body)
		}
	}
	c := places.Of(map[string]any{"templates": templates, "sites": sites})
	for _, s := range p.Sites {
		if s.template != nil {
			c.Row(s.template.Name)
		} else {
			c.Site(s.ID)
		}
	}
	return c.Count()
}

// content is what Caddy makes of the directives of a site, as far as places are counted in it.
func content(list []*Directive) map[string]any {
	var errors []any
	for _, d := range list {
		if len(d.Words) > 0 && d.Words[0] == "handle_errors" {
			errors = append(errors, routes(d.Block)...)
		}
	}
	return map[string]any{"routes": routes(list), "errors": map[string]any{"routes": errors}}
}

// handlerNames are those of directives that have another one.
var handlerNames = map[string]string{"header": "headers", "root": "vars", "uri": "rewrite"}

func routes(list []*Directive) (out []any) {
	for _, d := range list {
		if len(d.Words) == 0 || strings.HasPrefix(d.Words[0], "@") || d.Words[0] == "handle_errors" {
			continue
		}
		name := d.Words[0]
		route, handler := make(map[string]any), map[string]any{"handler": name}
		if len(d.Words) > 1 && strings.HasPrefix(d.Words[1], "@") {
			route["match"] = []any{d.Words[1]}
		}
		if other := handlerNames[name]; other != "" {
			handler["handler"] = other
		}
		switch name {
		case "handle", "route":
			handler["handler"], handler["routes"] = "subroute", routes(d.Block)
			if name == "handle" {
				route["group"] = name
			}
		case "iis_authorization":
			handler["deny_anonymous"] = slices.ContainsFunc(d.Block, func(kid *Directive) bool { return slices.Equal(kid.Words, []string{"anonymous", "off"}) })
		case "iis_rewrite":
			handler["rules"] = rewriteRules(d.Block)
		case "vars":
			if d.Words[1] == places.Marker {
				handler[places.Marker] = d.Words[2]
			}
		case "reverse_proxy":
			if m := reOwnVariable.FindStringSubmatch(d.Words[len(d.Words)-1]); m != nil {
				handler["upstreams"] = []any{map[string]any{"dial": m[1]}}
			}
		}
		route["handle"] = []any{handler}
		out = append(out, route)
	}
	return out
}

// rewriteRules are the rules of iis_rewrite.
func rewriteRules(list []*Directive) (out []any) {
	for _, d := range list {
		if len(d.Words) < 2 || d.Words[0] != "rule" {
			continue
		}
		rule := map[string]any{"name": d.Words[1]}
		for _, kid := range d.Block {
			switch last := kid.Words[len(kid.Words)-1]; kid.Words[0] {
			case "base":
				rule["base"] = last
			case "match":
				rule["match"] = map[string]any{"pattern": last}
			case "action":
				rule["action"] = map[string]any{"type": kid.Words[1]}
			}
		}
		out = append(out, rule)
	}
	return out
}
