package iisimport

import "slices"

// verbs are those that worker processes have of some paths, of handlers in their order: the
// first one with a verb has it.
type verbs struct {
	run, other []string // that workers have, and that others have
	rest       bool     // workers have all that none of other is
	settled    bool     // nothing is left for handlers behind
}

// take takes the next handler, that of own verbs; nil: of all.
func (v *verbs) take(own []string, runs bool) {
	if v.settled {
		return
	}
	if own == nil {
		v.settled, v.rest = true, runs
		return
	}
	for _, verb := range own {
		switch {
		case slices.Contains(v.run, verb) || slices.Contains(v.other, verb):
		case runs:
			v.run = append(v.run, verb)
		default:
			v.other = append(v.other, verb)
		}
	}
}

// guards refuse with 405 what no worker has, of the requests that fit.
func (v *verbs) guards(name string, fits []*Directive) []*Directive {
	switch {
	case v.rest && v.other == nil:
		return nil
	case v.rest:
		fits = append(fits, directive(append([]string{"method"}, v.other...)...))
	case v.run != nil:
		fits = append(fits, directive(append([]string{"not", "method"}, v.run...)...))
	}
	if fits == nil {
		return []*Directive{directive("error", "*", "405")}
	}
	return []*Directive{block(fits, name), directive("error", name, "405").because("No handler of IIS that runs a program has these.")}
}
