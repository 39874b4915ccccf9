package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// Caddyfile is the iis app as a Caddyfile.
type Caddyfile struct {
	// The text.
	Text []byte

	// What Caddy makes of it.
	Adapted json.RawMessage

	// What the configuration has beside the app, such as "app http".
	Left []string

	// How many handlers there are, and how many of them no directive says.
	Handlers, AsJSON int
}

// WriteCaddyfile writes a Caddyfile into a file, or to the standard output, and says what
// is not in it.
func WriteCaddyfile(e *Env, c Caddyfile, file string, force bool) error {
	text := c.Text
	if e.JSON {
		text = append(slices.Clip(c.Adapted), '\n')
	}
	if file != "" {
		if err := replaceFile(file, text, force); err != nil {
			return err
		}
	} else if _, err := e.Out.Write(text); err != nil {
		return err
	}
	if c.AsJSON > 0 {
		fmt.Fprintf(e.Err, "%d of %d handlers are JSON in it (iis_json): no directive says them exactly.\n", c.AsJSON, c.Handlers)
	}
	if len(c.Left) > 0 {
		fmt.Fprintf(e.Err, "Not in it, since it is the iis app alone: %s.\n", strings.Join(c.Left, ", "))
	}
	return nil
}

// replaceFile writes a file as a whole. A new one is for its owner alone: passwords may stand
// in it. One that is replaced keeps its owner, its mode, and the link that leads to it.
func replaceFile(file string, text []byte, force bool) error {
	write := func(w io.Writer) error { _, err := w.Write(text); return err }
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return wholefile.Replace(file, write)
	} else if err != nil {
		return err
	}
	if !force {
		return fmt.Errorf("%s is there already: name another file, or add --force to replace it", file)
	}
	there, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	return wholefile.Replace(there, write)
}
