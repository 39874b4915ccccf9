package iishttp

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// handlerPaths are paths of IIS's handlers, such as *.php, trace.axd, /api/*
// and *. Case does not count. A path stands for what is below it, too, as path
// info: *.php fits /x.php and /x.php/y. One that does not begin with a slash
// fits anywhere in a path, at the beginning of a name. An asterisk stands for
// any text, a question mark for any character but a slash; the path *. stands
// for a last name without a dot.
type handlerPaths struct {
	suffixes    []string // of *.php: .php
	wildcards   []string // against the whole path
	extensionOf bool     // *.
}

// newHandlerPaths compiles paths.
func newHandlerPaths(paths []string) (*handlerPaths, error) {
	p := new(handlerPaths)
	for _, path := range paths {
		if path == "" || strings.ContainsAny(path, `\,`) {
			return nil, fmt.Errorf("%q is no handler's path: expected one such as *.php or /x/*; several are several words", path)
		}
		if _, _, err := winpath.Segments(path); err != nil {
			return nil, fmt.Errorf("%q is no handler's path: %w", path, err)
		}
		path = winpath.Fold(path)
		extension, isExtension := strings.CutPrefix(path, "*.")
		switch {
		case path == "*.":
			p.extensionOf = true
		case isExtension && !strings.ContainsAny(extension, "*?/"):
			p.suffixes = append(p.suffixes, "."+extension)
		default:
			if !strings.HasPrefix(path, "/") {
				path = "*/" + path
			}
			p.wildcards = append(p.wildcards, path)
			if !strings.HasSuffix(path, "*") {
				p.wildcards = append(p.wildcards, strings.TrimSuffix(path, "/")+"/*")
			}
		}
	}
	return p, nil
}

// fit reports whether a folded path with a slash in front has one of them.
func (p *handlerPaths) fit(path string) bool {
	for _, suffix := range p.suffixes {
		for rest := path; ; {
			i := strings.Index(rest, suffix)
			if i < 0 {
				break
			}
			rest = rest[i+len(suffix):]
			if rest == "" || rest[0] == '/' {
				return true
			}
		}
	}
	if p.extensionOf {
		if last := path[strings.LastIndexByte(path, '/')+1:]; last != "" && !strings.Contains(last, ".") {
			return true
		}
	}
	return slices.ContainsFunc(p.wildcards, func(pattern string) bool { return wildcardFits(pattern, path) })
}

// wildcardFits reports whether the whole text has the form of the pattern. It
// takes at most as many steps as the product of their lengths.
func wildcardFits(pattern, text string) bool {
	p, t := 0, 0
	star, from := -1, 0 // the last asterisk, and where what it stands for ends
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
			continue
		case p < len(pattern) && pattern[p] == '?' && text[t] != '/':
			_, size := utf8.DecodeRuneInString(text[t:])
			p, t = p+1, t+size
			continue
		case p < len(pattern) && pattern[p] != '?' && pattern[p] == text[t]:
			p, t = p+1, t+1
			continue
		case star < 0:
			return false
		}
		from++
		p, t = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}
