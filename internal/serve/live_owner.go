package serve

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/live"
)

// takeSourcesOver makes this configuration the one that serves the rows. What was
// written since it looked at them, it takes now. Nobody writes until the function that
// it returns is called, when the configuration serves: what is acknowledged is served.
func (a *Instance) takeSourcesOver() (release func()) {
	moved := false
	for _, source := range a.Live {
		if source.TakeOver() {
			moved = true
			if err := a.catchUp(source); err != nil {
				a.logger.Error("cannot take over what was written while the configuration was loaded", zap.String("source", source.Name), zap.Error(err))
			}
		}
	}
	if moved {
		a.locked(func() {
			for _, source := range a.Live {
				a.tryHeldBack(source, a.waitsForOthers(source), a.passesNow)
			}
		})
	}
	return func() {
		for _, source := range a.Live {
			source.Unlock()
			source.LogHeldBack()
		}
		if len(a.Live) > 0 {
			go a.trimLogs()
		}
	}
}

// catchUp shows what was written since this configuration read the rows. The caller
// holds the lock of the source.
func (a *Instance) catchUp(source *live.Source) error {
	shown := make(map[uint32]bool)
	for _, entry := range a.Now().Tables.Sites() {
		if a.Now().Sites.At(entry.Index).Source == source.Name {
			shown[entry.ID] = true
		}
	}
	changed, gone := source.Moved(shown)
	if provision := a.Ahead(source, source.ServedDocuments(changed)); provision != nil {
		defer provision()()
	}
	d := a.decide(source, changed, gone)
	if source.Follower.Shared != nil {
		a.showWhatCanBe(source, d)
		return nil
	}
	return a.show(d, source)
}

// trimLogs forgets, now and once a day, what was written longer ago than the log is
// kept.
func (a *Instance) trimLogs() {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for {
		for _, source := range a.Live {
			if err := source.Follower.Trim(time.Now().Add(-time.Duration(source.KeepLog))); err != nil && a.sitesFile.ctx.Err() == nil {
				a.logger.Error("cannot shorten the log of a source of sites", zap.String("source", source.Name), zap.Error(err))
			}
		}
		select {
		case <-daily.C:
		case <-a.sitesFile.ctx.Done():
			return
		}
	}
}

// releaseSources lets go of the tables.
func (a *Instance) releaseSources() {
	for _, source := range a.Live {
		if err := source.Close(); err != nil {
			a.logger.Error("closing a source of sites", zap.String("source", source.Name), zap.Error(err))
		}
	}
}

// maxClaim is how long a change waits for its turn.
const maxClaim = 10 * time.Second

// Claim finds the source of a change and takes its lock, which its Unlock gives back. The
// configuration that owns the source makes the change: it may be a newer one than this.
func (a *Instance) Claim(ctx context.Context, find func(*Instance) (*live.Source, error)) (*Instance, *live.Source, error) {
	ctx, cancel := context.WithTimeout(ctx, maxClaim)
	defer cancel()
	app := a
	for range 10 {
		source, err := find(app)
		if err != nil {
			return nil, nil, err
		}
		owner, err := source.Claim(ctx)
		if err != nil {
			return nil, nil, err
		}
		if owner == source {
			return app, source, nil
		}
		if app = servedBy(owner); app == nil {
			break
		}
	}
	return nil, nil, errReplaced()
}

// servedBy returns the configuration that a source belongs to, nil without one.
func servedBy(source *live.Source) *Instance {
	if source == nil {
		return nil
	}
	return source.Node.(*Instance)
}

func errReplaced() error {
	return live.RefuseWrite(http.StatusServiceUnavailable, live.CodeUnavailable, nil, "the configuration is being replaced: ask again")
}

// WaitFor waits until a revision of a source is served, and reports whether it is. It
// ends with the configuration: a load does not wait for it.
func (a *Instance) WaitFor(ctx context.Context, id string, revision uint64) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.sitesFile.ctx, cancel)()
	return a.Live.WaitFor(ctx, id, revision)
}

// Done is closed when the configuration has ended.
func (a *Instance) Done() <-chan struct{} { return a.sitesFile.ctx.Done() }
