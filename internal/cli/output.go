package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// Output is where a command writes what it makes: a file, or, without one, the standard
// output. A shell that puts the latter into a file empties that before the command begins,
// and has nothing or a part in it if the command fails.
type Output struct {
	// File is the name of the file.
	File string

	// Force tells that it may be there already.
	Force bool
}

// Check refuses a file that is there already, unless that is wanted. Commands that write
// more than one file ask before they write any.
func (o Output) Check() error {
	if o.File == "" || o.Force {
		return nil
	}
	switch _, err := os.Lstat(o.File); {
	case err == nil:
		return fmt.Errorf("%s is there already: name another file, or add --force to replace it", o.File)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// Write has write make the file as a whole: if that fails, what was there before stays. A
// new one is for its owner alone: passwords may stand in it. One that is replaced keeps its
// owner, its mode, and the link that leads to it, if nobody but root can have made that for root.
func (o Output) Write(e *Env, write func(io.Writer) error) error {
	if o.File == "" {
		return write(e.Out)
	}
	if err := o.Check(); err != nil {
		return err
	}
	file, err := wholefile.Follow(o.File)
	if err != nil {
		return err
	}
	return wholefile.Replace(file, write)
}

// WriteBytes writes what is made already.
func (o Output) WriteBytes(e *Env, data []byte) error {
	return o.Write(e, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
