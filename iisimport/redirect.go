package iisimport

import (
	"strconv"
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
	w.report().translated(r.Source, what, "iis_redirect, %d", max(r.Status, 302))
	d := directive("iis_redirect", "*", destination)
	d.Block, d.hasBlock = kids, kids != nil
	return []*Directive{w.acceptedOr(d, 404, r.Source)}
}
