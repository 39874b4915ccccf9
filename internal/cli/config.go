package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// WriteCaddyfile writes a Caddyfile, and says what is not in it.
func WriteCaddyfile(e *Env, c Caddyfile, to Output) error {
	text, missing := c.Text, ""
	if len(c.Left) > 0 {
		missing = fmt.Sprintf("Not in it, since it is the iis app alone: %s.", escape(strings.Join(c.Left, ", ")))
		comment := strings.ReplaceAll(missing, "{$", "{ $") // Caddy reads variables in comments too
		text = append([]byte("# "+comment+"\n"), text...)
	}
	if e.JSON {
		text = append(slices.Clip(c.Adapted), '\n')
	}
	if err := to.WriteBytes(e, text); err != nil {
		return err
	}
	if c.AsJSON > 0 {
		fmt.Fprintf(e.Err, "%d of %d handlers are JSON in it (iis_json): no directive says them exactly.\n", c.AsJSON, c.Handlers)
	}
	if missing != "" {
		fmt.Fprintln(e.Err, missing)
	}
	return nil
}
