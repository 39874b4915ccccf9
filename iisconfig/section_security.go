package iisconfig

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

func readAccess(c *context, el *element) func(*Settings) {
	src, flags := c.src(el), c.accessFlags(el, "sslFlags")
	c.done(el)
	return func(s *Settings) {
		replace(&s.Access, Access{}, func(a *Access) {
			if el.has("sslFlags") {
				a.SSLFlags = flags
			}
			a.Source = src
		})
	}
}

// accessFlags reads names separated by commas, or the sum of their numbers.
func (c *context) accessFlags(el *element, attr string) AccessFlags {
	text := el.str(attr)
	flags, ok := parseAccessFlags(text, ",", "")
	if !ok {
		c.badValue(el, attr, text, "None, Ssl, SslNegotiateCert, SslRequireCert, SslMapCert, Ssl128")
	}
	return flags
}

// parseAccessFlags reads names of accessNames with a prefix, or the sum of their numbers: IIS 6
// writes "AccessSSL | AccessSSLRequireCert".
func parseAccessFlags(text, separator, prefix string) (flags AccessFlags, ok bool) {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 0, 32); err == nil {
		const all = AccessSSL | AccessNegotiateCert | AccessRequireCert | AccessMapCert | AccessSSL128
		return AccessFlags(n), AccessFlags(n)&^all == 0
	}
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
		auth := Authentication{
			Method: method, Enabled: c.boolean(el, "enabled", enabled), Explicit: el.has("enabled"), Realm: el.str("realm"), Source: c.src(el),
		}
		var providers list[Value]
		// Accounts and passwords of the old server are of no use on the new one.
		el.ignore("userName", "password", "logonMethod", "defaultLogonDomain", "authPersistNonNTLM",
			"authPersistSingleRequest", "useKernelMode", "useAppPoolCredentials",
			"oneToOneCertificateMappingsEnabled", "manyToOneCertificateMappingsEnabled")
		c.attributes(el)
		for _, kid := range el.kids {
			switch {
			case kid.is("providers"):
				providers = collection(c, kid, "add", byAttr("value"), value(c, "value"))
				c.attributes(kid)
				c.rep.info(CodeIgnored, c.src(kid), "%s: the element providers is about accounts of Windows", method)
			case kid.is("extendedProtection"):
				if len(kid.attrs) > 0 {
					c.rep.info(CodeIgnored, c.src(kid), "%s: the element extendedProtection is about accounts of Windows", method)
				}
			case kid.is("oneToOneMappings", "manyToOneMappings"):
				if len(kid.kids) > 0 {
					c.rep.warn(CodeUnsupported, c.src(kid), "map the certificates in the application",
						"client certificates are mapped to Windows accounts, which is not translated")
				}
			default:
				c.unknown(kid, "in "+el.name)
			}
		}
		return func(s *Settings) { s.setAuthentication(auth, providers) }
	}
}

func (s *Settings) setAuthentication(auth Authentication, providers list[Value]) {
	all := slices.Clone(s.Authentication)
	s.Authentication = all
	i := slices.IndexFunc(all, func(a Authentication) bool { return a.Method == auth.Method })
	if i < 0 {
		auth.Providers = providers.apply(s, nil, valueKey)
		s.Authentication = append(all, auth)
		return
	}
	auth.Providers = providers.apply(s, all[i].Providers, valueKey)
	if !auth.Explicit {
		auth.Enabled, auth.Explicit, auth.Source = all[i].Enabled, all[i].Explicit, all[i].Source
	}
	auth.Realm = cmp.Or(auth.Realm, all[i].Realm)
	all[i] = auth
}

func readAuthorization(c *context, el *element) func(*Settings) {
	key := func(users, roles, verbs string) string {
		return strings.ToLower(users+"|"+roles) + "|" + verbs // verbs have a case
	}
	rules := exactCollection(c, el, "add", true,
		func(el *element) string { return key(el.str("users"), el.str("roles"), el.str("verbs")) },
		func(el *element) Authorization {
			return Authorization{
				Allow: c.word(el, "accessType", "Allow", "Deny") == "Allow",
				Users: el.str("users"), Roles: el.str("roles"), Verbs: el.str("verbs"), Source: c.src(el),
			}
		})
	el.ignore("bypassLoginPages")
	c.attributes(el)
	ruleKey := func(a Authorization) string { return key(a.Users, a.Roles, a.Verbs) }
	everybody := c.scope != ""
	return func(s *Settings) {
		base := s.Authorization
		if base == nil && everybody {
			// The server's own list says nothing: that of IIS, which allows everybody.
			// An entry that says so again is no duplicate.
			base = []Authorization{{Allow: true, Users: "*"}}
		}
		base = slices.DeleteFunc(slices.Clone(base), func(a Authorization) bool { return a.Source == (Source{}) && rules.adds(ruleKey(a)) })
		if list := rules.apply(s, base, ruleKey); list != nil || len(rules.ops) == 0 {
			s.Authorization = list
		} else {
			s.Authorization = []Authorization{} // nobody is allowed
		}
	}
}

var denyActions = []string{"Forbidden", "Unauthorized", "NotFound", "AbortRequest"}

// wholeMask is the default of subnetMask.
const wholeMask = "255.255.255.255"

func (e IPEntry) key() string {
	return e.Address + "/" + cmp.Or(e.Mask, wholeMask) + "/" + e.Domain
}

func readIPSecurity(c *context, el *element) func(*Settings) {
	src := c.src(el)
	unlisted, unlistedSet := c.boolean(el, "allowUnlisted", true), el.has("allowUnlisted")
	proxy, proxySet := c.boolean(el, "enableProxyMode", false), el.has("enableProxyMode")
	dns, dnsSet := c.boolean(el, "enableReverseDns", false), el.has("enableReverseDns")
	action := c.word(el, "denyAction", denyActions...)
	item := func(el *element) IPEntry {
		e := IPEntry{
			Allow: c.boolean(el, "allowed", false), Address: el.str("ipAddress"),
			Mask: el.str("subnetMask"), Domain: el.str("domainName"), Source: c.src(el),
		}
		if e.Address != "" {
			e.Mask = cmp.Or(e.Mask, wholeMask)
		}
		return e
	}
	entries := collection(c, el, "add", func(el *element) string {
		return IPEntry{Address: el.str("ipAddress"), Mask: el.str("subnetMask"), Domain: el.str("domainName")}.key()
	}, item)
	c.attributes(el)
	return func(s *Settings) {
		if old := s.IPSecurity; old != nil && old.DenyUnlisted && entries.clears() {
			s.fault(c.section, CodeRefused, src, "a level above denies all addresses that it does not list, so its list cannot be cleared")
		}
		replace(&s.IPSecurity, IPSecurity{}, func(ip *IPSecurity) {
			if unlistedSet {
				ip.DenyUnlisted = !unlisted
			}
			if proxySet {
				ip.ProxyMode = proxy
			}
			if dnsSet {
				ip.ReverseDNS = dns
			}
			setNonEmpty(&ip.DenyAction, action)
			ip.Entries = entries.apply(s, ip.Entries, IPEntry.key)
			ip.Source = src
		})
	}
}

// readDynamicIPSecurity reads the two limits, each of which is off by default.
func readDynamicIPSecurity(c *context, el *element) func(*Settings) {
	src := c.src(el)
	var set []func(*DynamicIPSecurity)
	if el.has("denyAction") {
		action := c.word(el, "denyAction", denyActions...)
		set = append(set, func(d *DynamicIPSecurity) { d.DenyAction = action })
	}
	flag := func(name string, field func(*DynamicIPSecurity) *bool) {
		if el.has(name) {
			v := c.boolean(el, name, false)
			set = append(set, func(d *DynamicIPSecurity) { *field(d) = v })
		}
	}
	flag("enableLoggingOnlyMode", func(d *DynamicIPSecurity) *bool { return &d.LoggingOnly })
	flag("enableProxyMode", func(d *DynamicIPSecurity) *bool { return &d.ProxyMode })
	for _, kid := range el.kids {
		switch {
		case kid.is("denyByConcurrentRequests"):
			read := c.dynamicLimit(kid, "maxConcurrentRequests", "")
			set = append(set, func(d *DynamicIPSecurity) { read(&d.concurrent) })
		case kid.is("denyByRequestRate"):
			read := c.dynamicLimit(kid, "maxRequests", "requestIntervalInMilliseconds")
			set = append(set, func(d *DynamicIPSecurity) { read(&d.rate) })
		default:
			c.unknown(kid, "in "+el.name)
			continue
		}
		c.done(kid)
	}
	c.attributes(el)
	initial := DynamicIPSecurity{concurrent: dynamicLimit{requests: 5}, rate: dynamicLimit{requests: 20, interval: 200}}
	return func(s *Settings) {
		replace(&s.DynamicIPSecurity, initial, func(d *DynamicIPSecurity) {
			for _, f := range set {
				f(d)
			}
			d.MaxConcurrent, d.MaxRequests, d.Interval = 0, 0, 0
			if d.concurrent.enabled {
				d.MaxConcurrent = d.concurrent.requests
			}
			if d.rate.enabled {
				d.MaxRequests, d.Interval = d.rate.requests, d.rate.interval
			}
			d.Source = src
		})
	}
}

// dynamicLimit reads what an element says of a limit: attributes that are not there are as on
// the level above.
func (c *context) dynamicLimit(el *element, requests, interval string) func(*dynamicLimit) {
	enabled := c.boolean(el, "enabled", false)
	n := uint32(c.number(el, requests, 1, 1, math.MaxUint32))
	ms := uint32(c.number(el, interval, 1, 1, math.MaxUint32))
	return func(l *dynamicLimit) {
		if el.has("enabled") {
			l.enabled = enabled
		}
		if el.has(requests) {
			l.requests = n
		}
		if el.has(interval) {
			l.interval = ms
		}
	}
}
