package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/binding"
)

// Lines are where a Caddyfile has the parts of an iis block. What is wrong with a part is
// often known only when it is loaded, and JSON has no lines.
type Lines struct {
	// Where a part is for the first time, and for the last time: what is there twice is
	// there once too often.
	first, last map[string]caddyfile.Token
}

// LinesOf reads a Caddyfile. Of one that cannot be read there are no lines.
func LinesOf(filename string, input []byte) Lines {
	l := Lines{first: make(map[string]caddyfile.Token), last: make(map[string]caddyfile.Token)}
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
	word, token := d.Val(), d.Token()
	if word == "sites_from" {
		l.source(d)
		return
	}
	key := word
	switch word {
	case "site", "certificate", "endpoint", "template", "store":
		if !d.NextArg() {
			return
		}
		key = partKey(word, d.Val())
	}
	l.note(key, token)
	d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		l.inner(d, key)
	}
}

// source notes where a source of sites stands: by its name, which is its kind if none is
// given.
func (l Lines) source(d *caddyfile.Dispenser) {
	word, token, name := d.Val(), d.Token(), ""
	if d.NextArg() {
		name = d.Val()
	}
	d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() == "name" && d.NextArg() {
			name = d.Val()
		}
		for deeper := d.Nesting(); d.NextBlock(deeper); {
			continue
		}
	}
	l.note(word, token)
	l.note(partKey(word, name), token)
}

// inner notes where a word in the block of a part stands, with each of its arguments, and
// below a binding the words of its own block.
func (l Lines) inner(d *caddyfile.Dispenser, part string) {
	word, at := d.Val(), d.Token()
	args := d.RemainingArgs()
	l.note(part+"/"+word, at)
	for _, arg := range args {
		l.note(part+"/"+word+" "+arg, at)
	}
	protocol := map[string]string{"server_bindings": "http", "secure_bindings": "https"}[word]
	if word == "binding" && len(args) > 1 {
		protocol, args = args[0], args[1:]
	}
	below := part + "/" + word
	if protocol != "" {
		for _, arg := range args {
			below = bindingKey(part, protocol, arg)
			l.note(below, at)
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, at := d.Val(), d.Token()
		for _, arg := range d.RemainingArgs() {
			l.note(below+"/"+word+" "+arg, at)
		}
		for deeper := d.Nesting(); d.NextBlock(deeper); {
			continue
		}
	}
}

// partKey is the key of a part of the iis block, whatever form its address is written in.
func partKey(word, name string) string {
	if ip, port, err := binding.ParseEndpoint(name); word == "endpoint" && err == nil {
		name = fmt.Sprint(ip, " ", port)
	}
	return word + " " + name
}

// bindingKey is the key of a binding in a part, whatever form it is written in.
func bindingKey(part, protocol, text string) string {
	if parsed, err := binding.Parse(protocol, text); err == nil {
		text = parsed.String()
	}
	return part + "//" + protocol + " " + text
}

func (l Lines) note(key string, token caddyfile.Token) {
	if _, ok := l.first[key]; !ok {
		l.first[key] = token
	}
	l.last[key] = token
}

// The parts that messages begin with, and what they name of a site.
var (
	partPattern    = regexp.MustCompile(`^(site|certificate|endpoint|template|store|sites_from) ("[^"]*"|\[[^\s,]+\]:\d+|[^\s,:]+(?::\d+)?)`)
	wordPattern    = regexp.MustCompile(`^(sites_file|sites_from|central_store|defaults|w3c_log|listen|metrics)\b`)
	bindingPattern = regexp.MustCompile(`\b(?:(https?) )?binding (?:(https?) )?(\S+?)(?:: | |,|$)`)
	namedPattern   = regexp.MustCompile(`\b(template|store|certificate) "([^"]*)"`)
	sourcePattern  = regexp.MustCompile(`^sites_from: (?:two sources are called "([^"]*)"|\S+ and (\S+) are the same )`)
	twicePattern   = regexp.MustCompile(`\btwice\b`)
)

// Of says where the part stands that a message is about, such as `Caddyfile:12`; empty
// if that is not known.
func (l Lines) Of(message string) string {
	tokens := l.first
	if twicePattern.MatchString(message) || sourcePattern.MatchString(message) {
		tokens = l.last
	}
	for _, key := range keysOf(message) {
		if at, ok := tokens[key]; ok {
			return fmt.Sprintf("%s:%d", at.File, at.Line)
		}
	}
	return ""
}

// keysOf are the keys of the parts that a message is about, the most exact one first: a
// name that a binding or a site has, the binding, and what the message begins with.
func keysOf(message string) []string {
	part, rest := wordPattern.FindString(message), ""
	if twice := sourcePattern.FindStringSubmatch(message); twice != nil {
		part = partKey("sites_from", cmp.Or(twice[1], twice[2]))
	} else if found := partPattern.FindStringSubmatch(message); found != nil {
		part, rest = partKey(found[1], strings.Trim(found[2], `"`)), message[len(found[0]):]
	}
	if part == "" {
		return nil
	}
	var bindings, keys []string
	if bound := bindingPattern.FindStringSubmatch(rest); bound != nil {
		for _, protocol := range []string{"https", "http"} {
			if said := cmp.Or(bound[1], bound[2]); said == "" || said == protocol {
				bindings = append(bindings, bindingKey(part, protocol, bound[3]), bindingKey(part, protocol, bound[3]+":"))
			}
		}
	}
	if named := namedPattern.FindStringSubmatch(rest); named != nil {
		word := "/" + named[1] + " " + named[2]
		for _, key := range bindings {
			keys = append(keys, key+word)
		}
		keys = append(keys, part+word)
	}
	return slices.Concat(keys, bindings, []string{part, wordPattern.FindString(message)})
}
