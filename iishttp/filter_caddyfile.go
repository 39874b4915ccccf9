package iishttp

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("iis_filter", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		f := new(Filter)
		return f, f.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_filter {
//		allow_double_escaping
//		deny_high_bit_characters
//		keep_query_string_escaped
//		max_content_length <bytes>
//		max_url <bytes>
//		max_query_string <bytes>
//		header_limit <name> <bytes>
//		verbs allow|deny <verb>...
//		unlisted_verbs deny
//		file_extensions allow|deny <.ext>...
//		unlisted_file_extensions deny
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
func (f *Filter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		word := d.Val()
		if word == "rule" {
			if err := f.unmarshalRule(d); err != nil {
				return err
			}
			continue
		}
		if err := f.unmarshalWord(d, word, d.RemainingArgs()); err != nil {
			return err
		}
	}
	return f.Validate()
}

func (f *Filter) unmarshalWord(d *caddyfile.Dispenser, word string, args []string) error {
	switches := map[string]*bool{
		"allow_double_escaping": &f.AllowDoubleEscaping, "deny_high_bit_characters": &f.DenyHighBitCharacters,
		"keep_query_string_escaped": &f.KeepQueryStringEscaped,
	}
	unlisted := map[string]*bool{"unlisted_verbs": &f.Verbs.DenyUnlisted, "unlisted_file_extensions": &f.FileExtensions.DenyUnlisted}
	lists := map[string]*[]string{
		"hidden_segments": &f.HiddenSegments, "deny_url_sequences": &f.DenyURLSequences, "always_allowed_urls": &f.AlwaysAllowedURLs,
		"deny_query_string_sequences": &f.DenyQueryStringSequences, "always_allowed_query_strings": &f.AlwaysAllowedQueryStrings,
	}
	filters := map[string]*FilterList{"verbs": &f.Verbs, "file_extensions": &f.FileExtensions}
	switch {
	case switches[word] != nil && len(args) == 0:
		*switches[word] = true
	case unlisted[word] != nil && len(args) == 1 && (args[0] == "deny" || args[0] == "allow"):
		*unlisted[word] = args[0] == "deny"
	case lists[word] != nil && len(args) > 0:
		*lists[word] = append(*lists[word], args...)
	case filters[word] != nil && len(args) > 1 && args[0] == "allow":
		filters[word].Allow = append(filters[word].Allow, args[1:]...)
	case filters[word] != nil && len(args) > 1 && args[0] == "deny":
		filters[word].Deny = append(filters[word].Deny, args[1:]...)
	default:
		return f.unmarshalLimit(d, word, args)
	}
	return nil
}

func (f *Filter) unmarshalLimit(d *caddyfile.Dispenser, word string, args []string) error {
	if len(args) == 0 {
		return d.Errf("%s: not a word of iis_filter, or without its arguments", word)
	}
	n, err := strconv.ParseUint(args[len(args)-1], 10, 32)
	if err != nil {
		return d.Errf("%s %s: expected a number of bytes", word, strings.Join(args, " "))
	}
	switch {
	case word == "max_content_length" && len(args) == 1 && n > 0:
		f.MaxContentLength = int64(n)
	case word == "max_url" && len(args) == 1 && n > 0:
		f.MaxURL = int(n)
	case word == "max_query_string" && len(args) == 1 && n > 0:
		f.MaxQueryString = int(n)
	case word == "header_limit" && len(args) == 2:
		if f.HeaderLimits == nil {
			f.HeaderLimits = make(map[string]int)
		}
		f.HeaderLimits[args[0]] = int(n)
	default:
		return d.Errf("%s %s: not a word of iis_filter, or with wrong arguments", word, strings.Join(args, " "))
	}
	return nil
}

func (f *Filter) unmarshalRule(d *caddyfile.Dispenser) error {
	var rule FilterRule
	if !d.Args(&rule.Name) || d.NextArg() {
		return d.ArgErr()
	}
	switches := map[string]*bool{
		"scan_url": &rule.ScanURL, "scan_query_string": &rule.ScanQueryString, "scan_all_raw": &rule.ScanAllRaw,
		"allow_unescaped_percent": &rule.AllowUnescapedPercent,
	}
	lists := map[string]*[]string{"scan_headers": &rule.ScanHeaders, "applies_to": &rule.AppliesTo, "deny_strings": &rule.DenyStrings}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args := d.Val(), d.RemainingArgs()
		switch {
		case switches[word] != nil && len(args) == 0:
			*switches[word] = true
		case lists[word] != nil && len(args) > 0:
			*lists[word] = append(*lists[word], args...)
		default:
			return d.Errf("rule %s: %s: not a word of a rule, or with wrong arguments", rule.Name, word)
		}
	}
	f.Rules = append(f.Rules, rule)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Filter)(nil)
