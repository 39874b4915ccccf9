package serve

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/sites"
)

// loadSources loads the modules of sites_from. The file among them is the sites file.
func (a *Instance) loadSources() error {
	if a.SitesFromRaw == nil {
		return nil
	}
	val, err := a.ctx.LoadModule(a.App, "SitesFromRaw")
	if err != nil {
		return fmt.Errorf("sites_from: %w", err)
	}
	for _, module := range val.([]any) {
		if file, ok := module.(*sites.File); ok {
			if a.SitesFile != "" {
				return errors.New("sites_from: there is one sites file at most: put its lines into one, or import them into another source")
			}
			a.SitesFile = file.Path
			if a.sitesFile.rules, err = config.NewRouteRules(file.AllowRoutes); err != nil {
				return fmt.Errorf("sites_from file: %w", err)
			}
			continue
		}
		if err := a.Live.Add(module.(sites.Source), a, a.logger); err != nil {
			return err
		}
	}
	return nil
}

// allowsRoutes reports whether rows may have routes of their own.
func (a *Instance) allowsRoutes() bool {
	return a.sitesFile.rules != nil || a.Live.AllowRoutes()
}

// sitesComeLater reports whether sites will come that the configuration does not know.
func (a *Instance) sitesComeLater() bool { return a.SitesFile != "" || len(a.Live) > 0 }

// projectOpen shows the rows of sources that are open in this process already, since
// the configuration before serves them. A site that it shows must not be lost.
func (a *Instance) projectOpen() error {
	a.ownSites = a.Now()
	for _, source := range a.Live {
		if err := a.Live.Open(a.ctx, source, true); errors.Is(err, live.ErrNotOpen) {
			continue
		} else if err != nil {
			return err
		}
		if err := a.refuseHidden(source); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		if err := a.project(source); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		if err := a.refuseLosses(source, false); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

// refuseLosses refuses a configuration that cannot show what the one before shows, be it for
// want of sockets alone.
func (a *Instance) refuseLosses(s *live.Source, sockets bool) error {
	owner := servedBy(s.Follower.Owner())
	if owner == nil {
		return nil
	}
	var errs many.Errors
	before, next := owner.Now(), a.Now()
	for _, entry := range before.Tables.Sites() {
		if before.Sites.At(entry.Index).Source != s.Name || entry.State.Code != 0 {
			continue
		}
		var err error
		shown := next.Tables.SiteByID(entry.ID)
		switch held, ok := s.HeldRow(entry.ID); {
		case sockets && !live.WaitsForSocket(&held):
			continue // it was looked at, and what has changed since is caught up with
		case ok && held.Takes(entry.Bindings):
			err = errors.New(held.Reason)
		case shown == nil:
			continue // it was deleted meanwhile
		default:
			err = lost(shown, leftOutOf(entry)...)
		}
		if err != nil {
			errs.Add("the running configuration serves "+config.SiteLabel(entry.ID, entry.Name)+", and this one cannot", "%w", err)
		}
	}
	return errs.Err()
}

// openSources opens the sources that nobody in this process has open, and shows
// their rows. A row is no reason not to start; but who serves already keeps what it has,
// also if the list has a new source before it.
func (a *Instance) openSources() error {
	var opened []*live.Source
	before := false // one of them is before one whose rows are shown
	for _, source := range a.Live {
		if source.Follower != nil {
			before = before || len(opened) > 0
			continue
		}
		if err := a.openSource(source); err != nil {
			return err
		}
		opened = append(opened, source)
	}
	if len(opened) == 0 {
		return nil
	}
	if !before {
		return a.projectAll(opened)
	}
	own := *a.ownSites
	own.ports = a.Now().ports // what has been counted so far goes with a configuration that is refused
	a.snapshot.Store(&own)
	if err := a.projectAll(a.Live); err != nil {
		return err
	}
	for _, source := range a.Live {
		if err := a.refuseLosses(source, false); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

func (a *Instance) openSource(source *live.Source) error {
	if err := a.Live.Open(a.ctx, source, false); err != nil {
		return err
	}
	if err := mustBeLoaded(source); err != nil {
		return fmt.Errorf("sites_from %s: %w", source.Name, err)
	}
	return nil
}

func (a *Instance) projectAll(list []*live.Source) error {
	for _, source := range list {
		if err := a.project(source); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

// mustBeLoaded refuses a source that is new and of which nothing is known, unless this
// is the first configuration of the process: a start is not refused, and it follows when
// it can.
func mustBeLoaded(s *live.Source) error {
	if s.Follower.Shared == nil || s.Follower.Shared.Status().Loaded {
		return nil
	}
	if _, err := Of(caddy.ActiveContext()); err != nil {
		return nil // nothing serves yet
	}
	_, err := s.Follower.Head()
	return err
}

// project makes a snapshot with the rows of a source beside what there is. Rows that
// cannot be shown are held back.
func (a *Instance) project(source *live.Source) error {
	source.Lock()
	defer source.Unlock()
	if err := source.Reset(); err != nil {
		return err
	}
	limit := a.ownLimitOf(source)
	rows, err := a.readAllRows(source, limit)
	if err != nil {
		return err
	}
	until := source.Holds()
	next, more := a.addAdmitted(a.Now(), rows, source, limit, a.passesNow)
	source.LetGoUntil(until, more)
	next = a.withHeldBack(next)
	next.where = nil
	a.snapshot.Store(next)
	if len(rows) > manyRows {
		go debug.FreeOSMemory() // what reading them took is never needed again
	}
	return nil
}

// manyRows is how many rows take some hundred megabytes while they are read.
const manyRows = 50_000

// prepareSockets opens the sockets of all sites. Bindings of rows wait for those that
// cannot be opened, unless they are served until now: then the configuration is refused.
func (a *Instance) prepareSockets() error {
	next, err := a.prepare(a.ctx, nil, a.Now())
	if err != nil {
		return err
	}
	next.where = nil
	a.snapshot.Store(next)
	for _, source := range a.Live {
		if err := a.refuseLosses(source, true); err != nil {
			fronts.Remove(next.state)
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}
