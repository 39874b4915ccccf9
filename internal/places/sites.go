package places

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ClosedRule is what the name of a rule of iis_rewrite begins with that stands in for one that
// is not executed, and refuses what that one may have refused.
const ClosedRule = "closed: "

// Counter counts places and sites of an iis app. Sites are added one by one, since those of its
// sources are in no configuration.
type Counter struct {
	walker    walker
	defaults  state
	templates map[string]state
	sites     map[string]any
}

// state is how much of some routes nobody gets.
type state int

const (
	open state = iota
	partly
	closed
)

// New counts the places in the JSON of an iis app, and judges its templates and sites. No site
// is counted yet.
func New(raw []byte) (*Counter, error) {
	var app map[string]any
	if err := json.Unmarshal(raw, &app); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Of(app), nil
}

// Of is New for JSON that is decoded already.
func Of(app map[string]any) *Counter {
	c := &Counter{walker: walker{markers: make(map[string]bool)}, templates: make(map[string]state)}
	for key, part := range app {
		kids, _ := part.(map[string]any)
		switch key {
		case "defaults":
			c.defaults = c.judge(part)
		case "templates":
			for name, kid := range kids {
				c.templates[name] = c.judge(kid)
			}
		case "sites":
			c.sites = kids
			c.walker.walk(part, false)
		default:
			c.walker.walk(part, false)
		}
	}
	return c
}

// Site counts a site of the app.
func (c *Counter) Site(id uint32) {
	site, _ := c.sites[strconv.FormatUint(uint64(id), 10)].(map[string]any)
	template, _ := site["template"].(string)
	if template != "" || site["routes"] == nil && site["errors"] == nil {
		c.Row(template)
		return
	}
	c.add(judge(site))
}

// Row counts a site of a source, which a template serves, or the defaults. One that has routes of
// its own is an Other.
func (c *Counter) Row(template string) {
	if template == "" {
		c.add(c.defaults)
		return
	}
	c.add(c.templates[template])
}

// Other counts a site whose routes are not looked at.
func (c *Counter) Other() { c.add(open) }

func (c *Counter) add(is state) {
	switch s := &c.walker.count.Sites; is {
	case closed:
		s.Closed++
	case partly:
		s.Partly++
	default:
		s.Open++
	}
}

// Templates lists the templates whose sites have to be known: those that have places that are
// closed, and all, if the defaults have, for which sites without a template are looked for.
func (c *Counter) Templates() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(c.templates)) {
		if c.templates[name] != open || c.defaults != open {
			names = append(names, name)
		}
	}
	return names
}

// Some tells whether any site may have places that are closed: else nobody need list them.
func (c *Counter) Some() bool { return c.walker.places() > 0 }

// Count is what was counted.
func (c *Counter) Count() Count {
	count := c.walker.count
	for _, dial := range c.walker.dials {
		if c.walker.markers[dial] {
			count.Upstreams++
		}
	}
	return count
}

// judge counts the places of content, and tells how much of it nobody gets.
func (c *Counter) judge(content any) state {
	c.walker.walk(content, false)
	return judge(content)
}

func judge(content any) state {
	w := walker{markers: make(map[string]bool)}
	if w.walk(content, false); w.places() == 0 {
		return open
	}
	fields, _ := content.(map[string]any)
	if end, _ := ends(fields["routes"], false); end == refuses {
		return closed
	}
	return partly
}

// end is how the way of a request through handlers ends.
type end int

const (
	goesOn  end = iota // nothing has answered all requests
	refuses            // all are refused by places that are closed
	answers            // some may get something
)

// ends tells how requests fare with routes, and whether somebody has found out who the user is.
func ends(routes any, known bool) (is end, knows bool) {
	list, _ := routes.([]any)
	passed := make(map[string]bool) // groups of which a route lets some pass
	for _, r := range list {
		route, _ := r.(map[string]any)
		matchers, _ := route["match"].([]any)
		group, _ := route["group"].(string)
		some := len(matchers) > 0
		var at end
		at, known = chain(route["handle"], known, some)
		switch {
		case at == answers:
			return answers, known
		case at == goesOn:
			passed[group] = passed[group] || group != ""
		case !some && !passed[group]:
			return refuses, known
		}
	}
	return goesOn, known
}

// chain is ends for the handlers of a route, which has all requests or some.
func chain(handlers any, known, some bool) (is end, knows bool) {
	list, _ := handlers.([]any)
	for _, h := range list {
		fields, _ := h.(map[string]any)
		switch name, _ := fields["handler"].(string); name {
		case "iis_closed":
			return refuses, known
		case "iis_authorization":
			if deny, _ := fields["deny_anonymous"].(bool); deny && !known {
				return refuses, known
			}
		case "authentication":
			known = true
		case "subroute":
			if is, _ := ends(fields["routes"], known); is != goesOn {
				return is, known
			}
		case "iis_rewrite":
			if is := rules(fields["rules"]); is != goesOn {
				return is, known
			}
		case "error":
			if !some { // what IIS refuses itself
				return answers, known
			}
		default:
			if !passesOn[name] {
				return answers, known
			}
		}
	}
	return goesOn, known
}

// passesOn are the handlers that answer nothing but errors.
var passesOn = map[string]bool{
	"iis_url": true, "iis_filter": true, "iis_ip_security": true, "iis_dynamic_ip_security": true, "iis_content_types": true,
	"encode": true, "headers": true, "log_append": true, "map": true, "request_body": true, "rewrite": true, "tracing": true, "vars": true,
}

// rules tells what iis_rewrite does: a redirect or an answer of its own is something.
func rules(list any) end {
	all, _ := list.([]any)
	for _, r := range all {
		fields, _ := r.(map[string]any)
		action, _ := fields["action"].(map[string]any)
		match, _ := fields["match"].(map[string]any)
		base, _ := fields["base"].(string)
		kind, _ := action["type"].(string)
		switch {
		case isClosedRule(r):
			pattern, _ := match["pattern"].(string)
			negate, _ := match["negate"].(bool)
			if everything[pattern] && !negate && base == "" {
				return refuses
			}
		case kind == "redirect" || kind == "respond":
			return answers
		}
	}
	return goesOn
}

// everything are regular expressions that fit every path, as people write them.
var everything = map[string]bool{"": true, "^": true, ".*": true, "^.*": true, "^.*$": true, ".*$": true, "(.*)": true, "^(.*)": true, "^(.*)$": true, "(.*)$": true}

func isClosedRule(rule any) bool {
	fields, _ := rule.(map[string]any)
	name, _ := fields["name"].(string)
	action, _ := fields["action"].(map[string]any)
	return strings.HasPrefix(name, ClosedRule) && action["type"] == "respond"
}
