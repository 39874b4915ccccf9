package inspect

import (
	"bufio"
	"fmt"
	"net/http"

	"github.com/caddy-iis/caddy-iis/sites"
)

// serveExport writes the sites of a source as a sites file has them, as they are at
// one moment; with revisions=1 the revision that each is at, in place of what it says.
func serveExport(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r, "", []string{"source", "revisions"})
	if err != nil {
		return err
	}
	revisions, err := q.flag("revisions", "the sites")
	if err != nil {
		return err
	}
	write := writeLine
	if revisions {
		write = writeRevision
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	source, err := askedSource(app, q)
	if err != nil {
		return err
	}
	if _, err := source.Follower.Head(); err != nil {
		return notNow(err) // an empty list must not look like all
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	buffered := bufio.NewWriter(w)
	if err := source.Follower.Rows(func(row sites.Row) error { return write(buffered, row) }); err != nil {
		panic(http.ErrAbortHandler) // half of it must not look like all
	}
	return buffered.Flush()
}

// writeLine writes a row as a line of a sites file.
func writeLine(w *bufio.Writer, row sites.Row) error {
	_, err := w.Write(row.Line())
	return err
}

// writeRevision writes at which revision a row is.
func writeRevision(w *bufio.Writer, row sites.Row) error {
	_, err := fmt.Fprintf(w, "{\"id\":%d,\"revision\":%d}\n", row.ID, row.Revision)
	return err
}
