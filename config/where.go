package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Lines are where a Caddyfile has the parts of an iis block. What is wrong with a part is
// often known only when it is loaded, and JSON has no lines.
type Lines struct {
	tokens map[string]caddyfile.Token
}

// LinesOf reads a Caddyfile. Of one that cannot be read there are no lines.
func LinesOf(filename string, input []byte) Lines {
	l := Lines{tokens: make(map[string]caddyfile.Token)}
	blocks, err := caddyfile.Parse(filename, input)
	if err != nil {
		return l
	}
	for _, block := range blocks {
		if len(block.Keys) > 0 {
			continue
		}
		for _, segment := range block.Segments {
			if segment.Directive() != "iis" {
				continue
			}
			d := caddyfile.NewDispenser(segment)
			d.Next()
			for nesting := d.Nesting(); d.NextBlock(nesting); {
				l.part(d)
			}
		}
	}
	return l
}

// part notes where a word of the iis block stands, and the words of its own block.
func (l Lines) part(d *caddyfile.Dispenser) {
	key, token := d.Val(), d.Token()
	switch key {
	case "site", "certificate", "endpoint", "template", "store":
		if !d.NextArg() {
			return
		}
		key += " " + d.Val()
	}
	l.note(key, token)
	for d.NextArg() {
		continue
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, at := d.Val(), d.Token()
		l.note(key+"/"+word, at)
		for d.NextArg() {
			l.note(key+"/"+word+" "+d.Val(), at)
			l.note(key+"//"+d.Val(), at)
		}
		for inner := d.Nesting(); d.NextBlock(inner); {
			continue
		}
	}
}

func (l Lines) note(key string, token caddyfile.Token) {
	if _, ok := l.tokens[key]; !ok {
		l.tokens[key] = token
	}
}

// The parts that messages begin with, and what they name of a site.
var (
	partPattern    = regexp.MustCompile(`^(site|certificate|endpoint|template|store) ("[^"]*"|[^\s,:]+(?::\d+)?)`)
	wordPattern    = regexp.MustCompile(`^(sites_file|sites_from|central_store|defaults|w3c_log|listen|metrics)\b`)
	bindingPattern = regexp.MustCompile(`\bbinding (\S+?)(?:: | |,|$)`)
	namedPattern   = regexp.MustCompile(`\b(template|store|certificate) "([^"]*)"`)
)

// Of says where the part stands that a message is about, such as `Caddyfile:12`; empty
// if that is not known.
func (l Lines) Of(message string) string {
	if len(l.tokens) == 0 {
		return ""
	}
	key := wordPattern.FindString(message)
	if part := partPattern.FindStringSubmatch(message); part != nil {
		key = part[1] + " " + strings.Trim(part[2], `"`)
	}
	token, ok := l.tokens[key]
	if !ok {
		return ""
	}
	if bound := bindingPattern.FindStringSubmatch(message); bound != nil {
		for _, form := range bindingForms(bound[1]) {
			if at, ok := l.tokens[key+"//"+form]; ok {
				return place(at)
			}
		}
	} else if named := namedPattern.FindStringSubmatch(strings.TrimPrefix(message, key)); named != nil {
		if at, ok := l.tokens[key+"/"+named[1]+" "+named[2]]; ok {
			return place(at)
		}
	}
	return place(token)
}

// bindingForms are the ways to write a binding that messages show with *.
func bindingForms(shown string) []string {
	forms := []string{shown, shown + ":"} // without host
	if rest, ok := strings.CutPrefix(shown, "*:"); ok {
		forms = append(forms, ":"+rest, ":"+rest+":")
	}
	return forms
}

func place(t caddyfile.Token) string { return fmt.Sprintf("%s:%d", t.File, t.Line) }
