package cli

import (
	"time"

	"github.com/caddy-iis/caddy-iis/internal/autosave"
)

// Restore writes the saved configuration back from its copy.
func Restore(e *Env, file string, force bool) error {
	r, err := autosave.Restore(file, force)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(r)
	}
	if !r.Restored {
		e.printf("%s is whole, and the same as its copy: there is nothing to restore.\n", r.File)
		return nil
	}
	e.printf("%s is the configuration of %s again (%d bytes). caddy run --resume starts with it.\n",
		r.File, r.Saved.Local().Format(time.DateTime), r.Bytes)
	return nil
}
