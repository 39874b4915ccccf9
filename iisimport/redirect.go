package iisimport

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// redirect translates httpRedirect. What it leaves alone goes on to what answers at
// the node.
func (w *siteWriter) redirect(n *node) []*Directive {
	r := n.settings.HTTPRedirect
	if r == nil || !r.Enabled || r.Destination == "" && len(r.Wildcards) == 0 {
		return nil
	}
	destination, at := r.Destination, w.place(r.Source)
	if destination == "" {
		destination = "-"
	}
	what := "httpRedirect to " + destination
	if !expressible(destination) || !expressible(at) {
		return []*Directive{w.closed(404, r.Source, what, "write it with redir", "its destination has no form in a Caddyfile")}
	}
	if why := unsureRedirect(r, at); why != "" {
		return []*Directive{w.closed(404, r.Source, "HttpRedirect", "write it with iis_redirect", why)}
	}
	var kids []*Directive
	if at != "/" {
		kids = append(kids, directive("at", at))
	}
	for _, word := range []struct {
		set  bool
		word string
	}{{r.Exact, "exact_destination"}, {r.ChildOnly, "child_only"}} {
		if word.set {
			kids = append(kids, directive(word.word))
		}
	}
	if r.Status != 0 && r.Status != 302 {
		kids = append(kids, directive("status", strconv.Itoa(r.Status)))
	}
	for _, wild := range r.Wildcards {
		if !expressible(wild.Wildcard) || !expressible(wild.Destination) || wild.Wildcard == "" || wild.Destination == "" {
			return []*Directive{w.closed(404, wild.Source, "redirect of "+wild.Wildcard, "write it with redir", "it has no form in a Caddyfile")}
		}
		kids = append(kids, directive("wildcard", wild.Wildcard, wild.Destination))
	}
	w.report().translated(r.Source, what, "iis_redirect, %d", cmp.Or(r.Status, 302))
	d := directive("iis_redirect", "*", destination)
	d.Block, d.hasBlock = kids, kids != nil
	return []*Directive{w.acceptedOr(d, 404, r.Source)}
}

var (
	reRedirectVariable = regexp.MustCompile(`\$[SQPV0-9]`)
	reRedirectCapture  = regexp.MustCompile(`\$[0-9]`)
)

// unsureRedirect tells why nobody knows what patterns of IIS 6 do that are written for a place:
// what its documents leave open makes a difference. Empty: it makes none.
func unsureRedirect(r *iisconfig.HTTPRedirect, at string) string {
	if !r.IIS6 {
		return ""
	}
	for _, wild := range r.Wildcards {
		end := strings.LastIndexByte(wild.Wildcard, '*') == 0 && !strings.Contains(wild.Wildcard, "/")
		switch {
		case at != "/" && (!end || reRedirectCapture.MatchString(wild.Destination)):
			return "nobody says whether IIS 6 looks for " + wild.Wildcard + " in the whole path or behind " + at
		case !r.Exact && wild.Destination != "!" && !reRedirectVariable.MatchString(wild.Destination):
			return "nobody says whether IIS 6 appends the path to " + wild.Destination + " without EXACT_DESTINATION"
		}
	}
	return ""
}
