package iisconfig

import (
	"cmp"
	"strconv"
)

// readRewrite reads the section of the URL Rewrite module, which is not part of IIS
// but on most servers. Rules are kept with their parts as they were written.
func readRewrite(c *context, el *element) func(*Settings) {
	src := c.src(el)
	var set []func(*Settings, *Rewrite)
	name := func(r RewriteRule) string { return r.Name }
	for _, kid := range el.kids {
		switch kid.name {
		case "rules":
			l := rewriteRules(c, kid)
			set = append(set, func(s *Settings, r *Rewrite) { r.Rules = l.apply(s, r.Rules, name) })
		case "globalRules":
			l := rewriteRules(c, kid)
			set = append(set, func(s *Settings, r *Rewrite) { r.GlobalRules = l.apply(s, r.GlobalRules, name) })
		case "outboundRules":
			l := outboundRules(c, kid)
			set = append(set, func(s *Settings, r *Rewrite) { r.OutboundRules = l.apply(s, r.OutboundRules, name) })
		case "rewriteMaps":
			l := collection(c, kid, "rewriteMap", byAttr("name"), c.rewriteMap)
			set = append(set, func(s *Settings, r *Rewrite) {
				r.Maps = l.apply(s, r.Maps, func(m RewriteMap) string { return m.Name })
			})
		case "allowedServerVariables":
			l := collection(c, kid, "add", byAttr("name"), value(c, "name"))
			set = append(set, func(s *Settings, r *Rewrite) {
				r.AllowedServerVariables = l.apply(s, r.AllowedServerVariables, valueKey)
			})
		case "providers":
			if len(kid.kids) > 0 {
				c.rep.warn(CodeUnsupported, c.src(kid), "", "rewrite: providers are .NET code, which is not translated")
			}
		default:
			c.unknown(kid, "in "+el.name)
		}
	}
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.Rewrite, Rewrite{}, func(r *Rewrite) {
			for _, f := range set {
				f(s, r)
			}
			r.Source = src
		})
	}
}

func rewriteRules(c *context, el *element) list[RewriteRule] {
	el.ignore("useOriginalURLEncoding")
	c.attributes(el)
	return collection(c, el, "rule", byAttr("name"), c.rewriteRule)
}

// outboundRules also hold the pre-conditions that rules name.
func outboundRules(c *context, el *element) list[RewriteRule] {
	rules := *el
	rules.kids = nil
	for _, kid := range el.kids {
		switch kid.name {
		case "preConditions", "customTags":
			if len(kid.kids) > 0 {
				c.rep.info(CodeUnsupported, c.src(kid), "outboundRules: %s are not held", kid.name)
			}
		default:
			rules.kids = append(rules.kids, kid)
		}
	}
	el.ignore("rewriteBeforeCache")
	c.attributes(el)
	return collection(c, &rules, "rule", byAttr("name"), c.rewriteRule)
}

func (c *context) rewriteRule(el *element) RewriteRule {
	rule := RewriteRule{
		Name: el.str("name"), Enabled: c.boolean(el, "enabled", true),
		PatternSyntax:  cmp.Or(c.word(el, "patternSyntax", "ECMAScript", "Wildcard", "ExactMatch"), "ECMAScript"),
		StopProcessing: c.boolean(el, "stopProcessing", false), PreCondition: el.str("preCondition"),
		Match:  RewriteMatch{IgnoreCase: true},
		Action: RewriteAction{Type: "None", AppendQueryString: true}, Source: c.src(el),
	}
	for _, kid := range el.kids {
		switch kid.name {
		case "match":
			rule.Match = RewriteMatch{
				URL: kid.str("url"), IgnoreCase: c.boolean(kid, "ignoreCase", true), Negate: c.boolean(kid, "negate", false),
				ServerVariable: kid.str("serverVariable"), FilterByTags: kid.str("filterByTags"), Pattern: kid.str("pattern"),
			}
			kid.ignore("occurrences", "customTags")
			c.done(kid)
		case "conditions":
			rule.AnyCondition = c.word(kid, "logicalGrouping", "MatchAll", "MatchAny") == "MatchAny"
			rule.TrackAllCaptures = c.boolean(kid, "trackAllCaptures", false)
			rule.Conditions = entries(c, kid, c.rewriteCondition)
		case "serverVariables":
			rule.ServerVariables = entries(c, kid, c.rewriteVariable)
		case "action":
			rule.Action = c.rewriteAction(kid)
		default:
			c.unknown(kid, "in a rule")
		}
	}
	return rule
}

// entries reads a collection that nothing is inherited into.
func entries[T any](c *context, el *element, item func(*element) T) []T {
	var out []T
	for _, kid := range el.kids {
		switch kid.name {
		case "add", "set":
			out = append(out, item(kid))
		case "clear":
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
	return RewriteCondition{
		Input: el.str("input"), MatchType: cmp.Or(c.word(el, "matchType", "Pattern", "IsFile", "IsDirectory"), "Pattern"),
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
		Type: cmp.Or(el.str("type"), "None"), URL: el.str("url"), Value: el.str("value"),
		AppendQueryString: c.boolean(el, "appendQueryString", true),
		RedirectType:      c.redirectType(el),
		StatusCode:        int(c.number(el, "statusCode", 0, 1, 999)),
		SubStatusCode:     int(c.number(el, "subStatusCode", 0, 0, 999)),
		StatusReason:      el.str("statusReason"), StatusDescription: el.str("statusDescription"),
		Source: c.src(el),
	}
	el.ignore("logRewrittenUrl", "replace")
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
	m.Entries = entries(c, el, func(el *element) Pair { return Pair{Name: el.str("key"), Value: el.str("value")} })
	return m
}

func readProxy(c *context, el *element) func(*Settings) {
	src := c.src(el)
	enabled, isSet := c.boolean(el, "enabled", false), el.has("enabled")
	host, hostSet := c.boolean(el, "preserveHostHeader", false), el.has("preserveHostHeader")
	el.ignore("httpVersion", "keepAlive", "timeout", "reverseRewriteHostInResponseHeaders", "xForwardedForHeaderName",
		"includePortInXForwardedFor", "minResponseBuffer", "maxResponseHeaderSize", "responseBufferLimit",
		"logDestinationServer", "xForwardedByHeaderName", "destinationHeaderName", "arrResponseHeader")
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.Proxy, Proxy{}, func(p *Proxy) {
			if isSet {
				p.Enabled = enabled
			}
			if hostSet {
				p.PreserveHostHeader = host
			}
			p.Source = src
		})
	}
}
