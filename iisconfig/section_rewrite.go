package iisconfig

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// The URL Rewrite module is not part of IIS but on most servers. Its sections are kept
// with their parts as they were written.

// rewriting makes the change of a section of the group.
func rewriting(src Source, set func(*Settings, *Rewrite)) func(*Settings) {
	return func(s *Settings) {
		replace(&s.Rewrite, Rewrite{}, func(r *Rewrite) {
			set(s, r)
			r.Source = src
		})
	}
}

func ruleName(r RewriteRule) string { return r.Name }

func readRules(c *context, el *element) func(*Settings) {
	return inboundRules(c, el, func(r *Rewrite) (*[]RewriteRule, *bool) { return &r.Rules, &r.KeepEncoded })
}

func readGlobalRules(c *context, el *element) func(*Settings) {
	return inboundRules(c, el, func(r *Rewrite) (*[]RewriteRule, *bool) { return &r.GlobalRules, &r.GlobalKeepEncoded })
}

func inboundRules(c *context, el *element, of func(*Rewrite) (rules *[]RewriteRule, keepEncoded *bool)) func(*Settings) {
	encode, isSet := c.boolean(el, "useOriginalURLEncoding", true), el.has("useOriginalURLEncoding")
	l := collection(c, el, "rule", byAttr("name"), func(el *element) RewriteRule { return c.rewriteRule(el, false) })
	c.attributes(el)
	return rewriting(c.src(el), func(s *Settings, r *Rewrite) {
		rules, keep := of(r)
		*rules = l.apply(s, *rules, ruleName)
		if isSet {
			*keep = !encode
		}
	})
}

// readOutboundRules also reads the pre-conditions that rules name.
func readOutboundRules(c *context, el *element) func(*Settings) {
	rules := *el
	rules.kids = nil
	var conditions list[PreCondition]
	var tags []Value
	for _, kid := range el.kids {
		switch {
		case kid.is("preConditions"):
			conditions = collection(c, kid, "preCondition", byAttr("name"), c.preCondition)
			c.attributes(kid)
		case kid.is("customTags"):
			for _, tag := range kid.kids {
				tags = append(tags, value(c, "name")(tag))
			}
			if tags != nil {
				c.rep.info(CodeUnsupported, c.src(kid), "outboundRules: custom tags are for rules that change bodies of answers, which are not executed")
			}
		default:
			rules.kids = append(rules.kids, kid)
		}
	}
	before, isSet := c.boolean(el, "rewriteBeforeCache", false), el.has("rewriteBeforeCache")
	if before {
		c.rep.info(CodeIgnored, c.src(el), "outboundRules: rewriteBeforeCache is about the output cache of IIS")
	}
	l := collection(c, &rules, "rule", byAttr("name"), func(el *element) RewriteRule { return c.rewriteRule(el, true) })
	c.attributes(el)
	return rewriting(c.src(el), func(s *Settings, r *Rewrite) {
		r.OutboundRules = l.apply(s, r.OutboundRules, ruleName)
		r.PreConditions = conditions.apply(s, r.PreConditions, func(p PreCondition) string { return p.Name })
		r.CustomTags = append(slices.Clip(r.CustomTags), tags...)
		if isSet {
			r.BeforeCache = before
		}
	})
}

func readRewriteMaps(c *context, el *element) func(*Settings) {
	l := collection(c, el, "rewriteMap", byAttr("name"), c.rewriteMap)
	c.attributes(el)
	return rewriting(c.src(el), func(s *Settings, r *Rewrite) {
		r.Maps = l.apply(s, r.Maps, func(m RewriteMap) string { return m.Name })
	})
}

func readAllowedVariables(c *context, el *element) func(*Settings) {
	l := collection(c, el, "add", byAttr("name"), value(c, "name"))
	c.attributes(el)
	return rewriting(c.src(el), func(s *Settings, r *Rewrite) {
		r.AllowedServerVariables = l.apply(s, r.AllowedServerVariables, valueKey)
	})
}

// readProviders keeps the names only: their settings are for .NET code.
func readProviders(c *context, el *element) func(*Settings) {
	if len(el.kids) > 0 {
		c.rep.warn(CodeUnsupported, c.src(el), "", "rewrite: providers are .NET code, which is not translated")
	}
	l := collection(c, el, "provider", byAttr("name"), func(kid *element) Value {
		kid.ignore("type")
		return value(c, "name")(kid)
	})
	c.attributes(el)
	return rewriting(c.src(el), func(s *Settings, r *Rewrite) { r.Providers = l.apply(s, r.Providers, valueKey) })
}

var patternSyntaxes = []string{"ECMAScript", "Wildcard", "ExactMatch"}

func (c *context) preCondition(el *element) PreCondition {
	p := PreCondition{
		Name: el.str("name"), PatternSyntax: cmp.Or(c.word(el, "patternSyntax", patternSyntaxes...), "ECMAScript"),
		AnyCondition: c.word(el, "logicalGrouping", "MatchAll", "MatchAny") == "MatchAny", Source: c.src(el),
	}
	p.Conditions = entries(c, el, c.rewriteCondition)
	return p
}

// rewriteRule reads a rule. What is not understood in it is kept in it.
func (c *context) rewriteRule(el *element, outbound bool) RewriteRule {
	of := c.unknowns
	c.unknowns = nil
	rule := RewriteRule{
		Name: el.str("name"), Enabled: c.boolean(el, "enabled", true),
		PatternSyntax:  cmp.Or(c.word(el, "patternSyntax", patternSyntaxes...), "ECMAScript"),
		StopProcessing: c.boolean(el, "stopProcessing", false), PreCondition: el.str("preCondition"),
		Match: RewriteMatch{IgnoreCase: true}, TrackAllCaptures: outbound,
		Action: RewriteAction{Type: "None", AppendQueryString: true, Replace: true}, Source: c.src(el),
	}
	el.ignore("responseCacheDirective") // there is no such cache
	matches := 0
	for _, kid := range el.kids {
		switch {
		case kid.is("match"):
			matches++
			rule.Match = c.rewriteMatch(kid)
		case kid.is("conditions"):
			rule.AnyCondition = c.word(kid, "logicalGrouping", "MatchAll", "MatchAny") == "MatchAny"
			rule.TrackAllCaptures = c.boolean(kid, "trackAllCaptures", outbound)
			rule.Conditions = entries(c, kid, c.rewriteCondition)
		case kid.is("serverVariables"):
			rule.ServerVariables = entries(c, kid, c.rewriteVariable)
		case kid.is("action"):
			rule.Action = c.rewriteAction(kid)
		default:
			c.unknown(kid, "in a rule")
		}
	}
	switch {
	case matches == 0 && !outbound && rule.PatternSyntax == patternSyntaxes[0]:
		// As in the web.config that is written for programs of Node.js: the regular expression is
		// empty, which fits every path, with nothing in {R:0}.
		rule.Match.URL = "^"
	case matches != 1:
		c.mark(rule.Source, "a rule with %d elements match", matches)
	}
	c.attributes(el)
	rule.Unknown, c.unknowns = c.unknowns, of
	return rule
}

func (c *context) rewriteMatch(el *element) RewriteMatch {
	m := RewriteMatch{
		URL: el.str("url"), IgnoreCase: c.boolean(el, "ignoreCase", true), Negate: c.boolean(el, "negate", false),
		ServerVariable: el.str("serverVariable"), FilterByTags: el.str("filterByTags"), CustomTags: el.str("customTags"),
		Pattern: el.str("pattern"), Occurrences: int(c.number(el, "occurrences", 0, 0, math.MaxInt32)),
	}
	c.done(el)
	return m
}

// entries reads a collection that nothing is inherited into.
func entries[T any](c *context, el *element, item func(*element) T) []T {
	var out []T
	for _, kid := range el.kids {
		switch {
		case kid.is("add", "set"):
			out = append(out, item(kid))
		case kid.is("clear"):
			out = nil
		default:
			c.unknown(kid, "in "+el.name)
			continue
		}
		c.done(kid)
	}
	c.attributes(el)
	return out
}

func (c *context) rewriteCondition(el *element) RewriteCondition {
	attr := "matchType"
	if !el.has(attr) {
		attr = "type" // of the first previews of the module
	}
	return RewriteCondition{
		Input: el.str("input"), MatchType: cmp.Or(c.word(el, attr, "Pattern", "IsFile", "IsDirectory"), "Pattern"),
		Pattern: el.str("pattern"), IgnoreCase: c.boolean(el, "ignoreCase", true),
		Negate: c.boolean(el, "negate", false), Source: c.src(el),
	}
}

func (c *context) rewriteVariable(el *element) RewriteVariable {
	return RewriteVariable{
		Name: el.str("name"), Value: el.str("value"), Replace: c.boolean(el, "replace", true), Source: c.src(el),
	}
}

func (c *context) rewriteAction(el *element) RewriteAction {
	a := RewriteAction{
		Type: cmp.Or(c.word(el, "type", "None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"), "None"),
		URL:  el.str("url"), Value: el.str("value"),
		LogRewrittenURL: c.boolean(el, "logRewrittenUrl", false), Replace: c.boolean(el, "replace", true),
		AppendQueryString: c.boolean(el, "appendQueryString", true),
		RedirectType:      c.redirectType(el),
		StatusCode:        int(c.number(el, "statusCode", 0, 1, 999)),
		SubStatusCode:     int(c.number(el, "subStatusCode", 0, 0, 999)),
		StatusReason:      el.str("statusReason"), StatusDescription: el.str("statusDescription"),
		Source: c.src(el),
	}
	if a.StatusCode >= 300 && a.StatusCode <= 307 {
		c.badValue(el, "statusCode", el.str("statusCode"), "a number that is none of a redirect")
	}
	c.done(el)
	return a
}

// redirectType is a word or a number: 301, 302, 303, 307.
func (c *context) redirectType(el *element) string {
	text := el.str("redirectType")
	if _, err := strconv.Atoi(text); err == nil {
		for word, n := range map[string]string{"Permanent": "301", "Found": "302", "SeeOther": "303", "Temporary": "307"} {
			if n == text {
				return word
			}
		}
	}
	return c.word(el, "redirectType", "Permanent", "Found", "SeeOther", "Temporary")
}

func (c *context) rewriteMap(el *element) RewriteMap {
	m := RewriteMap{
		Name: el.str("name"), Default: el.str("defaultValue"),
		IgnoreCase: c.boolean(el, "ignoreCase", true), Source: c.src(el),
	}
	keys := make(map[string]bool)
	m.Entries = entries(c, el, func(el *element) Pair {
		key := el.str("key")
		if keys[key] {
			c.fault(CodeDuplicate, c.src(el), "the map has the key %s twice", shorten(key))
		}
		keys[key] = true
		return Pair{Name: key, Value: el.str("value")}
	})
	return m
}

// readProxy reads the section of Application Request Routing.
func readProxy(c *context, el *element) func(*Settings) {
	src := c.src(el)
	var set []func(*Proxy)
	flag := func(name string, field func(*Proxy) *bool) {
		if el.has(name) {
			v := c.boolean(el, name, false)
			set = append(set, func(p *Proxy) { *field(p) = v })
		}
	}
	text := func(name string, field func(*Proxy) *string) {
		if v, ok := el.lookup(name); ok {
			set = append(set, func(p *Proxy) { *field(p) = v })
		}
	}
	flag("enabled", func(p *Proxy) *bool { return &p.Enabled })
	flag("preserveHostHeader", func(p *Proxy) *bool { return &p.PreserveHostHeader })
	flag("reverseRewriteHostInResponseHeaders", func(p *Proxy) *bool { return &p.ReverseRewriteHost })
	flag("includePortInXForwardedFor", func(p *Proxy) *bool { return &p.ForwardedForPort })
	text("xForwardedForHeaderName", func(p *Proxy) *string { return &p.ForwardedFor })
	text("xForwardedByHeaderName", func(p *Proxy) *string { return &p.ForwardedBy })
	text("timeout", func(p *Proxy) *string { return &p.Timeout })
	text("httpVersion", func(p *Proxy) *string { return &p.HTTPVersion })
	el.ignore("keepAlive", "minResponseBuffer", "maxResponseHeaderSize", "responseBufferLimit",
		"logDestinationServer", "destinationHeaderName", "arrResponseHeader")
	c.attributes(el)
	initial := Proxy{ReverseRewriteHost: true, ForwardedFor: "X-Forwarded-For", ForwardedForPort: true, Timeout: "00:02:00"}
	return func(s *Settings) {
		replace(&s.Proxy, initial, func(p *Proxy) {
			for _, f := range set {
				f(p)
			}
			p.Source = src
		})
	}
}
