// Package idn is the one reading of international host names: bindings, subjects
// of certificates, files of a central store and what is typed on a command line
// all mean by a name what a browser would ask for.
package idn

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// profile maps names the way browsers do (UTS #46, nontransitional): to lower
// case, and letters that are written in two ways, such as ü and u with a
// diaeresis behind it, to one. Underscores stay legal, as they are in the host
// headers of IIS.
var profile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

var errEncoding = errors.New("it is not valid UTF-8")

// ToASCII returns a name as clients send it: in lower case, with A-labels for
// what is not ASCII. A wildcard's asterisk stays. Whether the name is one that a
// host can have is for others to judge.
func ToASCII(name string) (string, error) {
	if isASCII(name) {
		return strings.ToLower(name), nil
	}
	if !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError) {
		return "", errEncoding
	}
	rest, wildcard := strings.CutPrefix(name, "*.")
	ascii, err := profile.ToASCII(rest)
	if err != nil {
		return "", err
	}
	if wildcard {
		ascii = "*." + ascii
	}
	return strings.ToLower(ascii), nil
}

// ToUnicode returns the other form of a name that ToASCII has returned, the one
// that people read. It is not ok if there is none: the name has no A-label, or
// one that no name leads to.
func ToUnicode(ascii string) (name string, ok bool) {
	if !strings.Contains(ascii, "xn--") {
		return "", false
	}
	rest, wildcard := strings.CutPrefix(ascii, "*.")
	name, err := profile.ToUnicode(rest)
	if err != nil || isASCII(name) {
		return "", false
	}
	if wildcard {
		name = "*." + name
	}
	if back, err := ToASCII(name); err != nil || back != ascii {
		return "", false
	}
	return name, true
}

// Reachable returns the name that clients ask for in place of one that was
// converted to A-labels without being mapped, as Caddy's host matchers do it; ok is
// false if the name is right as it is.
func Reachable(ascii string) (name string, ok bool) {
	if !strings.Contains(ascii, "xn--") {
		return "", false
	}
	typed, err := idna.Punycode.ToUnicode(ascii)
	if err != nil {
		return "", false
	}
	name, err = ToASCII(typed)
	return name, err == nil && !strings.EqualFold(name, ascii)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
