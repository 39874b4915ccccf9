package iisconfig

import (
	"errors"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// newBinding makes a binding from a protocol and its information as typed.
func (b *builder) newBinding(protocol, info string, src Source) *Binding {
	out := &Binding{Protocol: protocol, Information: info, Source: src}
	out.HTTP = strings.EqualFold(protocol, "http") || strings.EqualFold(protocol, "https")
	if !out.HTTP {
		b.rep.info(CodeNotHTTP, src, "the binding %s of the protocol %s is not one of the web server", shorten(info), shorten(protocol))
		return out
	}
	parsed, err := binding.Parse(protocol, info)
	if err != nil {
		out.Problem = err.Error()
		fix := ""
		if e, ok := errors.AsType[*binding.ParseError](err); ok {
			out.Problem = e.Part + " " + e.Reason
			fix = "accepted: " + e.Accepted
		}
		b.rep.error(CodeBadValue, src, fix, "the binding %q cannot be used: %s", shorten(info), shorten(out.Problem))
		return out
	}
	out.Parsed = &parsed
	return out
}

// addBinding adds a binding to a site. IIS does not load a configuration with the same
// one twice in a site.
func (b *builder) addBinding(s *Site, add *Binding) {
	if b.indexed != s || len(b.bindingIndex) != len(s.Bindings) {
		b.indexed, b.bindingIndex = s, bindingsByKey(s)
	}
	key := bindingKey(add)
	if b.bindingIndex[key] != nil {
		b.rep.warn(CodeDuplicate, add.Source, "remove one of them",
			"the site %s has the binding %s of %s twice; one is kept", s.Name, shorten(add.Information), shorten(add.Protocol))
		return
	}
	b.bindingIndex[key] = add
	s.Bindings = append(s.Bindings, add)
}

func bindingsByKey(s *Site) map[string]*Binding {
	index := make(map[string]*Binding, len(s.Bindings))
	for _, b := range s.Bindings {
		index[bindingKey(b)] = b
	}
	return index
}

func bindingKey(b *Binding) string {
	if b.Parsed != nil {
		return b.Parsed.Protocol.String() + " " + b.Parsed.String()
	}
	return strings.ToLower(b.Protocol + " " + b.Information)
}

// normalHash returns a certificate hash as lower-case hexadecimal. Copying it out of
// the certificate dialog of Windows adds blanks and an invisible mark of direction.
func normalHash(s string) (string, bool) {
	var out strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'f':
			out.WriteRune(r)
		case r == ' ', r == ':', r == '\u200e', r == '\u200f', r == '\u00a0':
		default:
			return s, false
		}
	}
	n := out.Len()
	return out.String(), n == 40 || n == 64
}

// setHash sets the certificate of a binding from a file.
func (b *builder) setHash(to *Binding, hash, store string, src Source) {
	to.StoreName = store
	if hash == "" {
		return
	}
	normal, ok := normalHash(hash)
	if !ok {
		b.rep.warn(CodeBadValue, src, "accepted: 40 hexadecimal digits", "the certificate hash %q is none", shorten(hash))
		return
	}
	to.CertificateHash = normal
}
