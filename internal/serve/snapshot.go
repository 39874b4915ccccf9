package serve

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/paged"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// Snapshot is what the app serves at a moment: the sites, and what follows from
// them. It never changes: an Instance makes it whole and then publishes it. A sites file
// that has changed makes another one, and shares with it what is not different.
type Snapshot struct {
	*fixed

	Tables   *binding.Tables
	Findings []binding.Finding     // about the tables
	Sites    *paged.Slice[*site]   // by SiteEntry.Index
	states   siteStates            // of all of them
	Records  *paged.Slice[*Record] // by Record.Index
	// The connection policy of all records of a port, nil if they differ.
	uniform map[uint16]*policies.Policy
	ports   map[uint16]*portMetrics
	state   *front.State

	forgotten bool // the configuration has ended, and nothing is served any more

	// Where in the sites file a site is, while the snapshot is made: for errors.
	where func(id uint32) string
}

// place is where in the sites file a site is, as the beginning of a message.
func (sn *Snapshot) place(id uint32) string {
	if sn.where == nil {
		return ""
	}
	if where := sn.where(id); where != "" {
		return where + ": "
	}
	return ""
}

// Now returns what the app serves at this moment.
func (a *Instance) Now() *Snapshot { return a.snapshot.Load() }

// Serving returns what the app serves or, once its configuration has been replaced and
// forgotten, what is served in its place, and by whom.
func (a *Instance) Serving() (*Instance, *Snapshot) {
	for {
		now := a.Now()
		next, ok := fronts.Handler().(*Instance)
		if !now.forgotten || !ok || next == a {
			return a, now
		}
		a = next
	}
}

// Newest returns what is served at this moment, by this app or by one that has just taken
// its place and that Caddy does not show yet.
func (a *Instance) Newest() (*Instance, *Snapshot) {
	if next, ok := fronts.Handler().(*Instance); ok {
		return next, next.Now()
	}
	return a, a.Now()
}

// forget lets go of all that requests needed: Caddy's configuration, and the app with
// it, is held by handlers that have taken a connection over. Where nothing is served
// in its place they have none.
func (a *Instance) forget() {
	if fronts.Handler() == nil {
		return
	}
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	tables, _, err := binding.Compile(nil, nil, binding.Options{})
	if err != nil {
		return // no sites do not contradict each other
	}
	f.state = nil
	clear(a.commons) // they have what sites of the configuration answer
	a.snapshot.Store(&Snapshot{fixed: a.fixed, Tables: tables, Sites: paged.Make[*site](0), forgotten: true})
}

// configured is a site as it was configured, and where.
type configured struct {
	id     uint32
	cfg    *config.Site
	source string        // its name; empty if it is in Caddy's configuration
	where  string        // in the sites file, if it is there
	input  *binding.Site // of a row that has passed: what the tables take of it
	vars   vars          // of such a row
}

// label names a site in messages.
func (c *configured) label() string {
	name := c.cfg.Name
	if c.input != nil {
		name = c.input.Name
	}
	if c.where != "" {
		return c.where + ": " + config.SiteLabel(c.id, name)
	}
	return config.SiteLabel(c.id, name)
}

// compile builds the tables from all sites and endpoints.
func (a *Instance) compile(sites []configured) (*Snapshot, error) {
	inputs, siteErr := a.bindingSites(sites)
	var endpointErr error
	a.BoundEndpoints, endpointErr = a.bindingEndpoints()
	if err := errors.Join(siteErr, endpointErr); err != nil {
		return nil, err
	}
	return a.compileInputs(inputs, func(id uint32) string {
		i, ok := slices.BinarySearchFunc(sites, id, func(c configured, id uint32) int { return cmp.Compare(c.id, id) })
		if !ok {
			return ""
		}
		return sites[i].where
	})
}

// bindingOptions are the options of the tables.
func (a *Instance) bindingOptions() binding.Options {
	return binding.Options{
		SNIMissing:       a.Options.SNIMissing,
		SNIUnmatched:     a.Options.SNIUnmatched,
		FirstWins:        a.Options.FirstWins,
		WildcardAnyDepth: a.Options.WildcardAnyDepth,
		Listen:           a.Options.Listen,
		CentralStore:     a.CentralStore != nil,
	}
}

func (a *Instance) compileInputs(inputs []binding.Site, where func(id uint32) string) (*Snapshot, error) {
	tables, findings, err := binding.Compile(inputs, a.BoundEndpoints, a.bindingOptions())
	if err != nil {
		return nil, locate(err, where)
	}
	return &Snapshot{fixed: a.fixed, Tables: tables, Findings: findings, where: where}, nil
}

// locate adds to conflicts where in the sites file their sites are.
func locate(err error, where func(id uint32) string) error {
	var conflict *binding.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	located := &binding.ConflictError{Findings: slices.Clone(conflict.Findings), More: conflict.More}
	for i := range located.Findings {
		f := &located.Findings[i]
		if place := cmp.Or(where(f.Site), where(f.Other)); place != "" {
			f.Message = place + ": " + f.Message
		}
	}
	return located
}

// addSites makes what serves each site. Those that are not among the given ones
// are taken over from the snapshot before.
func (a *Instance) addSites(sn *Snapshot, sites []configured, before *Snapshot) error {
	given := make([]*configured, len(sites))
	for i := range sites {
		given[i] = &sites[i]
	}
	slices.SortFunc(given, func(x, y *configured) int { return cmp.Compare(x.id, y.id) })
	sn.Sites = paged.Make[*site](sn.Tables.SiteSlots())
	var old []*binding.SiteEntry
	if before != nil {
		old = before.Tables.Sites()
	}
	var unmet unmetErrors
	for _, entry := range sn.Tables.Sites() {
		for len(old) > 0 && old[0].ID < entry.ID {
			old = old[1:]
		}
		for len(given) > 0 && given[0].id < entry.ID {
			given = given[1:]
		}
		if len(given) > 0 && given[0].id == entry.ID {
			c := given[0]
			s, err := a.newSite(sn, c, entry)
			if err != nil {
				return fmt.Errorf("%s: %w", c.label(), err)
			}
			sn.Sites.Set(entry.Index, s)
			sn.states.count(entry, s, 1)
			continue
		}
		s := before.Sites.At(old[0].Index)
		if s.Access.requireCertificate && entry != old[0] {
			if err := sn.asksForCertificates(entry); err != nil {
				unmet = append(unmet, unmetDemand{entry.ID, fmt.Errorf("%s%s: %w", sn.place(entry.ID), config.SiteLabel(entry.ID, entry.Name), err)})
			}
		}
		sn.Sites.Set(entry.Index, s)
		sn.states.count(entry, s, 1)
	}
	if len(unmet) > 0 {
		return unmet
	}
	return nil
}

// replaceSites does the same after a change that concerns no other sites: those keep
// their entries, and with them their slots. There may be very many of them.
func (a *Instance) replaceSites(sn *Snapshot, sites []configured, removed []uint32, before *Snapshot) error {
	slots := before.Sites.Edit(sn.Tables.SiteSlots())
	sn.states = before.states
	for _, id := range slices.Concat(removed, idsOf(sites)) {
		entry := before.Tables.SiteByID(id)
		if entry == nil || slots.At(entry.Index) == nil {
			continue
		}
		sn.states.count(entry, slots.At(entry.Index), -1)
		slots.Set(entry.Index, nil)
	}
	for i := range sites {
		entry := sn.Tables.SiteByID(sites[i].id)
		s, err := a.newSite(sn, &sites[i], entry)
		if err != nil {
			return fmt.Errorf("%s: %w", sites[i].label(), err)
		}
		slots.Set(entry.Index, s)
		sn.states.count(entry, s, 1)
	}
	sn.Sites = slots.Slice()
	return nil
}

// newSite makes what serves a site.
func (a *Instance) newSite(sn *Snapshot, c *configured, entry *binding.SiteEntry) (*site, error) {
	cfg := c.cfg
	s := &site{id: c.id, name: entry.Name, Certificate: cfg.Certificate}
	access, err := a.compileAccess(sn, cfg, entry)
	if err != nil {
		return nil, err
	}
	content, err := a.contentOf(cfg)
	if err != nil {
		return nil, err
	}
	a.letGoOfShared(sn.Tables.SiteSlots())
	s.common = a.commons.get(common{Offline: cfg.Offline, Source: c.source, Content: content, Access: a.demands.get(access)})
	a.own.Touch(s.Content.own != nil, c.id)
	if s.vars = c.vars; c.input == nil {
		values, err := a.VarsOf(cfg)
		if err != nil {
			return nil, err
		}
		s.vars = varsOf(values)
	}
	if s.w3c, err = a.w3c.Of(cfg); err != nil {
		return nil, err
	}
	if a.Metrics {
		s.metrics = a.metricsOf(c.id)
	}
	if s.Content.May.requests {
		s.includes = new(includes)
	}
	if s.Content.server.Logs != nil {
		s.logName = []any{fmt.Sprint(c.id)}
	}
	return s, nil
}

// Conflicts returns the errors among the bindings of a configuration that is not
// provisioned, nil if there are none or if it cannot be told.
func Conflicts(cfg *config.App) *binding.ConflictError {
	a := New(cfg, nil)
	var err error
	if a.Options, err = a.ParseOptions(); err != nil {
		return nil
	}
	sites, err := a.configuredSites()
	if err != nil {
		return nil
	}
	defer a.sitesFile.end(nil)
	if sites, err = a.readSitesFile(sites); err != nil {
		return nil
	}
	_, err = a.compile(sites)
	conflict, _ := errors.AsType[*binding.ConflictError](err)
	return conflict
}

// StandingFindings are those of the parts that serve, with a snapshot: what they found when
// they were made, and what they cannot do now.
func (a *Instance) StandingFindings(sn *Snapshot) []binding.Finding {
	return slices.Concat(sn.Findings, a.sitesFileFindings(), a.liveFindings(), sn.leftOutFindings(),
		a.policies.Findings(), a.hostFindings(), a.w3c.Findings())
}
