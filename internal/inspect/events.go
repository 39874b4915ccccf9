package inspect

import (
	"encoding/json"
	"errors"
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

// maxBehind is how many events a reader may be behind before it is cut off, and how many
// it gets that it has missed.
const maxBehind = 1000

// serveEvents tells of each revision of a source when this server serves it, as
// server-sent events, until the configuration ends.
func serveEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r, "", []string{"source"})
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
	if _, err := source.Follower.Head(); err != nil {
		return notNow(err)
	}
	if r.Header.Get("Last-Event-ID") != "" { // what was missed must be known, or nobody can tell that something was
		if _, err := source.Follower.Log(0, 1); err != nil {
			return notNow(err)
		}
	}
	stream := &eventStream{w: w, flush: http.NewResponseController(w), source: source.Follower}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	stream.begin(r.Header.Get("Last-Event-ID"))
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		news := source.Follower.News()
		stream.catchUp()
		if stream.err != nil { // the reader asks again, with the id that it has
			return nil
		}
		select {
		case <-news:
		case <-alive.C:
			stream.write(": alive\n\n")
		case <-r.Context().Done():
			return nil
		case <-app.Done():
			return nil
		}
	}
}

// eventStream writes events.
type eventStream struct {
	w      http.ResponseWriter
	flush  *http.ResponseController
	source *live.Follower
	last   sites.Head // what was written, up to this
	past   uint64     // in which that is
	err    error
}

func (s *eventStream) write(text string) {
	if s.err == nil {
		_, s.err = s.w.Write([]byte(text))
	}
	if s.err == nil {
		s.err = s.flush.Flush()
	}
}

// revision writes one.
func (s *eventStream) revision(rev sites.Revision) {
	event := adminapi.Event{Revision: rev.Revision, Mark: rev.Mark, By: rev.By}
	for _, c := range rev.Changes {
		change := adminapi.Logged(c)
		event.Changes = append(event.Changes, adminapi.EventChange{ID: c.ID, Certificate: c.Certificate, Kind: change.Kind()})
	}
	raw, err := json.Marshal(event)
	if err != nil {
		s.err = err
		return
	}
	s.last.Revision, s.last.Mark = rev.Revision, rev.Mark
	s.write(fmt.Sprintf("id: %s\nevent: change\ndata: %s\n\n", eventID(s.last), raw))
}

// eventID names a revision to who has read its event. Its mark is in it: the number of one
// that is lost, by a fail-over or with a copy that is put back, comes again for another one.
func eventID(head sites.Head) string { return live.RevisionOf(head) + ":" + head.Mark }

// parseEventID reads what eventID has written. Before the first revision there is no mark.
func parseEventID(id string) (head sites.Head, ok bool) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 {
		return head, false
	}
	revision, err := strconv.ParseUint(parts[1], 10, 64)
	return sites.Head{Source: parts[0], Revision: revision, Mark: parts[2]}, err == nil && (parts[2] == "") == (revision == 0)
}

// reset tells a reader to begin anew.
func (s *eventStream) reset(head sites.Head, past uint64) {
	s.last, s.past = head, past
	s.write(fmt.Sprintf("id: %s\nevent: reset\ndata: {}\n\n", eventID(head)))
}

// begin says from where on the reader is told: what is served now, or the event that it
// had last, if that is not too long ago.
func (s *eventStream) begin(since string) {
	served, past := s.source.ServedIn()
	s.last, s.past = served, past
	if since != "" {
		last, ok := parseEventID(since)
		if ok = ok && last.Source == served.Source && last.Revision <= served.Revision && served.Revision-last.Revision <= maxBehind; ok {
			ok, s.err = s.leadsTo(served, last)
		}
		if !ok {
			s.reset(served, past)
			return
		}
		s.last = last
	}
	s.write(": from " + strconv.FormatUint(s.last.Revision, 10) + "\n\n")
}

// leadsTo reports whether a revision is in the past of what is served.
func (s *eventStream) leadsTo(served, last sites.Head) (bool, error) {
	switch last.Revision {
	case served.Revision:
		return last == served, nil
	case 0:
		return true, nil
	}
	list, err := s.source.Log(last.Revision+1, 1)
	return len(list) == 1 && list[0].Revision == last.Revision && list[0].Mark == last.Mark, err
}

// catchUp writes what is served and was not written, however many revisions came at once.
func (s *eventStream) catchUp() {
	served, past := s.source.ServedIn()
	switch {
	case s.err != nil || served == s.last && past == s.past:
		return
	case past != s.past || served.Source != s.last.Source || served.Revision <= s.last.Revision: // another table, or an older state of it
		s.reset(served, past)
		return
	case served.Revision-s.last.Revision > maxBehind:
		s.err = errors.New("the reader is too far behind")
		return
	}
	behind := int(served.Revision - s.last.Revision)
	missed, err := s.source.Log(served.Revision+1, behind)
	switch {
	case err != nil:
		s.err = err
	case len(missed) < behind || missed[0].Mark != served.Mark: // the log does not go back as far, or has another past already
		s.reset(served, past)
	default:
		for _, rev := range slices.Backward(missed) {
			s.revision(rev)
		}
	}
}
