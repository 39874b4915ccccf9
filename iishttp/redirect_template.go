package iishttp

import (
	"fmt"
	"strings"
)

// template is a destination: texts and variables. Without any part it is no
// destination.
type template []templatePart

// templatePart is a text, or a variable: V, Q, P, S or 0 to 9.
type templatePart struct {
	text     string
	variable byte
}

// parseTemplate reads a destination. captures tells whether $0 to $9 are
// variables in it.
func parseTemplate(text string, captures bool) (template, error) {
	if err := checkHost(text); err != nil {
		return nil, err
	}
	var t template
	for first := true; text != ""; {
		i := variableAt(text, captures)
		if i < 0 {
			return append(t, templatePart{text: text}), nil
		}
		if i > 0 {
			t = append(t, templatePart{text: text[:i]})
		}
		t = append(t, templatePart{variable: text[i+1]})
		if first {
			if err := checkVariable(text[:i], text[i+1]); err != nil {
				return nil, err
			}
		}
		first, text = false, text[i+2:]
	}
	return t, nil
}

func variableAt(text string, captures bool) int {
	for i := 0; i+1 < len(text); i++ {
		if v := text[i+1]; text[i] == '$' && (strings.IndexByte("VQPS", v) >= 0 || captures && v >= '0' && v <= '9') {
			return i
		}
	}
	return -1
}

// checkHost refuses a destination whose host is empty: what the client sends
// would be one.
func checkHost(text string) error {
	i := hostAt(text)
	if i >= 0 && (i == len(text) || strings.IndexByte("/?#", text[i]) >= 0) {
		return fmt.Errorf("destination %s has no host", text)
	}
	return nil
}

// checkVariable refuses a first variable that would make a scheme or a host.
func checkVariable(front string, variable byte) error {
	path := variable == 'V' || variable == 'S'
	if front == "" && path {
		return nil
	}
	noHost := strings.HasSuffix(front, "//") || strings.HasSuffix(front, "@")
	if !strings.ContainsAny(front, "/?#") || noHost && inAuthority(front) {
		return fmt.Errorf("destination %s$%c: what the client sends would be the scheme or the host", front, variable)
	}
	return nil
}

// hostAt is where the host of a URL begins, or -1 if it has none.
func hostAt(text string) int {
	i := strings.Index(text, "//")
	if i < 0 || i > 0 && (text[i-1] != ':' || strings.ContainsAny(text[:i], "/?#")) {
		return -1
	}
	return i + len("//")
}

// inAuthority tells whether a text ends inside of the host of a URL.
func inAuthority(text string) bool {
	i := hostAt(text)
	return i >= 0 && !strings.ContainsAny(text[i:], "/?#")
}

func (t template) hasVariable() bool {
	for _, part := range t {
		if part.variable != 0 {
			return true
		}
	}
	return false
}

// expand returns the target that a destination gives, and false if it is none.
func (d *Redirect) expand(t template, r *redirected) (string, bool) {
	if t == nil {
		return "", false
	}
	var b strings.Builder
	for _, part := range t {
		if part.variable == 0 {
			b.WriteString(part.text)
			continue
		}
		writePart(&b, r.value(part.variable))
	}
	if !d.ExactDestination && !t.hasVariable() {
		if r.suffix != "" {
			out := strings.TrimSuffix(b.String(), "/")
			b.Reset()
			b.WriteString(out)
			writePart(&b, "/"+strings.TrimLeft(r.suffix, "/"))
		}
		b.WriteString(r.query)
	}
	return location(b.String(), t[0].text), true
}

func (r *redirected) value(variable byte) string {
	switch variable {
	case 'V':
		return r.path
	case 'S':
		return r.suffix
	case 'Q':
		return r.query
	case 'P':
		return strings.TrimPrefix(r.query, "?")
	}
	if i := int(variable - '0'); i < len(r.captures) {
		return r.captures[i]
	}
	return ""
}

// writePart writes what the client has sent. Behind a host it begins with what
// ends a host.
func writePart(b *strings.Builder, value string) {
	front := b.String()
	switch {
	case value == "":
		return
	case inAuthority(front):
		if strings.IndexByte("/?#", value[0]) < 0 {
			b.WriteByte('/')
		}
	case strings.HasSuffix(front, "/") && value[0] == '/':
		value = strings.TrimLeft(value, "/")
	}
	b.WriteString(value)
}

// location makes a target fit for the header Location. It has a host only if
// the destination says so: a browser takes what begins with two slashes for
// one, and \ for a slash.
func location(target, front string) string {
	if strings.HasPrefix(target, "/") && !strings.HasPrefix(front, "//") {
		target = "/" + strings.TrimLeft(target, `/\`)
	}
	clean := true
	for i := range len(target) {
		clean = clean && !unfit(target[i])
	}
	if clean {
		return target
	}
	var b strings.Builder
	for i := range len(target) {
		if c := target[i]; unfit(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unfit tells whether a byte may not stand in a URL as it is (RFC 3986, 2) and
// could be misread.
func unfit(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^`+"`{|}", c) >= 0
}
