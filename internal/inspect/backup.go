package inspect

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/sites"
)

// serveBackup writes a copy of the file of a source as it is at one moment. Private keys are in
// it only as they are encrypted: the API tells none.
func serveBackup(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r, "", []string{"source"})
	if err != nil {
		return err
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	source, err := backedSource(app, q)
	if err != nil {
		return err
	}
	backup, err := source.Backup()
	switch {
	case errors.Is(err, live.ErrNoBackup):
		return apiError(http.StatusNotFound, "%s: %w", source.Name, err)
	case errors.Is(err, sites.ErrPlainKeys):
		return apiError(http.StatusForbidden, "%s: %w, and the API tells none: caddy iis sites backup --file <path> reads the file itself", source.Name, err)
	case err != nil:
		return apiError(http.StatusServiceUnavailable, "%s: no backup can be made: %w", source.Name, err)
	}
	defer backup.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(backup.Size(), 10)) // what is cut off is noticed
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.Copy(w, backup)
	return nil
}

// backedSource finds the source that is asked for, or else the first that is a file of its own.
func backedSource(app *serve.Instance, q query) (*live.Source, error) {
	if q.get("source") == "" {
		for _, source := range app.Live {
			if source.Follower.Backed() != nil {
				return source, nil
			}
		}
	}
	return askedSource(app, q)
}
