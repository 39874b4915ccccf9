package inspect

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// keepAlive is how often a reader gets a comment, so that nobody in between takes the
// connection for dead.
const keepAlive = 15 * time.Second

// serveEvents tells of each revision of a source when this server serves it, as
// server-sent events, until the configuration ends.
func serveEvents(w http.ResponseWriter, r *http.Request) error {
	q := query{r.URL.Query(), ""}
	if err := q.only([]string{"source"}); err != nil {
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
	if _, err := source.Follower.Head(); err != nil {
		return notNow(err)
	}
	if r.Header.Get("Last-Event-ID") != "" { // what was missed must be known, or nobody can tell that something was
		if _, err := source.Follower.Log(0, 1); err != nil {
			return notNow(err)
		}
	}
	events, stop := source.Follower.Watch()
	defer stop()
	stream := &eventStream{w: w, flush: http.NewResponseController(w), source: source.Follower.Table}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	stream.catchUp(r.Header.Get("Last-Event-ID"))
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for stream.err == nil {
		select {
		case rev, ok := <-events:
			if !ok {
				return nil
			}
			stream.revision(rev)
		case <-alive.C:
			stream.write(": alive\n\n")
		case <-r.Context().Done():
			return nil
		case <-app.Done():
			return nil
		}
	}
	return nil
}

// eventStream writes events.
type eventStream struct {
	w      http.ResponseWriter
	flush  *http.ResponseController
	source sites.Table
	last   uint64 // revision that was written
	err    error
}

func (s *eventStream) write(text string) {
	if s.err == nil {
		_, s.err = s.w.Write([]byte(text)) //nolint:gosec // an event stream is no page; names are JSON
	}
	if s.err == nil {
		s.err = s.flush.Flush()
	}
}

// revision writes one, unless it was written already.
func (s *eventStream) revision(rev sites.Revision) {
	if rev.Revision <= s.last {
		return
	}
	head, err := s.source.Head()
	if err != nil {
		s.err = err
		return
	}
	event := adminapi.Event{Revision: rev.Revision, Mark: rev.Mark, By: rev.By}
	for _, c := range rev.Changes {
		kind := adminapi.EventChanged
		switch {
		case c.Before == nil:
			kind = adminapi.EventAdded
		case c.After == nil:
			kind = adminapi.EventRemoved
		}
		event.Changes = append(event.Changes, adminapi.EventChange{ID: c.ID, Certificate: c.Certificate, Kind: kind})
	}
	raw, err := json.Marshal(event)
	if err != nil {
		s.err = err
		return
	}
	s.last = rev.Revision
	s.write(fmt.Sprintf("id: %s:%d\nevent: change\ndata: %s\n\n", head.Source, rev.Revision, raw))
}

// catchUp writes what a reader has missed since an event, or tells it to begin anew.
func (s *eventStream) catchUp(since string) {
	head, err := s.source.Head()
	if err != nil {
		s.err = err
		return
	}
	if since == "" {
		s.last = head.Revision
		s.write(": from " + strconv.FormatUint(head.Revision, 10) + "\n\n")
		return
	}
	id, number, _ := strings.Cut(since, ":")
	last, err := strconv.ParseUint(number, 10, 64)
	missed, logErr := s.source.Log(0, live.MaxBehind)
	if logErr != nil { // the reader asks again, with its id
		s.err = logErr
		return
	}
	if err != nil || id != head.Source || last > head.Revision || last+uint64(len(missed)) < head.Revision {
		s.last = head.Revision
		s.write(fmt.Sprintf("id: %s:%d\nevent: reset\ndata: {}\n\n", head.Source, head.Revision))
		return
	}
	s.last = last
	s.write(": from " + number + "\n\n")
	for _, rev := range slices.Backward(missed) {
		s.revision(rev)
	}
}
