package inspect

import (
	"fmt"
	"io"
	"net/http"

	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// serveExport writes what is accepted of the sites of a source as a sites file has them, as
// they are at one moment; with revisions=1 the revision and the ETag of all of its sites, in
// place of what they say.
func serveExport(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r, "", []string{"source", "revisions"})
	if err != nil {
		return err
	}
	revisions, err := q.flag("revisions", "the sites")
	if err != nil {
		return err
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	source, err := askedSource(app, q)
	if err != nil {
		return err
	}
	head, err := source.Follower.Head()
	if err != nil {
		return notNow(err) // an empty list must not look like all
	}
	write := func(to io.Writer, row sites.Row) error {
		_, err := to.Write(row.Line())
		return err
	}
	if revisions {
		write = func(to io.Writer, row sites.Row) error {
			_, err := fmt.Fprintf(to, "{\"id\":%d,\"revision\":%d,\"etag\":%q}\n", row.ID, row.Revision, live.EtagOf(head, row.Revision, row.Document))
			return err
		}
	}
	var lines spool
	defer lines.drop()
	err = source.Follower.Rows(func(row sites.Row) error { return write(&lines, row) })
	if err != nil {
		return apiError(http.StatusServiceUnavailable, "%s: its sites cannot be listed: %w", source.Name, err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if err := lines.copyTo(w); err != nil {
		panic(http.ErrAbortHandler) // half of it must not look like all
	}
	return nil
}
