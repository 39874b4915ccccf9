package caddyiis

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"

	"github.com/caddy-iis/caddy-iis/sites"
)

// serveExport writes the sites of a source as a sites file has them, as they are at
// one moment.
func serveExport(w http.ResponseWriter, r *http.Request) error {
	q := query{r.URL.Query(), ""}
	if err := q.only([]string{"source"}); err != nil {
		return err
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	source, err := app.askedSource(q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	buffered := bufio.NewWriter(w)
	if err := source.follower.Rows(func(row sites.Row) error { return writeLine(buffered, row) }); err != nil {
		panic(http.ErrAbortHandler) // half of it must not look like all
	}
	return buffered.Flush()
}

// writeLine writes a row as a line of a sites file: the id is the first field.
func writeLine(w *bufio.Writer, row sites.Row) error {
	line := append([]byte(`{"id":`), strconv.AppendUint(nil, uint64(row.ID), 10)...)
	if rest := bytes.TrimPrefix(row.Document, []byte("{")); !bytes.Equal(rest, []byte("}")) {
		line = append(line, ',')
	}
	line = append(append(line, row.Document[1:]...), '\n')
	_, err := w.Write(line)
	return err
}
