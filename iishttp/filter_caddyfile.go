package iishttp

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("iis_filter", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		f := new(Filter)
		return f, f.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_filter [<matcher>] {
//		documents_only
//		allow_double_escaping
//		deny_high_bit_characters
//		deny_several_dots
//		keep_query_string_escaped
//		max_content_length <bytes>
//		max_url <bytes>
//		max_query_string <bytes>
//		header_limit <name> <bytes>
//		verbs allow|deny <verb>...
//		unlisted_verbs allow|deny
//		file_extensions allow|deny <.ext>...
//		unlisted_file_extensions allow|deny
//		hidden_segments <segment>...
//		deny_url_sequences <text>...
//		always_allowed_urls <path>...
//		deny_query_string_sequences <text>...
//		always_allowed_query_strings <query>...
//		rule <name> {
//			scan_url
//			scan_query_string
//			scan_all_raw
//			scan_headers <name>...
//			allow_unescaped_percent
//			applies_to <.ext>...
//			deny_strings <text>...
//		}
//	}
//
// Lists may be repeated and add up.
func (f *Filter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := f.unmarshalWord(d); err != nil {
			return err
		}
	}
	if err := f.compile(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (f *Filter) unmarshalWord(d *caddyfile.Dispenser) error {
	if d.Val() == "rule" {
		return f.unmarshalRule(d)
	}
	word, args, err := wordOf(d)
	if err != nil {
		return err
	}
	flags := map[string]*bool{
		"allow_double_escaping": &f.AllowDoubleEscaping, "deny_high_bit_characters": &f.DenyHighBitCharacters, "deny_several_dots": &f.DenySeveralDots,
		"keep_query_string_escaped": &f.KeepQueryStringEscaped, "documents_only": &f.DocumentsOnly,
	}
	limits := map[string]**int64{"max_content_length": &f.MaxContentLength, "max_url": &f.MaxURL, "max_query_string": &f.MaxQueryString}
	lists := map[string]*[]string{
		"hidden_segments": &f.HiddenSegments, "deny_url_sequences": &f.DenyURLSequences, "always_allowed_urls": &f.AlwaysAllowedURLs,
		"deny_query_string_sequences": &f.DenyQueryStringSequences, "always_allowed_query_strings": &f.AlwaysAllowedQueryStrings,
	}
	filters := map[string]*FilterList{"verbs": &f.Verbs, "file_extensions": &f.FileExtensions}
	unlisted := map[string]*bool{"unlisted_verbs": &f.Verbs.DenyUnlisted, "unlisted_file_extensions": &f.FileExtensions.DenyUnlisted}
	switch {
	case flags[word] != nil:
		return flag(d, flags[word], word, args)
	case limits[word] != nil:
		return limit(d, limits[word], word, args)
	case lists[word] != nil:
		return list(d, lists[word], word, args)
	case filters[word] != nil:
		return filters[word].unmarshal(d, word, args)
	case unlisted[word] != nil:
		return allowOrDeny(d, unlisted[word], word, args)
	case word == "header_limit":
		return f.unmarshalHeaderLimit(d, args)
	}
	return d.Errf("unknown word %q of iis_filter", word)
}

func (f *Filter) unmarshalHeaderLimit(d *caddyfile.Dispenser, args []string) error {
	if len(args) != 2 {
		return d.Err("header_limit needs the name of a header and a number of bytes")
	}
	var size *int64
	if err := limit(d, &size, "header_limit "+args[0], args[1:]); err != nil {
		return err
	}
	if f.HeaderLimits == nil {
		f.HeaderLimits = make(map[string]int64)
	}
	if old, twice := f.HeaderLimits[args[0]]; twice && old != *size {
		return d.Errf("header_limit %s is there twice, with different values", args[0])
	}
	f.HeaderLimits[args[0]] = *size
	return nil
}

func (l *FilterList) unmarshal(d *caddyfile.Dispenser, word string, args []string) error {
	if len(args) > 1 {
		switch args[0] {
		case "allow":
			l.Allow = append(l.Allow, args[1:]...)
			return nil
		case "deny":
			l.Deny = append(l.Deny, args[1:]...)
			return nil
		}
	}
	return d.Errf("%s needs allow or deny, and what", word)
}

func (f *Filter) unmarshalRule(d *caddyfile.Dispenser) error {
	var rule FilterRule
	if !d.AllArgs(&rule.Name) {
		return d.Err("rule needs a name")
	}
	flags := map[string]*bool{
		"scan_url": &rule.ScanURL, "scan_query_string": &rule.ScanQueryString, "scan_all_raw": &rule.ScanAllRaw,
		"allow_unescaped_percent": &rule.AllowUnescapedPercent,
	}
	lists := map[string]*[]string{"scan_headers": &rule.ScanHeaders, "applies_to": &rule.AppliesTo, "deny_strings": &rule.DenyStrings}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args, err := wordOf(d)
		switch {
		case err != nil:
		case flags[word] != nil:
			err = flag(d, flags[word], word, args)
		case lists[word] != nil:
			err = list(d, lists[word], word, args)
		default:
			err = d.Errf("rule %s: unknown word %q", rule.Name, word)
		}
		if err != nil {
			return err
		}
	}
	f.Rules = append(f.Rules, rule)
	return nil
}

// wordOf returns the word of a line and its arguments. No block may follow.
func wordOf(d *caddyfile.Dispenser) (word string, args []string, err error) {
	word, args = d.Val(), d.RemainingArgs()
	if d.NextBlock(d.Nesting()) {
		err = d.Errf("%s has no block", word)
	}
	return word, args, err
}

func flag(d *caddyfile.Dispenser, into *bool, word string, args []string) error {
	if len(args) > 0 {
		return d.Errf("%s stands alone, not with %q", word, args[0])
	}
	*into = true
	return nil
}

func limit(d *caddyfile.Dispenser, into **int64, word string, args []string) error {
	if len(args) == 1 {
		if n, err := strconv.ParseInt(args[0], 10, 64); err == nil && n >= 0 {
			if *into != nil && **into != n {
				return d.Errf("%s is there twice, with different values", word)
			}
			*into = &n
			return nil
		}
	}
	return d.Errf("%s needs a number of bytes", word)
}

func list(d *caddyfile.Dispenser, into *[]string, word string, args []string) error {
	if len(args) == 0 {
		return d.Errf("%s needs arguments", word)
	}
	*into = append(*into, args...)
	return nil
}

func allowOrDeny(d *caddyfile.Dispenser, deny *bool, word string, args []string) error {
	if len(args) != 1 || args[0] != "allow" && args[0] != "deny" {
		return d.Errf("%s needs allow or deny", word)
	}
	*deny = args[0] == "deny"
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (f *Filter) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.FieldsOf(f, []caddytext.Field{
		{Word: "documents_only", Path: "documents_only", Kind: caddytext.Flag},
		{Word: "allow_double_escaping", Path: "allow_double_escaping", Kind: caddytext.Flag},
		{Word: "deny_high_bit_characters", Path: "deny_high_bit_characters", Kind: caddytext.Flag},
		{Word: "deny_several_dots", Path: "deny_several_dots", Kind: caddytext.Flag},
		{Word: "keep_query_string_escaped", Path: "keep_query_string_escaped", Kind: caddytext.Flag},
		{Word: "max_content_length", Path: "max_content_length"},
		{Word: "max_url", Path: "max_url"},
		{Word: "max_query_string", Path: "max_query_string"},
		{Word: "header_limit", Path: "header_limits", Kind: caddytext.Pairs},
	})...)
	l.Add(f.Verbs.lines("verbs")...)
	l.Add(f.FileExtensions.lines("file_extensions")...)
	l.Add(caddytext.FieldsOf(f, []caddytext.Field{
		{Word: "hidden_segments", Path: "hidden_segments", Kind: caddytext.List},
		{Word: "deny_url_sequences", Path: "deny_url_sequences", Kind: caddytext.List},
		{Word: "always_allowed_urls", Path: "always_allowed_urls", Kind: caddytext.List},
		{Word: "deny_query_string_sequences", Path: "deny_query_string_sequences", Kind: caddytext.List},
		{Word: "always_allowed_query_strings", Path: "always_allowed_query_strings", Kind: caddytext.List},
	})...)
	for _, rule := range f.Rules {
		l.Add(&caddytext.Line{Words: []string{"rule", rule.Name}, Block: caddytext.FieldsOf(rule, []caddytext.Field{
			{Word: "scan_url", Path: "scan_url", Kind: caddytext.Flag},
			{Word: "scan_query_string", Path: "scan_query_string", Kind: caddytext.Flag},
			{Word: "scan_all_raw", Path: "scan_all_raw", Kind: caddytext.Flag},
			{Word: "scan_headers", Path: "scan_headers", Kind: caddytext.List},
			{Word: "allow_unescaped_percent", Path: "allow_unescaped_percent", Kind: caddytext.Flag},
			{Word: "applies_to", Path: "applies_to", Kind: caddytext.List},
			{Word: "deny_strings", Path: "deny_strings", Kind: caddytext.List},
		})})
	}
	return l
}

// lines writes a list by its word.
func (l *FilterList) lines(word string) []*caddytext.Line {
	lines := caddytext.FieldsOf(l, []caddytext.Field{
		{Word: "allow", Path: "allow", Kind: caddytext.List}, {Word: "deny", Path: "deny", Kind: caddytext.List},
	})
	for i := range lines {
		lines[i] = lines[i].Behind(word)
	}
	if l.DenyUnlisted {
		lines = append(lines, caddytext.New("unlisted_"+word, "deny"))
	}
	return lines
}

// allowDeny is the word that allowOrDeny reads.
func allowDeny(deny bool) string {
	if deny {
		return "deny"
	}
	return "allow"
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Filter)(nil)
	_ caddytext.Marshaler   = (*Filter)(nil)
)
