package iisimport

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// Place is a path of a site.
type Place struct {
	ID   uint32 `json:"id"` // of the site
	Site string `json:"site"`
	Path string `json:"path"`
}

// atPlace says of lines since some number of them which place they are of: a node, or a whole site.
func (w *siteWriter) atPlace(n *node, from int) {
	at := Place{ID: w.site.ID, Site: oneLine(w.site.Name), Path: "/"}
	if n != nil {
		at.Path = oneLine(n.path)
	}
	for i := range w.report().Lines[from:] {
		switch l := &w.report().Lines[from+i]; l.Outcome {
		case Closed, Waiting, Upstream:
			if l.At == nil {
				l.At = []Place{at}
			}
		}
	}
}

// once joins the lines that say the same of the same line of the source, with the places that
// they are of.
func once(lines []Line) (out []Line) {
	type key struct {
		outcome            Outcome
		source             iisconfig.Source
		what, message, fix string
		answers            bool
	}
	index := make(map[key]int)
	for _, l := range lines {
		l.Source.Scope = ""
		k := key{l.Outcome, l.Source, l.What, l.Message, l.Fix, l.answers}
		if i, ok := index[k]; ok {
			out[i].At = append(out[i].At, l.At...)
			continue
		}
		index[k] = len(out)
		out = append(out, l)
	}
	for i := range out {
		out[i].At = outermost(out[i].At)
	}
	return out
}

// outermost sorts places, and leaves out those below another one.
func outermost(places []Place) (out []Place) {
	slices.SortFunc(places, func(x, y Place) int {
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(len(x.Path), len(y.Path)), cmp.Compare(x.Path, y.Path))
	})
	from := 0 // of the places of the same site
	for _, p := range places {
		if len(out) > from && out[from].ID != p.ID {
			from = len(out)
		}
		if !slices.ContainsFunc(out[from:], func(above Place) bool { return within(p.Path, above.Path) }) {
			out = append(out, p)
		}
	}
	return out
}

// placesText names the first of many places.
func placesText(places []Place) string {
	const most = 5
	var words []string
	for _, p := range places[:min(len(places), most)] {
		words = append(words, p.Path+" of site "+strconv.FormatUint(uint64(p.ID), 10)+" "+strconv.Quote(p.Site))
	}
	text := strings.Join(words, ", ")
	if more := len(places) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
