package serve

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
func (f *follower) Watch() (events chan sites.Revision, stop func()) {
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
func (f *follower) tell(rev sites.Revision) {
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
func (s *LiveSource) tell() {
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

// WaitFor waits until a revision of a source is served, and reports whether it is. It
// ends with the configuration: a load does not wait for it.
func (a *Instance) WaitFor(ctx context.Context, id string, revision uint64) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.sitesFile.ctx, cancel)()
	for _, source := range a.Live {
		if head, _ := source.Follower.Size(); head.Source == id || len(a.Live) == 1 {
			if source.Follower.waitFor(ctx, id, revision) {
				return true
			}
		}
	}
	return false
}

// Done is closed when the configuration has ended.
func (a *Instance) Done() <-chan struct{} { return a.sitesFile.ctx.Done() }
