package ecma

// MatchSlowly has the backtracking engine match.
func MatchSlowly(p *Pattern, text string) ([]string, bool, error) {
	q := &Pattern{syntax: p.syntax, exact: p.exact, fold: p.fold, groups: p.groups, source: p.source}
	return q.Match(text)
}
