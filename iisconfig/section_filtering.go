package iisconfig

import "math"

// The limits of requestFiltering that hold unless a level says otherwise.
const (
	defaultContentLength = 30_000_000
	defaultMaxURL        = 4096
	defaultMaxQuery      = 2048
)

func readRequestFiltering(c *context, el *element) func(*Settings) {
	src := c.src(el)
	set := filterFlags(c, el)
	for _, kid := range el.kids {
		add := func(fn func(*Settings, *RequestFiltering)) { set = append(set, fn) }
		// values is a list of which each entry is one word.
		values := func(attr string, field func(*RequestFiltering) *[]Value) {
			l := collection(c, kid, "add", byAttr(attr), value(c, attr))
			add(func(s *Settings, f *RequestFiltering) { *field(f) = l.apply(s, *field(f), valueKey) })
		}
		switch {
		case kid.is("hiddenSegments"):
			segments := collection(c, kid, "add", byAttr("segment"), value(c, "segment"))
			add(func(s *Settings, f *RequestFiltering) {
				f.HiddenSegments, f.SegmentsGone = segments.apply(s, f.HiddenSegments, valueKey), segments.gone(f.SegmentsGone)
			})
		case kid.is("denyUrlSequences"):
			values("sequence", func(f *RequestFiltering) *[]Value { return &f.DeniedURLSequences })
		case kid.is("alwaysAllowedUrls"):
			values("url", func(f *RequestFiltering) *[]Value { return &f.AlwaysAllowedURLs })
		case kid.is("denyQueryStringSequences"):
			values("sequence", func(f *RequestFiltering) *[]Value { return &f.DeniedQuerySequences })
		case kid.is("alwaysAllowedQueryStrings"):
			values("queryString", func(f *RequestFiltering) *[]Value { return &f.AlwaysAllowedQueries })
		case kid.is("fileExtensions"):
			add(readExtensions(c, kid))
		case kid.is("verbs"):
			add(readVerbs(c, kid))
		case kid.is("requestLimits"):
			add(readLimits(c, kid))
		case kid.is("filteringRules"):
			rules := collection(c, kid, "filteringRule", byAttr("name"), c.filteringRule)
			add(func(s *Settings, f *RequestFiltering) {
				f.Rules = rules.apply(s, f.Rules, func(r FilteringRule) string { return r.Name })
			})
		default:
			c.unknown(kid, "in "+el.name)
			continue
		}
		kid.ignore("applyToWebDAV") // it is applied always
		c.attributes(kid)
	}
	c.attributes(el)
	initial := RequestFiltering{
		HighBit: true, UnescapeQueryString: true, UnlistedExtensions: true, UnlistedVerbs: true,
		MaxContentLength: defaultContentLength, MaxURL: defaultMaxURL, MaxQueryString: defaultMaxQuery,
	}
	return func(s *Settings) {
		replace(&s.RequestFiltering, initial, func(f *RequestFiltering) {
			for _, fn := range set {
				fn(s, f)
			}
			f.Source = src
		})
	}
}

func filterFlags(c *context, el *element) (set []func(*Settings, *RequestFiltering)) {
	for _, flag := range []struct {
		attr  string
		field func(*RequestFiltering) *bool
	}{
		{"allowDoubleEscaping", func(f *RequestFiltering) *bool { return &f.DoubleEscaping }},
		{"allowHighBitCharacters", func(f *RequestFiltering) *bool { return &f.HighBit }},
		{"unescapeQueryString", func(f *RequestFiltering) *bool { return &f.UnescapeQueryString }},
		{"removeServerHeader", func(f *RequestFiltering) *bool { return &f.RemoveServerHeader }},
	} {
		if el.has(flag.attr) {
			v := c.boolean(el, flag.attr, false)
			set = append(set, func(_ *Settings, f *RequestFiltering) { *flag.field(f) = v })
		}
	}
	return set
}

// filterEntries reads a list whose entries are allowed unless they say otherwise.
func filterEntries(c *context, el *element, attr string, exact bool) list[filterEntry] {
	return exactCollection(c, el, "add", exact, byAttr(attr), func(kid *element) filterEntry {
		return filterEntry{value: value(c, attr)(kid), allowed: c.boolean(kid, "allowed", true)}
	})
}

func filterKey(e filterEntry) string { return e.value.Value }

// splitEntries sorts the entries into allowed and denied ones.
func splitEntries(entries []filterEntry) (allowed, denied []Value) {
	for _, e := range entries {
		if e.allowed {
			allowed = append(allowed, e.value)
		} else {
			denied = append(denied, e.value)
		}
	}
	return allowed, denied
}

func readExtensions(c *context, el *element) func(*Settings, *RequestFiltering) {
	entries := filterEntries(c, el, "fileExtension", false)
	unlisted, isSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	return func(s *Settings, f *RequestFiltering) {
		f.extensions, f.ExtensionsGone = entries.apply(s, f.extensions, filterKey), entries.gone(f.ExtensionsGone)
		f.AllowedExtensions, f.DeniedExtensions = splitEntries(f.extensions)
		if isSet {
			f.UnlistedExtensions = unlisted
		}
	}
}

func readVerbs(c *context, el *element) func(*Settings, *RequestFiltering) {
	entries := filterEntries(c, el, "verb", true)
	unlisted, isSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	return func(s *Settings, f *RequestFiltering) {
		f.verbs = entries.apply(s, f.verbs, filterKey)
		f.AllowedVerbs, f.DeniedVerbs = splitEntries(f.verbs)
		if isSet {
			f.UnlistedVerbs = unlisted
		}
	}
}

func readLimits(c *context, el *element) func(*Settings, *RequestFiltering) {
	length := uint64(c.number(el, "maxAllowedContentLength", defaultContentLength, 0, math.MaxUint32))
	url := uint32(c.number(el, "maxUrl", defaultMaxURL, 0, math.MaxUint32))
	query := uint32(c.number(el, "maxQueryString", defaultMaxQuery, 0, math.MaxUint32))
	var headers list[HeaderLimit]
	for _, kid := range el.kids {
		if !kid.is("headerLimits") {
			c.unknown(kid, "in "+el.name)
			continue
		}
		headers = collection(c, kid, "add", byAttr("header"), func(el *element) HeaderLimit {
			return HeaderLimit{Header: el.str("header"), Size: uint32(c.number(el, "sizeLimit", 0, 0, math.MaxUint32)), Source: c.src(el)}
		})
		c.attributes(kid)
	}
	return func(s *Settings, f *RequestFiltering) {
		if el.has("maxAllowedContentLength") {
			f.MaxContentLength = length
		}
		if el.has("maxUrl") {
			f.MaxURL = url
		}
		if el.has("maxQueryString") {
			f.MaxQueryString = query
		}
		f.HeaderLimits = headers.apply(s, f.HeaderLimits, func(h HeaderLimit) string { return h.Header })
	}
}

func (c *context) filteringRule(el *element) FilteringRule {
	r := FilteringRule{
		Name: el.str("name"), ScanURL: c.boolean(el, "scanUrl", false),
		ScanQueryString: c.boolean(el, "scanQueryString", false), ScanAllRaw: c.boolean(el, "scanAllRaw", false),
		DenyUnescapedPercent: c.boolean(el, "denyUnescapedPercent", true), Source: c.src(el),
	}
	for _, kid := range el.kids {
		switch {
		case kid.is("scanHeaders"):
			r.ScanHeaders = entries(c, kid, value(c, "requestHeader"))
		case kid.is("appliesTo"):
			r.AppliesTo = entries(c, kid, value(c, "fileExtension"))
		case kid.is("denyStrings"):
			r.DenyStrings = entries(c, kid, value(c, "string"))
		default:
			c.unknown(kid, "in a filtering rule")
		}
	}
	return r
}
