package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// LiveSource is a source of sites that are changed while they serve, as this
// configuration has it.
type LiveSource struct {
	*sites.CommonSettings
	module   sites.Source
	claims   claimed
	routes   *config.RouteRules // for routes of rows; nil: they have none
	Follower *follower          // nil until it is opened
	from     uint64             // the step of the follower that this configuration began with
	sealer   *sites.Sealer

	// The rows that are not served, and why.
	mu    sync.Mutex
	held  map[uint32]HeldBack
	tried uint32 // the last one that was tried again

	later atomic.Bool // they are tried as soon as the follower's mutex is free

	failed map[string]string // certificates that are not served, and why; replaced as a whole
	stale  map[string]bool   // those that serve and are not encrypted with the first key; likewise
}

// follower is an open table and what the process knows of it. It outlives
// configurations.
type follower struct {
	sites.Table

	Shared sites.Shared // the same, if others write it as well; else nil
	stop   func()       // ends following it
	began  time.Time

	mu    sync.Mutex // held by who writes, takes what others wrote, or takes the table over
	owner *Instance  // the configuration that serves the rows

	openSince    time.Time // since when rows wait for their first verdict
	reconsidered time.Time // when rows that were refused were looked at

	// What is known of the table. It is changed by who holds mu as well, and read by
	// who holds either. Held for moments only: nobody may wait for another source.
	known        sync.Mutex
	revision     map[uint32]uint64
	certificates map[string]*keptCertificate
	head         sites.Head
	highest      atomic.Uint32     // id that there was since the table is open
	step         uint64            // counts what was written since then
	moved        map[uint32]uint64 // the step in which a row was last different
	movedCerts   uint64            // the step in which a certificate was last different
	served       sites.Head        // the newest revision that is served
	news         chan struct{}     // closed when that is another one

	// Of shared tables.
	open    map[uint32]bool  // rows that are not accepted
	rivals  map[uint32]rival // what was in the way of those that are refused
	strange int              // sites that would go if pending was taken
	pending *sites.Difference

	watching sync.Mutex
	watchers []chan sites.Revision
}

// note takes note of a row. The caller holds both locks, or has the follower alone.
func (f *follower) note(id uint32, revision uint64) {
	f.revision[id], f.moved[id] = revision, f.step
	f.highest.Store(max(f.highest.Load(), id))
}

// RevisionOf returns the revision of a row, if there is one.
func (f *follower) RevisionOf(id uint32) (revision uint64, ok bool) {
	f.known.Lock()
	defer f.known.Unlock()
	revision, ok = f.revision[id]
	return revision, ok
}

// Size returns the newest revision, and how many rows there are.
func (f *follower) Size() (head sites.Head, rows int) {
	f.known.Lock()
	defer f.known.Unlock()
	return f.head, len(f.revision)
}

// Destruct implements caddy.Destructor.
func (f *follower) Destruct() error {
	if f.stop != nil {
		f.stop()
	}
	for _, name := range f.certificateNames() {
		f.dropCertificate(name)
	}
	return f.Close()
}

// followers are those of the process, by address.
var followers = caddy.NewUsagePool()

var errNotOpen = errors.New("it is not open in this process")

// openFollower opens a table, or takes one that is open already.
func openFollower(ctx context.Context, module sites.Source, onlyOpen bool) (*follower, error) {
	val, _, err := followers.LoadOrNew(module.Address(), func() (caddy.Destructor, error) {
		if onlyOpen {
			return nil, errNotOpen
		}
		table, err := module.Open(ctx)
		if err != nil {
			return nil, err
		}
		f := newFollower(table)
		if f.head, err = table.Head(); err == nil {
			f.served = f.head
			err = table.Rows(func(row sites.Row) error { f.noteRow(&row); return nil })
		} else if f.Shared != nil {
			err = nil // it follows when it can
		}
		if err != nil {
			_ = table.Close()
			return nil, err
		}
		if f.Shared != nil {
			f.follow()
		}
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return val.(*follower), nil
}

func newFollower(table sites.Table) *follower {
	f := &follower{
		Table: table, revision: make(map[uint32]uint64), moved: make(map[uint32]uint64), news: make(chan struct{}),
		certificates: make(map[string]*keptCertificate),
		open:         make(map[uint32]bool), rivals: make(map[uint32]rival), began: time.Now(),
	}
	f.Shared, _ = table.(sites.Shared)
	return f
}

// loadSources loads the modules of sites_from. The file among them is the sites file.
func (a *Instance) loadSources() error {
	if a.SitesFromRaw == nil {
		return nil
	}
	val, err := a.ctx.LoadModule(a.App, "SitesFromRaw")
	if err != nil {
		return fmt.Errorf("sites_from: %w", err)
	}
	names := make(map[string]bool)
	addresses := make(map[string]string)
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
		source := &LiveSource{module: module.(sites.Source)}
		source.CommonSettings = source.module.Settings()
		if names[source.Name] {
			return fmt.Errorf("sites_from: two sources are called %q: give one of them another name", source.Name)
		}
		if other := addresses[source.module.Address()]; other != "" {
			return fmt.Errorf("sites_from: %s and %s are the same table: remove one of them", other, source.Name)
		}
		if source.sealer, err = sites.NewSealer(source.CommonSettings); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		if source.routes, err = config.NewRouteRules(source.AllowRoutes); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		names[source.Name], addresses[source.module.Address()] = true, source.Name
		a.Live = append(a.Live, source)
	}
	return nil
}

// allowsRoutes reports whether rows may have routes of their own.
func (a *Instance) allowsRoutes() bool {
	return a.sitesFile.rules != nil || slices.ContainsFunc(a.Live, func(s *LiveSource) bool { return s.routes != nil })
}

// sitesComeLater reports whether sites will come that the configuration does not know.
func (a *Instance) sitesComeLater() bool { return a.SitesFile != "" || len(a.Live) > 0 }

// projectOpen shows the rows of sources that are open in this process already, since
// the configuration before serves them. A site that it shows must not be lost.
func (a *Instance) projectOpen() error {
	a.ownSites = a.Now()
	for _, source := range a.Live {
		f, err := openFollower(a.ctx, source.module, true)
		if errors.Is(err, errNotOpen) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		source.Follower = f
		if err := a.refuseTwice(source); err != nil {
			return err
		}
		if err := source.refuseHidden(a); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		if err := a.project(source); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
		if err := source.refuseLosses(a.Now()); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

// refuseLosses refuses a configuration that cannot show what the one before shows.
func (s *LiveSource) refuseLosses(next *Snapshot) error {
	s.Follower.mu.Lock()
	owner := s.Follower.owner
	s.Follower.mu.Unlock()
	if owner == nil {
		return nil
	}
	var errs errorList
	before := owner.Now()
	for _, entry := range before.Tables.Sites() {
		if before.Sites.At(entry.Index).Source != s.Name || entry.State.Code != 0 {
			continue
		}
		var err error
		if held, ok := s.heldRow(entry.ID); ok {
			err = errors.New(held.Reason)
		} else if shown := next.Tables.SiteByID(entry.ID); shown == nil {
			continue // it was deleted meanwhile
		} else {
			err = lost(shown, leftOutOf(entry)...)
		}
		if err != nil {
			errs.add("the running configuration serves "+config.SiteLabel(entry.ID, entry.Name)+", and this one cannot", "%w", err)
		}
	}
	return errs.err()
}

// openSources opens the sources that nobody in this process has open, and shows
// their rows. A row is no reason not to start; but who serves already keeps what it has,
// also if the list has a new source before it.
func (a *Instance) openSources() error {
	var opened []*LiveSource
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
	a.withoutRows = a.Now()
	if !before {
		return a.projectAll(opened)
	}
	a.snapshot.Store(a.ownSites)
	if err := a.projectAll(a.Live); err != nil {
		return err
	}
	for _, source := range a.Live {
		if err := source.refuseLosses(a.Now()); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

func (a *Instance) openSource(source *LiveSource) error {
	f, err := openFollower(a.ctx, source.module, false)
	if err != nil {
		return fmt.Errorf("sites_from %s: %w", source.Name, err)
	}
	source.Follower = f
	if err := a.refuseTwice(source); err != nil {
		return err
	}
	if err := source.mustBeLoaded(); err != nil {
		return fmt.Errorf("sites_from %s: %w", source.Name, err)
	}
	return nil
}

func (a *Instance) projectAll(list []*LiveSource) error {
	for _, source := range list {
		if err := a.project(source); err != nil {
			return fmt.Errorf("sites_from %s: %w", source.Name, err)
		}
	}
	return nil
}

// refuseTwice refuses a shared table that another source has under another address: each
// would refuse what the other has.
func (a *Instance) refuseTwice(source *LiveSource) error {
	head, err := source.Follower.Head()
	if err != nil || source.Follower.Shared == nil {
		return nil // nothing is known of it yet
	}
	for _, other := range a.Live {
		if other == source || other.Follower == nil {
			continue
		}
		if same, err := other.Follower.Head(); err == nil && same.Source == head.Source {
			return fmt.Errorf("sites_from: %s and %s are the same database, or one is a copy of the other: remove one of them, or give the copy an identity of its own (update iis.head set source = gen_random_uuid())", other.Name, source.Name)
		}
	}
	return nil
}

// mustBeLoaded refuses a source that is new and of which nothing is known, unless this
// is the first configuration of the process: a start is not refused, and it follows when
// it can.
func (s *LiveSource) mustBeLoaded() error {
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
func (a *Instance) project(source *LiveSource) error {
	f := source.Follower
	f.mu.Lock()
	defer f.mu.Unlock()
	source.from = f.step
	source.held = make(map[uint32]HeldBack)
	if err := source.readCertificates(); err != nil {
		return err
	}
	rows, err := a.readAllRows(source)
	if err != nil {
		return err
	}
	next := a.withHeldBack(a.addRows(a.Now(), rows, a.waits(source)))
	next.where = nil
	a.snapshot.Store(next)
	if len(rows) > manyRows {
		go debug.FreeOSMemory() // what reading them took is never needed again
	}
	return nil
}

// manyRows is how many rows take some hundred megabytes while they are read.
const manyRows = 50_000

// prepareSockets opens the sockets of all sites. If it cannot be done for rows that
// were read at this start, these are held back, and Caddy starts without them.
func (a *Instance) prepareSockets() error {
	err := fronts.Prepare(a.ctx, a.Now().state)
	if err == nil || a.withoutRows == nil {
		return err
	}
	if without := fronts.Prepare(a.ctx, a.withoutRows.state); without != nil {
		return without // it is not for rows
	}
	fronts.Remove(a.withoutRows.state)
	ports := make(map[uint16]bool)
	for _, listen := range a.withoutRows.Tables.Endpoints() {
		ports[listen.Port] = true
	}
	next := a.Now()
	for _, source := range a.Live {
		var removed []uint32
		for _, entry := range next.Tables.Sites() {
			elsewhere := slices.ContainsFunc(entry.Bindings, func(b binding.BindingEntry) bool { return !ports[b.Port] })
			if next.Sites.At(entry.Index).Source == source.Name && elsewhere {
				source.holdShown(entry, err)
				removed = append(removed, entry.ID)
			}
		}
		var deriveErr error
		if next, _, deriveErr = a.derive(next, nil, removed, nowhere); deriveErr != nil {
			return errors.Join(err, deriveErr)
		}
	}
	next = a.withHeldBack(next)
	next.where = nil
	a.snapshot.Store(next)
	return fronts.Prepare(a.ctx, next.state)
}

// addRows adds rows to a snapshot, as many as can be added: of two that contradict
// each other the one with the lower id.
func (a *Instance) addRows(base *Snapshot, rows []configured, hold func(*configured, error)) *Snapshot {
	rows = slices.DeleteFunc(slices.Clone(rows), func(c configured) bool {
		entry := base.Tables.SiteByID(c.id)
		if entry == nil || base.Sites.At(entry.Index).Source == c.source {
			return false
		}
		hold(&c, fmt.Errorf("%s has a site %d as well: give one of them another id, or remove it", cmp.Or(base.Sites.At(entry.Index).Source, "the configuration"), c.id))
		return true
	})
	if len(rows) == 0 {
		return base
	}
	next, err := a.deriveRows(base, rows)
	if err == nil {
		return next
	}
	return a.addHalves(base, a.withoutCulprits(base, rows, hold), hold)
}

func (a *Instance) deriveRows(base *Snapshot, rows []configured) (*Snapshot, error) {
	next, _, err := a.derive(base, rows, nil, nowhere)
	if err != nil {
		return nil, err
	}
	return next, next.stopsNobody(base)
}

// addHalves adds rows, and halves their list until those that cannot be added stand alone.
func (a *Instance) addHalves(base *Snapshot, rows []configured, hold func(*configured, error)) *Snapshot {
	if len(rows) == 0 {
		return base
	}
	next, err := a.deriveRows(base, rows)
	switch {
	case err == nil:
		return next
	case len(rows) == 1:
		hold(&rows[0], err)
		return base
	}
	half := len(rows) / 2
	return a.addHalves(a.addHalves(base, rows[:half], hold), rows[half:], hold)
}

// stopsNobody refuses rows that would stop another site, or themselves, by a binding
// that both have: first_wins is for the sites of the configuration among themselves.
func (sn *Snapshot) stopsNobody(before *Snapshot) error {
	if !sn.App.Options.FirstWins {
		return nil // it would be a conflict
	}
	for _, entry := range sn.Tables.Sites() {
		if entry.State.Code == 0 {
			continue
		}
		if old := before.Tables.SiteByID(entry.ID); old == nil || old.State.Code == 0 {
			return stoppedError(entry)
		}
	}
	return nil
}

func stoppedError(entry *binding.SiteEntry) error {
	return &binding.ConflictError{Findings: []binding.Finding{{
		Severity: binding.Error, Code: codeConflict, Site: entry.ID,
		Message: config.SiteLabel(entry.ID, entry.Name) + " would be stopped: " + entry.State.Reason,
	}}}
}

func nowhere(uint32) string { return "" }

// lost says what of a site is not served as it asks for: without a certificate, except
// for bindings that had none before, or since it is stopped because another one has a
// binding of it. Nothing is lost of a site that asks not to be served.
func lost(entry *binding.SiteEntry, before ...binding.Binding) error {
	if entry.State.Code != 0 {
		return stoppedError(entry)
	}
	if !entry.State.Started {
		return nil
	}
	for _, b := range leftOutOf(entry) {
		if !slices.Contains(before, b) {
			return errors.New(noCertificate(entry, b) + ": name one, or give its address and port one")
		}
	}
	return nil
}

// read decodes a document.
func (s *LiveSource) read(id uint32, document []byte) (configured, error) {
	cfg, err := decodeDocument(document)
	if err == nil {
		err = s.routes.Take(document, cfg)
	}
	return configured{id: id, cfg: cfg, source: s.Name}, err
}

// decodeDocument decodes a site that is a row, without its id.
func decodeDocument(document []byte) (*config.Site, error) {
	cfg := new(config.Site)
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(cfg); err != nil {
		return nil, jsondoc.PlainFor(err, cfg)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON object")
	}
	if w := cfg.W3CLog; w != nil && !reflect.DeepEqual(w, &config.W3CLog{Off: true}) {
		return cfg, errors.New(`w3c_log: only {"off": true} has a place here: the configuration says where logs are written`)
	}
	return cfg, nil
}

// passes checks a row by itself: what it says, what it names, what it claims and what
// routes it has.
func (a *Instance) passes(source *LiveSource, limit *ownroutes.Limit, c *configured) error {
	if err := a.passesAlone(source, c); err != nil {
		return err
	}
	return a.passesOwn(limit, c)
}

// passesAlone checks all of it but for routes of its own. It may be called for several
// rows at a time.
func (a *Instance) passesAlone(source *LiveSource, c *configured) error {
	var errs errorList
	site := a.bindingSite(c, &errs)
	if err := errs.err(); err != nil {
		return err
	}
	c.input = &site
	if err := a.CheckTemplate(c.cfg); err != nil {
		return err
	}
	if _, err := a.VarsOf(c.cfg); err != nil {
		return err
	}
	return source.claims.check(c.cfg, &site)
}

// passesOwn makes the routes of its own that a row has, if there may be so many.
func (a *Instance) passesOwn(limit *ownroutes.Limit, c *configured) error {
	if err := limit.Admit(c.id, c.cfg.OwnRoutes != nil); err != nil || c.cfg.OwnRoutes == nil {
		return err
	}
	if _, err := a.own.Ask(c.cfg.OwnRoutes); err != nil {
		limit.Remove(c.id)
		return err
	}
	return nil
}

// takeSourcesOver makes this configuration the one that serves the rows. What was
// written since it looked at them, it takes now. Nobody writes until the function that
// it returns is called, when the configuration serves: what is acknowledged is served.
func (a *Instance) takeSourcesOver() (release func()) {
	moved := false
	for _, source := range a.Live {
		source.Follower.mu.Lock()
		serves := source.Follower.owner != nil
		source.Follower.owner = a
		if serves { // a start asks, too: nobody has looked at what it serves
			source.Follower.acceptPending()
		}
		if source.Follower.step != source.from {
			moved = true
			if err := a.catchUp(source); err != nil {
				a.logger.Error("cannot take over what was written while the configuration was loaded", zap.String("source", source.Name), zap.Error(err))
			}
		}
	}
	if moved {
		a.locked(func() {
			for _, source := range a.Live {
				a.tryHeldBack(source, waitsForOthers)
			}
		})
	}
	return func() {
		for _, source := range a.Live {
			source.Follower.mu.Unlock()
			a.logHeldBack(source)
		}
		if len(a.Live) > 0 {
			go a.trimLogs()
		}
	}
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

// catchUp shows what was written since this configuration read the rows. The caller
// holds the follower's mutex.
func (a *Instance) catchUp(source *LiveSource) error {
	known := make(map[uint32]bool)
	var changed []uint32
	for _, entry := range a.Now().Tables.Sites() {
		if a.Now().Sites.At(entry.Index).Source == source.Name {
			known[entry.ID] = true
		}
	}
	for id := range source.Follower.revision {
		if source.Follower.moved[id] > source.from || !known[id] {
			changed = append(changed, id)
		}
		delete(known, id)
	}
	removed := SortedKeys(known)
	slices.Sort(changed)
	source.letGoMissing()
	if source.Follower.movedCerts > source.from {
		if err := source.readCertificates(); err != nil {
			a.logger.Error("certificates that were written while the configuration was loaded", zap.String("source", source.Name), zap.Error(err))
		}
	}
	rows, gone := a.readRows(source, changed)
	removed = append(removed, gone...)
	if source.Follower.Shared != nil {
		a.showWhatCanBe(source, rows, removed)
		return nil
	}
	return a.show(rows, removed, source)
}

// show serves rows in place of those before, and others no longer; as many as can be
// shown.
func (a *Instance) show(rows []configured, removed []uint32, source *LiveSource) error {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return context.Canceled
	}
	defer f.finish(a.policies.Release)
	before := a.Now()
	next := before
	if len(removed) > 0 {
		var err error
		if next, _, err = a.derive(before, nil, removed, nowhere); err != nil {
			return err
		}
	}
	next = a.withHeldBack(a.addRows(next, rows, a.waits(source)))
	if err := a.serve(before, next); err != nil {
		return err
	}
	for _, id := range removed {
		if next.Tables.SiteByID(id) == nil {
			before.forgetSite(id)
		}
	}
	return nil
}

// serve opens the sockets of a snapshot and serves it. The caller holds the lock of
// changes.
func (a *Instance) serve(before, next *Snapshot) error {
	defer func() { a.keep(a.Now()) }()
	f := &a.sitesFile
	if next.state != before.state {
		if err := fronts.Prepare(f.ctx, next.state); err != nil {
			return err
		}
		next.countPorts(before)
	}
	if !f.publish(a, before, next) {
		return context.Canceled
	}
	before.forgetPortsBut(next)
	return nil
}

// releaseSources lets go of the tables.
func (a *Instance) releaseSources() {
	for _, source := range a.Live {
		if source.Follower == nil {
			continue
		}
		source.Follower.mu.Lock()
		if source.Follower.owner == a {
			source.Follower.owner = nil
		}
		source.Follower.mu.Unlock()
		if _, err := followers.Delete(source.module.Address()); err != nil {
			a.logger.Error("closing a source of sites", zap.String("source", source.Name), zap.Error(err))
		}
	}
}
