package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// checkUses refuses variables where they would let whoever writes a site choose any
// file or any server.
func (c *Content) checkUses() error {
	raw, err := json.Marshal(struct{ Routes, Errors any }{c.Routes, c.Errors})
	if err != nil {
		return err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return err
	}
	passed := make(passedOn)
	for passed.collect(tree) {
	}
	if names := passed[chosenName]; len(names) > 0 {
		return fmt.Errorf("%s stands in the name of a variable that vars sets, and would choose which: write the name out", names[0])
	}
	return walkTexts("", tree, func(key, text string) error {
		for _, name := range passed.varsIn(text) {
			v := c.SiteVars[name]
			switch {
			case v == nil:
				return fmt.Errorf("{%s%s} is used and not declared", VarsPrefix, name)
			case pathFields[key] && v.Below == nil:
				return fmt.Errorf("%s stands in a root: say which folders its values are in, as in below /srv/sites in a block behind %s", name, name)
			case upstreamFields[key] && v.To == nil:
				return fmt.Errorf("%s stands in an upstream: say which addresses its values have, as in to 10.0.0.0/8 in a block behind %s", name, name)
			}
		}
		return nil
	})
}

// The fields of handlers that are the folder of files, or an address.
var (
	pathFields = map[string]bool{
		"root": true, "file_root": true, "resolve_root": true, "storage": true, "path_prefix": true,
		"local":           true,                        // of iis_rewrite
		"SCRIPT_FILENAME": true, "DOCUMENT_ROOT": true, // of FastCGI
	}
	upstreamFields = map[string]bool{
		"dial": true, "address": true, "url": true, "service": true, "proxy": true,
		"name": true, "port": true, // of upstreams that DNS tells
	}
)

// walkTexts calls a function with each text of decoded JSON and the key it is under.
func walkTexts(key string, node any, each func(key, text string) error) error {
	switch node := node.(type) {
	case string:
		return each(key, node)
	case []any:
		for _, item := range node {
			if err := walkTexts(key, item, each); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(node)) {
			if err := each("", name); err != nil {
				return err
			}
			if err := walkTexts(name, node[name], each); err != nil {
				return err
			}
		}
	}
	return nil
}

var varPlaceholder = regexp.MustCompile(`\{iis\.vars\.([^{}]*)\}`)

// varsIn lists the variables whose placeholders are in a text.
func varsIn(text string) []string {
	if !strings.Contains(text, VarsPrefix) {
		return nil
	}
	var names []string
	for _, match := range varPlaceholder.FindAllStringSubmatch(text, -1) {
		name, _, _ := strings.Cut(match[1], ":") // {name:default} of replacers
		names = append(names, name)
	}
	return names
}

// passedOn has, by the name of a placeholder that a handler sets, the variables of
// sites that are in its value: what is said of a variable holds where it is called
// by another name as well.
type passedOn map[string][]string

// chosenName stands in passedOn for the variables that choose what is set.
const chosenName = ""

// collect adds what handlers and matchers in decoded JSON set, and reports whether
// that was anything new.
func (p passedOn) collect(node any) (grown bool) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			grown = p.collect(item) || grown
		}
	case map[string]any:
		switch node["handler"] {
		case "vars":
			for _, key := range slices.Sorted(maps.Keys(node)) {
				grown = p.add(chosenName, key) || grown
				grown = p.add("http.vars."+key, node[key]) || grown
			}
		case "map":
			grown = p.collectMap(node)
		case "headers":
			request, _ := node["request"].(map[string]any)
			for _, operation := range slices.Sorted(maps.Keys(request)) {
				fields, _ := request[operation].(map[string]any)
				for _, name := range slices.Sorted(maps.Keys(fields)) {
					grown = p.add("http.request.header."+name, fields[name]) || grown
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			grown = p.collectCaptures(key, node[key]) || grown
			grown = p.collect(node[key]) || grown
		}
	}
	return grown
}

// collectMap adds what the handler map sets. Its source is in that where outputs have
// what a regular expression found there.
func (p passedOn) collectMap(node map[string]any) (grown bool) {
	values := []any{node["mappings"], node["defaults"]}
	_ = walkTexts("", node["mappings"], func(key, text string) error {
		if key == "outputs" && strings.Contains(text, "$") {
			values = append(values, node["source"])
		}
		return nil
	})
	destinations, _ := node["destinations"].([]any)
	for _, to := range destinations {
		if to, ok := to.(string); ok {
			grown = p.add(strings.Trim(to, "{}"), values) || grown
		}
	}
	return grown
}

// collectCaptures adds what the matcher vars_regexp finds, also in an expression.
func (p passedOn) collectCaptures(key string, value any) (grown bool) {
	switch value := value.(type) {
	case map[string]any:
		if key != "vars_regexp" {
			return false
		}
		for _, of := range slices.Sorted(maps.Keys(value)) {
			grown = p.add("http.regexp", []any{of, "{http.vars." + of + "}"}) || grown
		}
	case string:
		if strings.Contains(value, "vars_regexp(") {
			return p.add("http.regexp", value)
		}
	}
	return grown
}

// add notes that a placeholder has a value.
func (p passedOn) add(placeholder string, value any) (grown bool) {
	_ = walkTexts("", value, func(_, text string) error {
		for _, name := range p.varsIn(text) {
			if !slices.Contains(p[placeholder], name) {
				p[placeholder], grown = append(p[placeholder], name), true
			}
		}
		return nil
	})
	return grown
}

// varsIn lists the variables of sites that are in a text, by whatever name.
func (p passedOn) varsIn(text string) []string {
	names, lower := varsIn(text), strings.ToLower(text) // names of headers are written in many ways
	for _, placeholder := range slices.Sorted(maps.Keys(p)) {
		begin := "{" + strings.ToLower(placeholder)
		for _, end := range []string{"}", ":", "."} {
			if placeholder != chosenName && strings.Contains(lower, begin+end) {
				names = append(names, p[placeholder]...)
			}
		}
	}
	return names
}
