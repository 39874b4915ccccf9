package sitesource

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// errAgain has the Watcher call again.
var errAgain = errors.New("the file could not be read")

// Watch implements Source. It has a Watcher of its own, which ends with stop:
// there are few such files.
func (f *File[T]) Watch(changed func()) (stop func(), err error) {
	w := files.NewWatcher(f.opts.Reader, files.WatcherOptions{Settle: f.opts.Settle, PollOnly: f.pollOnly})
	var watch atomic.Pointer[files.Watch]
	watch.Store(w.Add(files.Group{
		Files: []string{f.path},
		// No file has this stamp: changed is called for whatever stands there.
		Stamps:   []files.Stamp{{}},
		Interval: f.opts.Poll,
		Changed: func(ctx context.Context) error {
			if h := watch.Load(); h != nil {
				// After a change that it was not notified of, the Watcher asks
				// for notifications anew, but only when it looks again.
				h.Check()
			}
			if ctx.Err() == nil {
				changed()
			}
			if f.unread.Load() {
				return errAgain
			}
			return nil
		},
	}))
	watch.Load().Check()
	return w.Close, nil
}
