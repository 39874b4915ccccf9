package iisimport

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// needSSL are the flags of access that require https: 128 bits are there with each cipher.
const needSSL = iisconfig.AccessSSL | iisconfig.AccessSSL128

// access is require SSL for a path, and for the site where nobody can meet it.
func (w *siteWriter) access(n *node) []*Directive {
	a, above := n.settings.Access, w.root.settings.Access
	if w.unmeetable(a) {
		return []*Directive{w.closed(403, a.Source, "access sslFlags "+a.SSLFlags.String(), "give the site an https binding", "the site has no https binding")}
	}
	if n == w.root {
		return nil // siteWords
	}
	had := func(flag iisconfig.AccessFlags) bool { return above != nil && above.SSLFlags&flag != 0 }
	if had(needSSL) && (a == nil || a.SSLFlags&needSSL == 0) {
		w.report().decide(n.source, "access at "+n.path, "", "the site requires https, and this path does not; here, the whole site does")
	}
	if a == nil {
		return nil
	}
	what := "access sslFlags " + a.SSLFlags.String()
	var out []*Directive
	if a.SSLFlags&needSSL != 0 && !had(needSSL) {
		out = append(out, directive("@plain", "protocol", "http"), directive("error", "@plain", "403"))
		w.report().translated(a.Source, what, "requests by http get 403")
	}
	if a.SSLFlags&iisconfig.AccessMapCert != 0 && !had(iisconfig.AccessMapCert) {
		w.notMapped(a)
	}
	switch {
	case a.SSLFlags&iisconfig.AccessRequireCert != 0 && !had(iisconfig.AccessRequireCert):
		out = append(out, w.closed(403, a.Source, what, "use a host or port of its own, with require_client_certificate",
			"client certificates cannot be asked for after the request"))
	case a.SSLFlags&iisconfig.AccessNegotiateCert != 0 && !had(iisconfig.AccessNegotiateCert):
		w.report().decide(a.Source, what, "use a host or port of its own", "client certificates cannot be asked for after the request; nobody is asked")
	}
	return out
}

// notMapped says so of client certificates that IIS maps to accounts.
func (w *siteWriter) notMapped(a *iisconfig.Access) {
	w.report().decide(a.Source, "access sslFlags "+a.SSLFlags.String(), "", "client certificates are not mapped to accounts: there are none")
}

// upgrades refuses WebSockets where IIS has them switched off, or no module for them: whatever
// answers there gets no connection of its own. Node.js in IIS has its own way to them, for which
// the switch is off.
func (w *siteWriter) upgrades(n *node) []*Directive {
	s := n.settings.WebSocket
	off := s != nil && !s.Enabled
	if !off && (n.settings.HasModule("WebSocketModule") || !w.passesOn(n)) {
		return nil
	}
	if h := n.settings.Handlers; h != nil && slices.ContainsFunc(h.Entries, func(h iisconfig.Handler) bool { return hasModule(h, "iisnode") }) {
		if off {
			w.report().dropped(s.Source, "webSocket enabled=false", "iisnode answers WebSockets itself: they are passed on")
		}
		return nil
	}
	if off {
		w.report().translated(s.Source, "webSocket enabled=false", "WebSockets get 400")
	} else {
		w.report().translated(cmp.Or(w.sectionSource(n, "system.webServer/modules"), w.b.serverSource("globalModules")), "WebSocketModule", "globalModules or modules do not have it: WebSockets get 400")
	}
	return []*Directive{
		directive("@websocket", "header_regexp", "Upgrade", `(?i)\bwebsocket\b`), directive("error", "@websocket", "400"),
		directive("@connect", "method", "CONNECT"), directive("error", "@connect", "400").because("By HTTP/2 and HTTP/3, WebSockets begin so."),
	}
}

// passesOn tells whether another server, or a worker process, answers something at a node.
func (w *siteWriter) passesOn(n *node) bool {
	h := n.settings.Handlers
	return n.worker != "" || len(w.origins) > 0 ||
		h != nil && slices.ContainsFunc(h.Entries, func(h iisconfig.Handler) bool { return h.NeedsWorker() && h.Source.Scope != "" })
}

// addresses is who may come: ipSecurity, the entries in their order, then what is not
// listed, and dynamicIpSecurity.
func (w *siteWriter) addresses(n *node) []*Directive {
	return append(w.addressList(n), w.requestLimits(n)...)
}

// requestLimits is dynamicIpSecurity.
func (w *siteWriter) requestLimits(n *node) []*Directive {
	d := n.settings.DynamicIPSecurity
	if d == nil || d.MaxConcurrent == 0 && d.MaxRequests == 0 {
		return nil
	}
	var kids []*Directive
	if d.MaxConcurrent > 0 {
		kids = append(kids, directive("max_concurrent", strconv.FormatUint(uint64(d.MaxConcurrent), 10)))
	}
	if d.MaxRequests > 0 {
		kids = append(kids, directive("max_requests", strconv.FormatUint(uint64(d.MaxRequests), 10), strconv.FormatUint(uint64(d.Interval), 10)+"ms"))
	}
	if d.LoggingOnly {
		kids = append(kids, directive("logging_only"))
	}
	if d.ProxyMode {
		kids = append(kids, directive("proxy_mode"))
	}
	action, ok := denyAction(d.DenyAction)
	if !ok {
		return []*Directive{w.closed(403, d.Source, "dynamicIpSecurity", "write iis_dynamic_ip_security", "its denyAction is not understood")}
	}
	w.report().translated(d.Source, "dynamicIpSecurity", "iis_dynamic_ip_security")
	return []*Directive{w.acceptedOr(block(append(kids, action...), "iis_dynamic_ip_security"), 403, d.Source)}
}

// denyAction writes what a denied client gets, and reports whether it is understood.
func denyAction(text string) ([]*Directive, bool) {
	switch strings.ToLower(text) {
	case "", "forbidden", "3":
		return nil, true
	case "unauthorized", "1":
		return []*Directive{directive("deny_action", "unauthorized")}, true
	case "notfound", "4":
		return []*Directive{directive("deny_action", "not_found")}, true
	case "abortrequest", "0":
		return []*Directive{directive("deny_action", "abort")}, true
	}
	return nil, false
}

// addressList is ipSecurity.
func (w *siteWriter) addressList(n *node) []*Directive {
	sec := n.settings.IPSecurity
	if sec == nil {
		return nil
	}
	if sec.ReverseDNS && !slices.ContainsFunc(sec.Entries, func(e iisconfig.IPEntry) bool { return e.Domain != "" }) {
		w.report().dropped(sec.Source, "ipSecurity enableReverseDns", "no entry has a domain name")
	}
	if len(sec.Entries) == 0 && !sec.DenyUnlisted {
		return nil
	}
	var kids []*Directive
	for _, e := range sec.Entries {
		prefix, ok := network(e)
		if !ok {
			what := "ipSecurity entry " + strings.TrimSpace(e.Domain+" "+e.Address+" "+e.Mask)
			return []*Directive{w.closed(403, e.Source, what, "write iis_ip_security with addresses", "it is not an address or a network")}
		}
		word := "deny"
		if e.Allow {
			word = "allow"
		}
		if last := len(kids) - 1; last >= 0 && kids[last].Words[0] == word {
			kids[last].Words = append(kids[last].Words, prefix)
			continue
		}
		kids = append(kids, directive(word, prefix))
	}
	if sec.DenyUnlisted {
		kids = append(kids, directive("unlisted", "deny"))
	}
	action, ok := denyAction(sec.DenyAction)
	if !ok {
		return []*Directive{w.closed(403, sec.Source, "ipSecurity", "write iis_ip_security", "its denyAction is not understood")}
	}
	kids = append(kids, action...)
	if sec.ProxyMode {
		kids = append(kids, directive("proxy_mode"))
	}
	w.report().translated(sec.Source, "ipSecurity", "iis_ip_security")
	return []*Directive{w.acceptedOr(block(kids, "iis_ip_security"), 403, sec.Source)}
}

// network reads an entry as a prefix.
func network(e iisconfig.IPEntry) (string, bool) {
	ip, err := netip.ParseAddr(e.Address)
	if err != nil || e.Domain != "" || ip.Zone() != "" {
		return "", false
	}
	if e.Mask == "" || e.Mask == "255.255.255.255" {
		return netip.PrefixFrom(ip, ip.BitLen()).String(), true
	}
	if bits, err := strconv.Atoi(e.Mask); err == nil {
		prefix, err := ip.Prefix(bits)
		return prefix.String(), err == nil
	}
	mask, err := netip.ParseAddr(e.Mask)
	if err != nil || !mask.Is4() || !ip.Is4() {
		return "", false
	}
	bits, rest := 0, false
	for _, b := range mask.As4() {
		for i := 7; i >= 0; i-- {
			one := b&(1<<i) != 0
			if one && rest {
				return "", false
			}
			if one {
				bits++
			} else {
				rest = true
			}
		}
	}
	prefix, err := ip.Prefix(bits)
	return prefix.String(), err == nil
}

// accounts is authentication and authorization. There are no Windows accounts here:
// whoever basic_auth or another directive in front has found is the user, and until
// there is one everybody is anonymous.
func (w *siteWriter) accounts(n *node) []*Directive {
	var kids []*Directive
	var src iisconfig.Source
	for _, a := range n.settings.Authentication {
		if strings.HasPrefix(strings.ToLower(a.Method), "anonymous") && !a.Enabled {
			kids, src = append(kids, directive("anonymous", "off")), a.Source
		}
		if a.Enabled && !strings.HasPrefix(strings.ToLower(a.Method), "anonymous") {
			w.report().dropped(a.Source, asked(a), "there are no accounts of Windows here: nobody is asked for one in this way, and who needs one gets 401")
		}
	}
	if kids == nil && !n.settings.HasModule("AnonymousAuthenticationModule") {
		kids, src = append(kids, directive("anonymous", "off")), w.b.serverSource("globalModules")
	}
	rules, meaning := w.authorization(n)
	if meaning.File != "" {
		src = meaning
		kids = append(kids, rules...)
	}
	if kids == nil {
		return nil
	}
	w.report().waiting(src, "authentication and authorization", "put basic_auth or forward_auth in front of iis_authorization",
		"there are no Windows accounts here: who needs one gets 401")
	d := block(kids, "iis_authorization").because("Nobody has an account here yet: put basic_auth or forward_auth in front of this.")
	return []*Directive{w.acceptedOr(d, 401, src)}
}

// asked names a way to ask for an account.
func asked(a iisconfig.Authentication) string {
	text := a.Method
	if a.Realm != "" {
		text += " realm " + a.Realm
	}
	var providers strings.Builder
	for _, p := range a.Providers {
		providers.WriteString(" " + p.Value)
	}
	if providers.Len() > 0 {
		text += " providers" + providers.String()
	}
	return text
}

// authorization writes the rules of system.webServer/security/authorization, and
// where the last one stands that does more than to allow everybody.
func (w *siteWriter) authorization(n *node) (list []*Directive, meaning iisconfig.Source) {
	for _, a := range n.settings.Authorization {
		if a.Allow && a.Users == "" && a.Roles == "" {
			w.report().dropped(a.Source, strings.TrimSpace("authorization allow "+a.Verbs), "it names no users and no roles: it allows nobody")
			continue
		}
		words := []string{"deny"}
		if a.Allow {
			words[0] = "allow"
		}
		for _, part := range []struct{ word, value string }{{"users", a.Users}, {"roles", a.Roles}, {"verbs", a.Verbs}} {
			if part.value != "" {
				words = append(words, part.word, part.value)
			}
		}
		if a.Users == "" && a.Roles == "" {
			words = []string{"deny", "users", "*"} // it fits nobody: what else is allowed must be said
		}
		if !a.Allow || a.Users != "*" || a.Verbs != "" {
			meaning = a.Source
		}
		list = append(list, directive(words...))
	}
	if list == nil && n.settings.Authorization != nil { // a list that names nobody allows nobody
		return []*Directive{directive("deny", "users", "*")}, w.sectionSource(n, "system.webServer/security/authorization")
	}
	return list, meaning
}

// sectionSource is where the section that is nearest to a node stands.
func (w *siteWriter) sectionSource(n *node, name string) (src iisconfig.Source) {
	length := -1
	for _, c := range w.site.source.Configured {
		for _, s := range c.Sections {
			if s.Name == name && within(n.path, c.Path) && len(c.Path) > length {
				src, length = s.Source, len(c.Path)
			}
		}
	}
	return src
}
