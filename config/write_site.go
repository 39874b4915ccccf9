package config

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/caddytext"
	"github.com/caddy-iis/caddy-iis/internal/directives"
)

// site writes a site.
func (w *writer) site(id string, s *Site) *caddytext.Line {
	l := &caddytext.Line{Words: []string{"site", id}, Open: true}
	if s == nil {
		return l
	}
	if s.Name != "" {
		l.Words = append(l.Words, s.Name)
	}
	l.Add(s.bindingLines()...)
	l.Add(textLines("certificate", s.Certificate, "store", s.Store)...)
	if s.Autostart != nil {
		l.Add(caddytext.New("autostart", onOff(*s.Autostart)))
	}
	l.Add(flagLines(map[string]bool{"offline": s.Offline, "log": s.AccessLog})...)
	l.Add(s.Access.lines()...)
	l.Add(s.W3CLog.lines()...)
	l.Add(textLines("template", s.Template)...)
	if len(s.Vars) > 0 {
		vars := caddytext.New("site_vars")
		for _, name := range sorted(s.Vars) {
			vars.Add(caddytext.New(name, s.Vars[name]))
		}
		l.Add(vars)
	}
	return l.Add(w.content(&s.Content)...)
}

// textLines writes words, each before a text, as far as the texts are not empty.
func textLines(pairs ...string) (lines []*caddytext.Line) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			lines = append(lines, caddytext.New(pair...))
		}
	}
	return lines
}

// bindingLines writes the bindings of a site.
func (s *Site) bindingLines() (lines []*caddytext.Line) {
	if len(s.ServerBindings) > 0 {
		lines = append(lines, caddytext.New(append([]string{"server_bindings"}, s.ServerBindings...)...))
	}
	if len(s.SecureBindings) > 0 {
		lines = append(lines, caddytext.New(append([]string{"secure_bindings"}, s.SecureBindings...)...))
	}
	for _, b := range s.Bindings {
		if b != nil {
			lines = append(lines, b.line())
		}
	}
	return lines
}

func (b *SiteBinding) line() *caddytext.Line {
	l := caddytext.New("binding", b.Protocol, b.Binding)
	left := binding.Flags(b.Flags)
	for _, word := range slices.SortedFunc(slices.Values(sorted(flagWords)), func(a, b string) int { return int(flagWords[a]) - int(flagWords[b]) }) {
		if left&flagWords[word] != 0 {
			l.Add(caddytext.New(word))
			left &^= flagWords[word]
		}
	}
	if left != 0 {
		l.Add(caddytext.New("flags", strconv.Itoa(int(left))))
	}
	l.Add(textLines("certificate", b.Certificate, "store", b.Store)...)
	l.Add(flagLines(map[string]bool{"reject": b.Reject, "legacy_tls": b.LegacyTLS})...)
	return l.Add(tlsLines(b.TLS)...)
}

// line writes an endpoint.
func (e *Endpoint) line(address string) *caddytext.Line {
	l := caddytext.New("endpoint", address)
	if e == nil {
		return l
	}
	l.Add(textLines("certificate", e.Certificate)...)
	for _, choice := range endpointChoices {
		l.Add(textLines(choice.word, *choice.field(e))...)
	}
	l.Add(flagLines(map[string]bool{"reject": e.Reject, "legacy_tls": e.LegacyTLS})...)
	return l.Add(tlsLines(e.TLS)...)
}

// tlsLines writes tlsWords. Other settings of a policy they do not say.
func tlsLines(policy *caddytls.ConnectionPolicy) (lines []*caddytext.Line) {
	if policy == nil {
		return nil
	}
	object, err := caddytext.Object(policy)
	if err != nil {
		return nil
	}
	if minimum, maximum := policy.ProtocolMin, policy.ProtocolMax; minimum != "" {
		l := caddytext.New("protocols", minimum)
		if maximum != "" {
			l.Words = append(l.Words, maximum)
		}
		lines = append(lines, l)
	}
	lines = append(lines, caddytext.Fields(object, []caddytext.Field{
		{Word: "ciphers", Path: "cipher_suites", Kind: caddytext.List}, {Word: "curves", Path: "curves", Kind: caddytext.List}, {Word: "alpn", Path: "alpn", Kind: caddytext.List},
	})...)
	if auth, ok := object["client_authentication"].(map[string]any); ok {
		l := &caddytext.Line{Words: []string{"client_auth"}, Block: caddytext.Fields(auth, []caddytext.Field{{Word: "mode", Path: "mode"}})}
		if pool, ok := auth["ca"].(map[string]any); ok {
			l.Add(directives.TrustPool("trust_pool", pool))
		}
		lines = append(lines, l)
	}
	return lines
}

// lines writes what a site demands.
func (a Access) lines() (lines []*caddytext.Line) {
	switch a.RequireSSL {
	case "on":
		lines = append(lines, caddytext.New("require_ssl"))
	case "redirect":
		lines = append(lines, caddytext.New("require_ssl", "redirect"))
	}
	if a.ExceptACMEChallenges && len(lines) > 0 {
		lines[0].Words = append(lines[0].Words, "except_acme_challenges")
	}
	lines = append(lines, flagLines(map[string]bool{"require_client_certificate": a.RequireClientCertificate})...)
	if h := a.HSTS; h != nil {
		l := caddytext.New("hsts", caddytext.DurationText(time.Duration(h.MaxAge)))
		lines = append(lines, l.Add(flagLines(map[string]bool{"include_subdomains": h.IncludeSubdomains, "preload": h.Preload, "redirect_http": h.RedirectHTTP})...))
	}
	return append(lines, textLines(misdirectedWord, a.Misdirected)...)
}

// lines writes a log in the W3C format.
func (w *W3CLog) lines() []*caddytext.Line {
	switch {
	case w == nil:
		return nil
	case w.Off:
		return []*caddytext.Line{caddytext.New("w3c_log", "off")}
	}
	l := caddytext.New("w3c_log")
	if w.Folder != "" {
		l.Words = append(l.Words, w.Folder)
	}
	if len(w.Fields) > 0 {
		l.Add(caddytext.New(append([]string{"fields"}, w.Fields...)...))
	}
	for _, field := range w.CustomFields {
		l.Add(caddytext.New(append([]string{"field"}, field.Words()...)...))
	}
	l.Add(textLines("period", w.Period)...)
	if w.MaxSize > 0 {
		l.Add(caddytext.New("max_size", caddytext.SizeText(w.MaxSize)))
	}
	return []*caddytext.Line{l.Add(flagLines(map[string]bool{"local_time": w.LocalTime})...)}
}

// shared writes the block of defaults and of templates.
func (w *writer) shared(c *Content) (lines []*caddytext.Line) {
	if c == nil {
		return nil
	}
	lines = c.W3CLog.lines()
	if len(c.SiteVars) > 0 {
		vars := caddytext.New("site_vars")
		for _, name := range sorted(c.SiteVars) {
			vars.Add(c.SiteVars[name].line(name))
		}
		lines = append(lines, vars)
	}
	return append(lines, w.content(c)...)
}

func (v *SiteVar) line(name string) *caddytext.Line {
	l := caddytext.New(name)
	if v == nil {
		return l
	}
	if v.Default != nil {
		l.Words = append(l.Words, *v.Default)
	}
	if len(v.Below) > 0 {
		l.Add(caddytext.New(append([]string{"below"}, v.Below...)...))
	}
	if len(v.To) > 0 {
		l.Add(caddytext.New(append([]string{"to"}, v.To...)...))
	}
	return l
}

// certificateLines writes a certificate, in the short forms that have no source.
func certificateLines(name string, raw json.RawMessage) []*caddytext.Line {
	lines := moduleLines("iis.certificates", "source", raw, "certificate", name)
	for _, l := range lines {
		switch source := l.Words[2]; {
		case source == "managed", source == "auto", (source == "pem" || source == "pfx") && len(l.Words) > 3:
			l.Words = slices.Delete(l.Words, 2, 3)
		}
	}
	return lines
}

// moduleLines writes a module behind words and its name.
func moduleLines(namespace, inline string, raw json.RawMessage, words ...string) []*caddytext.Line {
	l := directives.Inline(namespace, inline, raw)
	if l == nil {
		return nil
	}
	return []*caddytext.Line{l.Behind(words...)}
}
