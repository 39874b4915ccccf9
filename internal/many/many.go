// Package many tells of very many errors or names the first ones, and how many more there
// are: a mistake that 100,000 sites have in common is one mistake.
package many

import (
	"errors"
	"fmt"
	"strings"
)

// Max bounds how many errors, findings or names of a kind are told one by one.
const Max = 20

// Errors collects errors, of which it keeps the first ones.
type Errors struct {
	first []error
	more  int
}

// Add adds an error about what a label names.
func (l *Errors) Add(label, format string, args ...any) {
	if len(l.first) == Max {
		l.more++
		return
	}
	l.first = append(l.first, fmt.Errorf("%s: %w", label, fmt.Errorf(format, args...)))
}

// Err returns what was added as one error, nil if nothing was.
func (l *Errors) Err() error {
	if l.more > 0 {
		return errors.Join(append(l.first, fmt.Errorf("and %d more errors", l.more))...)
	}
	return errors.Join(l.first...)
}

// Names lists names, the first ones if there are many.
func Names(names []string) string {
	list := strings.Join(names[:min(len(names), Max)], ", ")
	if more := len(names) - Max; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
