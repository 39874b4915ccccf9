package caddyiis

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// SiteVar declares a variable of the sites that a template or the defaults serve:
// the placeholder {iis.vars.<name>}. A site gives it a value in its vars.
type SiteVar struct {
	// What sites have that give no value. Null: each site must give one.
	Default *string `json:"default,omitempty"`

	// Values are absolute paths of one of these folders, or below it. Required for
	// a variable that stands in the root of a file server.
	Below []string `json:"below,omitempty"`

	// Values are host:port, where the host is an IP address of one of these networks
	// (10.0.0.0/8, 10.0.0.5) or one of these names. With a port (10.0.0.5:8080), only
	// that. Required for a variable that stands in an upstream.
	To []string `json:"to,omitempty"`
}

// The limits of variables.
const (
	maxSiteVars     = 32
	maxSiteVarValue = 1024
)

var siteVarName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// varsPrefix begins the placeholders of variables.
const varsPrefix = "iis.vars."

// checkSiteVars checks what templates and defaults declare, and that what decides
// about files and upstreams is bounded. It must come before they are provisioned.
func (a *App) checkSiteVars() error {
	check := func(label string, of *Content) error {
		if err := of.checkDeclared(); err != nil {
			return fmt.Errorf("%s: site_vars: %w", label, err)
		}
		return nil
	}
	for _, name := range sortedKeys(a.Templates) {
		if of := a.Templates[name]; of != nil {
			if err := check(fmt.Sprintf("template %q", name), of); err != nil {
				return err
			}
		}
	}
	if a.Defaults != nil {
		return check("defaults", a.Defaults)
	}
	return nil
}

func (c *Content) checkDeclared() error {
	if len(c.SiteVars) > maxSiteVars {
		return fmt.Errorf("%d variables are declared, and %d are allowed", len(c.SiteVars), maxSiteVars)
	}
	for _, name := range sortedKeys(c.SiteVars) {
		v := c.SiteVars[name]
		switch {
		case !siteVarName.MatchString(name):
			return fmt.Errorf("%q is no name: up to 32 lower-case letters, digits and underscores, the first a letter", name)
		case v == nil:
			return fmt.Errorf("%s is null", name)
		case v.Below != nil && v.To != nil:
			return fmt.Errorf("%s is a path (below) or an upstream (to), not both", name)
		}
		for _, folder := range v.Below {
			if !filepath.IsAbs(folder) {
				return fmt.Errorf("%s: below: %q is no absolute path of this system", name, folder)
			}
		}
		if v.Default != nil {
			if err := v.check(*v.Default); err != nil {
				return fmt.Errorf("the default of %s: %w", name, err)
			}
		}
	}
	return c.checkUses()
}

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
				return fmt.Errorf("{%s%s} is used and not declared", varsPrefix, name)
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
		for _, name := range sortedKeys(node) {
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
	if !strings.Contains(text, varsPrefix) {
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
			for _, key := range sortedKeys(node) {
				grown = p.add(chosenName, key) || grown
				grown = p.add("http.vars."+key, node[key]) || grown
			}
		case "map":
			grown = p.collectMap(node)
		case "headers":
			request, _ := node["request"].(map[string]any)
			for _, operation := range sortedKeys(request) {
				fields, _ := request[operation].(map[string]any)
				for _, name := range sortedKeys(fields) {
					grown = p.add("http.request.header."+name, fields[name]) || grown
				}
			}
		}
		for _, key := range sortedKeys(node) {
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
		for _, of := range sortedKeys(value) {
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
	for _, placeholder := range sortedKeys(p) {
		begin := "{" + strings.ToLower(placeholder)
		for _, end := range []string{"}", ":", "."} {
			if placeholder != chosenName && strings.Contains(lower, begin+end) {
				names = append(names, p[placeholder]...)
			}
		}
	}
	return names
}

// siteVars returns the variables of a site: its own, and the defaults of what serves
// it. Content of the site's own declares nothing, and may use what the site says.
func (a *App) siteVars(cfg *Site) (map[string]string, error) {
	of := a.contentFor(cfg)
	if of == &cfg.Content && of.SiteVars == nil && (of.Routes != nil || of.Errors != nil) {
		for _, name := range sortedKeys(cfg.Vars) {
			if err := new(SiteVar).check(cfg.Vars[name]); err != nil || !siteVarName.MatchString(name) {
				return nil, fmt.Errorf("vars: %s: %w", name, cmpError(err, "it is no name"))
			}
		}
		return cfg.Vars, nil
	}
	for _, name := range sortedKeys(cfg.Vars) {
		v := of.SiteVars[name]
		if v == nil {
			if len(of.SiteVars) == 0 {
				return nil, fmt.Errorf("vars: %q is not declared: what serves the site has no site_vars", name)
			}
			return nil, fmt.Errorf("vars: %q is not declared: %s", name, expected(sortedKeys(of.SiteVars)))
		}
		if err := v.check(cfg.Vars[name]); err != nil {
			return nil, fmt.Errorf("vars: %s: %w", name, err)
		}
	}
	var missing []string
	values := maps.Clone(cfg.Vars)
	for name, v := range of.SiteVars {
		if _, given := cfg.Vars[name]; given {
			continue
		}
		if v.Default == nil {
			missing = append(missing, name)
			continue
		}
		if values == nil {
			values = make(map[string]string, len(of.SiteVars))
		}
		values[name] = *v.Default
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("vars: %s must be given: what serves the site needs it", strings.Join(missing, ", "))
	}
	return values, nil
}

func cmpError(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// check validates a value.
func (v *SiteVar) check(value string) error {
	switch {
	case len(value) > maxSiteVarValue:
		return fmt.Errorf("it has %d bytes, and %d are allowed", len(value), maxSiteVarValue)
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("it has control characters")
	case v.Below != nil && !slices.ContainsFunc(v.Below, func(folder string) bool { return within(folder, value) }):
		return fmt.Errorf("%q is not a path below %s", value, strings.Join(v.Below, " or "))
	case v.To != nil:
		return v.checkUpstream(value)
	}
	return nil
}

// within reports whether a path is a folder or below it. Paths are taken as they are
// written: .. has no place in them.
func within(folder, path string) bool {
	if !filepath.IsAbs(path) || slices.Contains(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }), "..") {
		return false
	}
	rel, err := filepath.Rel(filepath.Clean(folder), filepath.Clean(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (v *SiteVar) checkUpstream(value string) error {
	host, port, err := net.SplitHostPort(value)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || host == "" {
		return fmt.Errorf("%q is not host:port, such as 10.0.0.5:8080", value)
	}
	for _, to := range v.To {
		allowed := to
		if h, p, err := net.SplitHostPort(to); err == nil {
			if p != port {
				continue
			}
			allowed = h
		}
		if strings.EqualFold(allowed, host) || inNetwork(allowed, host) {
			return nil
		}
	}
	return fmt.Errorf("%q is not one of %s", value, strings.Join(v.To, " "))
}

// inNetwork reports whether a network or an address has an address.
func inNetwork(network, host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return false
	}
	if prefix, err := netip.ParsePrefix(network); err == nil {
		return prefix.Contains(ip.Unmap())
	}
	own, err := netip.ParseAddr(network)
	return err == nil && own.Unmap() == ip.Unmap()
}
