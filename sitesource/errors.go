package sitesource

import (
	"errors"
	"fmt"
	"strings"
)

// maxShown is how many lines an error names.
const maxShown = 20

// LineError is what is wrong with a line of a file.
type LineError struct {
	Path string
	Line int // from 1
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("%s, line %d: %v", e.Path, e.Line, e.Err) }

// Unwrap returns the error without its place.
func (e *LineError) Unwrap() error { return e.Err }

// LinesError is what is wrong with the lines of a file.
type LinesError struct {
	Lines []*LineError // the first ones, in their order
	More  int          // how many others there are
	Rest  bool         // so many failed that the rest was not read
}

// Error implements error. It has a line of text for each error.
func (e *LinesError) Error() string {
	var b strings.Builder
	for i, l := range e.Lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l.Error())
	}
	if e.Rest {
		b.WriteString("\nand more lines like these")
	} else if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// Unwrap returns the errors of the lines.
func (e *LinesError) Unwrap() []error {
	errs := make([]error, len(e.Lines))
	for i, l := range e.Lines {
		errs[i] = l
	}
	return errs
}

func (e *LinesError) add(path string, number uint32, err error) {
	if len(e.Lines) == maxShown {
		e.More++
		return
	}
	e.Lines = append(e.Lines, &LineError{path, int(number), err})
}

// refuse returns what is wrong with a file: lines that could not be decoded,
// and, if there may be any, lines whose id another has.
func (f *File[T]) refuse(lines []line, fresh []int, errs []error, clash bool) error {
	failed := clash
	for _, err := range errs {
		failed = failed || err != nil
	}
	if !failed {
		return nil
	}
	var all LinesError
	first := make(map[uint32]uint32, len(lines)) // lines by id
	for i, l := range lines {
		if len(fresh) > 0 && fresh[0] == i {
			err := errs[0]
			fresh, errs = fresh[1:], errs[1:]
			if errors.Is(err, errNotRead) {
				all.Rest = true
				continue
			}
			if err != nil {
				all.add(f.path, l.number, err)
				continue
			}
		}
		if number, ok := first[l.id]; ok {
			all.add(f.path, l.number, fmt.Errorf("site %d is there already, in line %d", l.id, number))
		} else {
			first[l.id] = l.number
		}
	}
	return &all
}

// size words a number of bytes.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
