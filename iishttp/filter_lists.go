package iishttp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// wordSet is a set of words in one form.
type wordSet map[string]struct{}

func newWordSet(words []string, form func(string) string) wordSet {
	set := make(wordSet, len(words))
	for _, w := range words {
		set[form(w)] = struct{}{}
	}
	return set
}

func (s wordSet) has(word string) bool {
	_, ok := s[word]
	return ok
}

// hasFolded tells whether the set has a word in the form that fold gives it,
// without making this form of a short word in ASCII, which all of them agree on.
func (s wordSet) hasFolded(word string, fold func(string) string) bool {
	var lower [64]byte
	if len(word) > len(lower) {
		return s.has(fold(word))
	}
	for i := range len(word) {
		if word[i] >= utf8.RuneSelf {
			return s.has(fold(word))
		}
		lower[i] = byte(asciiLower(rune(word[i])))
	}
	_, ok := s[string(lower[:len(word)])]
	return ok
}

// verbSet decides about methods. They have a case.
type verbSet struct {
	allow, deny  wordSet
	denyUnlisted bool
}

func newVerbSet(list FilterList) (verbSet, error) {
	exact := func(s string) string { return s }
	s := verbSet{newWordSet(list.Allow, exact), newWordSet(list.Deny, exact), list.DenyUnlisted}
	for _, verb := range slices.Concat(list.Allow, list.Deny) {
		if verb == "" {
			return s, errors.New("a verb is empty")
		}
		if s.allow.has(verb) && s.deny.has(verb) {
			return s, fmt.Errorf("%s is both allowed and denied", verb)
		}
	}
	return s, nil
}

func (s *verbSet) denies(verb string) bool {
	return s.deny.has(verb) || s.denyUnlisted && !s.allow.has(verb)
}

// extensionSet decides about the extensions of names.
type extensionSet struct {
	allow        wordSet  // by winpath.Fold
	deny         wordSet  // by foldLoosely, as all that refuses
	denySuffixes []string // those with several dots, such as .tar.gz
	denyUnlisted bool
}

// noExtension stands for names without an extension, and for folders.
const noExtension = "."

func newExtensionSet(list FilterList) (extensionSet, error) {
	s := extensionSet{allow: newWordSet(list.Allow, winpath.Fold), deny: newWordSet(list.Deny, foldLoosely), denyUnlisted: list.DenyUnlisted}
	for _, ext := range slices.Concat(list.Allow, list.Deny) {
		if err := checkExtension(ext); err != nil {
			return s, err
		}
		if s.allow.has(winpath.Fold(ext)) && s.deny.has(foldLoosely(ext)) {
			return s, fmt.Errorf("%s is both allowed and denied", ext)
		}
	}
	for ext := range s.deny {
		if strings.Count(ext, ".") > 1 {
			s.denySuffixes = append(s.denySuffixes, ext)
		}
	}
	return s, nil
}

func checkExtension(ext string) error {
	if !strings.HasPrefix(ext, ".") || strings.ContainsAny(ext, `/\`) {
		return fmt.Errorf("extension %q: expected one with its dot, such as .bak, or a dot alone for none", ext)
	}
	return nil
}

// denies tells whether a path has an extension that is denied, and which.
func (s *extensionSet) denies(names []string, folder bool) (string, bool) {
	if len(s.deny) == 0 && !s.denyUnlisted {
		return "", false
	}
	for i, name := range names {
		last := i == len(names)-1 && !folder
		if ext, denied := s.deniesName(name, last); denied {
			return ext, true
		}
		if plain := windowsName(name); plain != name {
			if ext, denied := s.deniesName(plain, last); denied {
				return ext, true
			}
		}
	}
	if len(names) == 0 || folder {
		return noExtension, s.deny.has(noExtension) || s.denyUnlisted && !s.allow.has(noExtension)
	}
	return "", false
}

func (s *extensionSet) deniesName(name string, last bool) (string, bool) {
	ext := extension(name)
	if ext == noExtension && !last {
		return "", false // a folder
	}
	if s.deny.hasFolded(ext, foldLoosely) {
		return ext, true
	}
	if s.denySuffixes != nil {
		folded := foldLoosely(name)
		for _, suffix := range s.denySuffixes {
			if strings.HasSuffix(folded, suffix) {
				return suffix, true
			}
		}
	}
	unlisted := s.denyUnlisted && !s.allow.hasFolded(ext, winpath.Fold)
	return ext, unlisted && (last || maybeScript(name, ext))
}

// extension is that of a name, with its dot; noExtension if it has none.
func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i:]
	}
	return noExtension
}

// maybeScript tells whether a name in front of others may be that of a script,
// and not that of a folder such as .well-known or v1.2.
func maybeScript(name, ext string) bool {
	return len(name) > len(ext) && strings.Trim(ext, ".0123456789") != ""
}

// windowsName is the name of the file that Windows opens for a name: dots and
// blanks at its end do not count, nor does the stream behind a colon.
func windowsName(name string) string {
	plain, _, _ := strings.Cut(name, ":")
	if plain = strings.TrimRight(plain, " ."); plain == "" {
		return name
	}
	return plain
}

func newSegments(names []string) (wordSet, error) {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, `/\`) {
			return nil, fmt.Errorf("%q is not a segment of a path", name)
		}
	}
	return newWordSet(names, foldLoosely), nil
}

// sequences are texts that something may not have, and exceptions.
type sequences struct {
	deny    []string // by foldLoosely
	allowed wordSet  // by winpath.Fold
}

func newSequences(deny, allowed []string) (sequences, error) {
	s := sequences{allowed: newWordSet(allowed, winpath.Fold)}
	for _, text := range deny {
		if text == "" {
			return s, errors.New("an empty text is in everything")
		}
		s.deny = append(s.deny, foldLoosely(text))
	}
	return s, nil
}

// in returns the first of the texts that stands in any form.
func (s *sequences) in(forms []string) (string, bool) {
	for _, text := range s.deny {
		for _, form := range forms {
			if strings.Contains(form, text) {
				return text, true
			}
		}
	}
	return "", false
}
