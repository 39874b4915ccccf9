package ecma

// MatchSlowly has the backtracking engine match.
func MatchSlowly(p *Pattern, text string) ([]string, bool, error) {
	q := *p
	q.linear = nil
	return q.Match(text)
}
