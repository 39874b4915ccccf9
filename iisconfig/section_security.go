package iisconfig

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

func readAccess(c *context, el *element) func(*Settings) {
	v := &Access{SSLFlags: c.accessFlags(el, "sslFlags"), Source: c.src(el)}
	c.done(el)
	return func(s *Settings) { s.Access = v }
}

// accessFlags reads names separated by commas, or their sum.
func (c *context) accessFlags(el *element, attr string) AccessFlags {
	text := el.str(attr)
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 0, 32); err == nil {
		return AccessFlags(n)
	}
	flags, ok := parseAccessFlags(text, ",", "")
	if !ok {
		c.badValue(el, attr, text, "None, Ssl, SslNegotiateCert, SslRequireCert, SslMapCert, Ssl128")
	}
	return flags
}

// parseAccessFlags reads names of accessNames with a prefix: IIS 6 writes
// "AccessSSL | AccessSSLRequireCert".
func parseAccessFlags(text, separator, prefix string) (flags AccessFlags, ok bool) {
	ok = true
words:
	for word := range strings.SplitSeq(text, separator) {
		word = strings.TrimSpace(word)
		if word == "" || strings.EqualFold(word, "None") {
			continue
		}
		for _, n := range accessNames {
			if strings.EqualFold(word, prefix+n.name) {
				flags |= n.flag
				continue words
			}
		}
		ok = false
	}
	return flags, ok
}

// authentication reads one method; the default is that of IIS.
func authentication(method string, enabled bool) func(*context, *element) func(*Settings) {
	return func(c *context, el *element) func(*Settings) {
		auth := Authentication{Method: method, Enabled: c.boolean(el, "enabled", enabled), Realm: el.str("realm"), Source: c.src(el)}
		isSet := el.has("enabled")
		// Accounts and passwords of the old server are of no use on the new one.
		el.ignore("userName", "password", "logonMethod", "defaultLogonDomain", "authPersistNonNTLM",
			"authPersistSingleRequest", "useKernelMode", "useAppPoolCredentials",
			"oneToOneCertificateMappingsEnabled", "manyToOneCertificateMappingsEnabled")
		c.attributes(el)
		for _, kid := range el.kids {
			switch kid.name {
			case "providers", "extendedProtection":
			case "oneToOneMappings", "manyToOneMappings":
				if len(kid.kids) > 0 {
					c.rep.warn(CodeUnsupported, c.src(kid), "map the certificates in the application",
						"client certificates are mapped to Windows accounts, which is not translated")
				}
			default:
				c.unknown(kid, "in "+el.name)
			}
		}
		return func(s *Settings) { s.setAuthentication(auth, isSet) }
	}
}

func (s *Settings) setAuthentication(auth Authentication, isSet bool) {
	all := slices.Clone(s.Authentication)
	s.Authentication = all
	i := slices.IndexFunc(all, func(a Authentication) bool { return a.Method == auth.Method })
	if i < 0 {
		s.Authentication = append(all, auth)
		return
	}
	if !isSet {
		auth.Enabled = all[i].Enabled
	}
	auth.Realm = cmp.Or(auth.Realm, all[i].Realm)
	all[i] = auth
}

func readAuthorization(c *context, el *element) func(*Settings) {
	key := func(el *element) string { return el.str("users") + "|" + el.str("roles") + "|" + el.str("verbs") }
	rules := collection(c, el, "add", key, func(el *element) Authorization {
		return Authorization{
			Allow: c.word(el, "accessType", "Allow", "Deny") == "Allow",
			Users: el.str("users"), Roles: el.str("roles"), Verbs: el.str("verbs"), Source: c.src(el),
		}
	})
	el.ignore("bypassLoginPages")
	c.attributes(el)
	return func(s *Settings) {
		s.Authorization = rules.apply(s, s.Authorization, func(a Authorization) string {
			return a.Users + "|" + a.Roles + "|" + a.Verbs
		})
	}
}

func readIPSecurity(c *context, el *element) func(*Settings) {
	src := c.src(el)
	unlisted, isSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	action := el.str("denyAction")
	el.ignore("enableReverseDns")
	if c.boolean(el, "enableProxyMode", false) {
		c.rep.warn(CodeUnsupported, src, "", "ipSecurity: enableProxyMode looks at X-Forwarded-For, which is not translated")
	}
	key := func(el *element) string {
		return el.str("ipAddress") + "/" + el.str("subnetMask") + "/" + el.str("domainName")
	}
	entries := collection(c, el, "add", key, func(el *element) IPEntry {
		return IPEntry{
			Allow: c.boolean(el, "allowed", false), Address: el.str("ipAddress"),
			Mask: el.str("subnetMask"), Domain: el.str("domainName"), Source: c.src(el),
		}
	})
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.IPSecurity, IPSecurity{}, func(ip *IPSecurity) {
			if isSet {
				ip.DenyUnlisted = !unlisted
			}
			setNonEmpty(&ip.DenyAction, action)
			ip.Entries = entries.apply(s, ip.Entries, func(e IPEntry) string { return e.Address + "/" + e.Mask + "/" + e.Domain })
			ip.Source = src
		})
	}
}

// filterList reads a list of requestFiltering of which each entry is allowed or
// denied. An entry without a word about it is denied.
func filterList(c *context, el *element, attr string) (allowed, denied list[Value]) {
	isAllowed := make(map[string]bool)
	all := collection(c, el, "add", byAttr(attr), func(kid *element) Value {
		isAllowed[strings.ToLower(kid.str(attr))] = c.boolean(kid, "allowed", attr == "verb")
		return value(c, attr)(kid)
	})
	allowed.name, denied.name = all.name, all.name
	for _, op := range all.ops {
		switch {
		case op.op != opAdd:
			allowed.ops, denied.ops = append(allowed.ops, op), append(denied.ops, op)
		case isAllowed[op.key]:
			allowed.ops = append(allowed.ops, op)
		default:
			denied.ops = append(denied.ops, op)
		}
	}
	return allowed, denied
}

func readRequestFiltering(c *context, el *element) func(*Settings) {
	src := c.src(el)
	var set []func(*Settings, *RequestFiltering)
	for _, kid := range el.kids {
		switch kid.name {
		case "hiddenSegments":
			segs := collection(c, kid, "add", byAttr("segment"), value(c, "segment"))
			set = append(set, func(s *Settings, f *RequestFiltering) { f.HiddenSegments = segs.apply(s, f.HiddenSegments, valueKey) })
		case "fileExtensions":
			set = append(set, readExtensions(c, kid))
		case "verbs":
			set = append(set, readVerbs(c, kid))
		case "denyUrlSequences":
			urls := collection(c, kid, "add", byAttr("sequence"), value(c, "sequence"))
			set = append(set, func(s *Settings, f *RequestFiltering) {
				f.DeniedURLSequences = urls.apply(s, f.DeniedURLSequences, valueKey)
			})
		case "requestLimits":
			set = append(set, readLimits(c, kid))
		case "alwaysAllowedUrls", "alwaysAllowedQueryStrings", "denyQueryStringSequences", "filteringRules":
			if len(kid.kids) > 0 {
				c.rep.warn(CodeUnsupported, c.src(kid), "", "requestFiltering: %s is not translated", kid.name)
			}
		default:
			c.unknown(kid, "in "+el.name)
			continue
		}
		kid.ignore("applyToWebDAV")
		c.attributes(kid)
	}
	el.ignore("allowDoubleEscaping", "allowHighBitCharacters", "unescapeQueryString", "removeServerHeader")
	c.attributes(el)
	return func(s *Settings) {
		replace(&s.RequestFiltering, RequestFiltering{UnlistedExtensions: true, UnlistedVerbs: true}, func(f *RequestFiltering) {
			for _, fn := range set {
				fn(s, f)
			}
			f.Source = src
		})
	}
}

func readExtensions(c *context, el *element) func(*Settings, *RequestFiltering) {
	allowed, denied := filterList(c, el, "fileExtension")
	unlisted, isSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	return func(s *Settings, f *RequestFiltering) {
		f.AllowedExtensions = allowed.apply(s, f.AllowedExtensions, valueKey)
		f.DeniedExtensions = denied.apply(s, f.DeniedExtensions, valueKey)
		if isSet {
			f.UnlistedExtensions = unlisted
		}
	}
}

func readVerbs(c *context, el *element) func(*Settings, *RequestFiltering) {
	allowed, denied := filterList(c, el, "verb")
	unlisted, isSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	return func(s *Settings, f *RequestFiltering) {
		f.AllowedVerbs = allowed.apply(s, f.AllowedVerbs, valueKey)
		f.DeniedVerbs = denied.apply(s, f.DeniedVerbs, valueKey)
		if isSet {
			f.UnlistedVerbs = unlisted
		}
	}
}

func readLimits(c *context, el *element) func(*Settings, *RequestFiltering) {
	length := uint64(c.number(el, "maxAllowedContentLength", 0, 0, 1<<32-1))
	if el.has("maxUrl") || el.has("maxQueryString") {
		c.rep.info(CodeUnsupported, c.src(el), "requestLimits: maxUrl and maxQueryString are not translated")
	}
	for _, kid := range el.kids {
		if kid.name == "headerLimits" && len(kid.kids) > 0 {
			c.rep.warn(CodeUnsupported, c.src(kid), "", "requestFiltering: headerLimits is not translated")
		}
	}
	return func(_ *Settings, f *RequestFiltering) {
		if length != 0 {
			f.MaxContentLength = length
		}
	}
}
