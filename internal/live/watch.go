package live

import "context"

// Tell tells those who wait for the newest revision that it is served.
func (s *Source) Tell() { s.Follower.published() }

// published tells those who wait for a revision that it is served.
func (f *Follower) published() {
	f.known.Lock()
	defer f.known.Unlock()
	f.served, f.servedPast = f.head, f.pasts
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
