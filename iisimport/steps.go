package iisimport

import "slices"

// step is a step of a request, in the order in which they come.
type step int

// The steps. Headers are those of whatever answers.
const (
	stepFilter step = iota + 1
	stepGlobal
	stepAddresses
	stepRules
	stepAllow
	stepAnswer
	stepHeaders
)

// told are the lines of the report about a step of a node; of a step of the whole site, if
// there is no node.
type told struct {
	n        *node
	at       step
	from, to int
}

// tell notes the lines since some number of them.
func (w *siteWriter) tell(n *node, at step, from int) {
	w.atPlace(n, from)
	w.told = append(w.told, told{n, at, from, len(w.report().Lines)})
}

// write writes a step of a node, and notes what is said of it, and whether it closes the
// node.
func (w *siteWriter) write(n *node, at step, write func(*node) []*Directive) []*Directive {
	from := len(w.report().Lines)
	out := write(n)
	w.tell(n, at, from)
	for _, d := range out {
		switch d.Words[0] {
		case "iis_closed":
			n.close(at)
		case "iis_redirect":
			n.redirects = true
		}
	}
	return out
}

// close notes that nobody comes past a step.
func (n *node) close(at step) {
	if n.shut == 0 || at < n.shut {
		n.shut = at
	}
}

// closed tells whether a node is closed, and not only what would answer behind a redirect of
// all requests.
func (n *node) closed() bool {
	r := n.settings.HTTPRedirect
	return n.shut > 0 && (n.shut < stepAnswer || !n.redirects || r.ChildOnly || r.Destination == "")
}

// counts tells whether what is said of a step of a node is so. In a place that is closed,
// rules that answer do so before that, and redirects may.
func (n *node) counts(at step, l *Line) bool {
	switch {
	case at == stepRules && l.answers:
		return n.shut == 0 || n.shut > stepRules
	case at == stepAllow && n.redirects:
		return n.shut == 0 || n.shut > stepAllow
	case !n.closed():
		return n.shut == 0 || at != n.shut
	}
	return false
}

// takeBack sees to it that the report says translated of nothing that nobody reaches: which
// of the steps closes a place is not known before all are written.
func (w *siteWriter) takeBack() {
	open := slices.ContainsFunc(append(slices.Clone(w.nodes), w.root), func(n *node) bool { return !n.closed() })
	for _, t := range w.told {
		for i := t.from; i < t.to; i++ {
			l := &w.report().Lines[i]
			if t.n == nil && !open && !l.answers || t.n != nil && !t.n.counts(t.at, l) {
				l.takeBack()
			}
		}
	}
}
