package live

import (
	"context"
	"slices"

	"github.com/caddy-iis/caddy-iis/sites"
)

// MaxBehind is how many events a reader may be behind before it is cut off, and how
// many it gets that it has missed.
const MaxBehind = 1000

// Watch registers a reader of what is written. The channel is closed when it is too
// far behind.
func (f *Follower) Watch() (events chan sites.Revision, stop func()) {
	events = make(chan sites.Revision, MaxBehind)
	f.watching.Lock()
	defer f.watching.Unlock()
	f.watchers = append(f.watchers, events)
	return events, func() {
		f.watching.Lock()
		defer f.watching.Unlock()
		f.watchers = slices.DeleteFunc(f.watchers, func(other chan sites.Revision) bool { return other == events })
	}
}

// tell gives a revision to the readers.
func (f *Follower) tell(rev sites.Revision) {
	f.watching.Lock()
	defer f.watching.Unlock()
	f.watchers = slices.DeleteFunc(f.watchers, func(events chan sites.Revision) bool {
		select {
		case events <- rev:
			return false
		default:
			close(events)
			return true
		}
	})
}

// tell tells readers of events of the newest revision.
func (s *Source) tell() {
	s.Follower.watching.Lock()
	watched := len(s.Follower.watchers) > 0
	s.Follower.watching.Unlock()
	if !watched {
		return
	}
	if list, err := s.Follower.Log(0, 1); err == nil && len(list) == 1 {
		s.Follower.tell(list[0])
	}
}

// Tell tells readers of events of the newest revision, and those who wait for it that it is
// served.
func (s *Source) Tell() {
	s.tell()
	s.Follower.published()
}

// published tells those who wait for a revision that it is served.
func (f *Follower) published() {
	f.known.Lock()
	defer f.known.Unlock()
	f.served = f.head
	close(f.news)
	f.news = make(chan struct{})
}

// TellNews has those look again who wait for something of the source to be served.
func (f *Follower) TellNews() {
	f.known.Lock()
	defer f.known.Unlock()
	close(f.news)
	f.news = make(chan struct{})
}

// News returns a channel that is closed when something else is served than now.
func (f *Follower) News() <-chan struct{} {
	f.known.Lock()
	defer f.known.Unlock()
	return f.news
}

// WaitFor waits until a revision of a source is served, and reports whether it is.
func (l Sources) WaitFor(ctx context.Context, id string, revision uint64) bool {
	for _, s := range l {
		if head, _ := s.Follower.Size(); head.Source == id || len(l) == 1 {
			if s.Follower.waitFor(ctx, id, revision) {
				return true
			}
		}
	}
	return false
}

// waitFor waits until a revision is served.
func (f *Follower) waitFor(ctx context.Context, id string, revision uint64) bool {
	if f.Shared != nil {
		f.Shared.Wake() // once: what comes later is noticed as always
	}
	for {
		f.known.Lock()
		served, news := f.served, f.news
		f.known.Unlock()
		if served.Source == id && served.Revision >= revision {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}
