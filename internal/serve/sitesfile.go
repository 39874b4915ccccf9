package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sitesource"
)

// sitesFile follows the sites file.
type sitesFile struct {
	source sitesource.Source[*config.Site] // nil: there is none
	ctx    context.Context                 // ends with the configuration; there in any case
	cancel context.CancelFunc

	// Why the file as it is now is not what is served; nil if it is.
	problem atomic.Pointer[string]

	work     sync.Mutex         // held while a change is made, which may take long
	state    sitesource.State   // that the snapshot shows
	rules    *config.RouteRules // for routes of sites; nil: they have none
	again    *time.Timer        // of another attempt
	attempts int

	mu       sync.Mutex // held for moments only: nobody may wait for a change
	busy     bool       // a change is being made
	ended    bool
	replaced []*front.State // states of earlier snapshots

	copying sync.Mutex // held while a copy is made
}

// CodeSitesFile is the finding about a sites file that is refused.
const CodeSitesFile = "sites-file-refused"

// siteLine is one line of a sites file.
type siteLine struct {
	ID uint32 `json:"id"`
	config.Site
}

// decodeSite reads one line of the sites file.
func (a *Instance) decodeSite(raw []byte) (uint32, *config.Site, error) {
	line := new(siteLine)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(line); err != nil {
		return 0, nil, jsondoc.PlainFor(err, line)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return 0, nil, errors.New("there is more on the line than one JSON object")
	}
	if err := jsondoc.CheckSiteNames(raw); err != nil {
		return 0, nil, err
	}
	if line.ID == 0 {
		return 0, nil, errors.New(`the site has no id: add "id" with a number from 1`)
	}
	if err := a.sitesFile.rules.Take(raw, &line.Site); err != nil {
		return 0, nil, fmt.Errorf("site %d: %w", line.ID, err)
	}
	return line.ID, &line.Site, nil
}

// readSitesFile adds the sites of the sites file, if there is one, to those of
// the configuration.
func (a *Instance) readSitesFile(sites []configured) ([]configured, error) {
	f := &a.sitesFile
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(a.baseContext()))
	if a.SitesFile == "" {
		return sites, nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(a.SitesFile, true, true)
	if err != nil {
		return nil, fmt.Errorf("sites_file: %w", err)
	}
	f.source = sitesource.NewFile(path, a.decodeSite, sitesource.FileOptions{})
	state, diff, err := f.source.Read(f.ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("sites_file: %w", err)
	}
	return f.add(sites, state, diff)
}

// add adds the sites of the file to those of the configuration.
func (f *sitesFile) add(sites []configured, state sitesource.State, diff sitesource.Difference[*config.Site]) ([]configured, error) {
	sites = slices.Clone(sites)
	taken := make(map[uint32]bool, len(sites))
	limit := (*ownroutes.Pool[ownHandlers])(nil).Limit(adminapi.SourceSitesFile, f.rules)
	for i := range sites {
		taken[sites[i].id] = true
	}
	for _, c := range f.records(diff) {
		if taken[c.id] {
			return nil, fmt.Errorf("sites_file: %w", takenError(&c))
		}
		if err := limit.Admit(c.id, c.cfg.OwnRoutes != nil); err != nil {
			return nil, fmt.Errorf("sites_file: %s: %w", c.label(), err)
		}
		sites = append(sites, c)
	}
	f.state = state
	slices.SortFunc(sites, byID)
	return sites, nil
}

func takenError(c *configured) error {
	return fmt.Errorf("%s: the configuration has a site %d as well: give one of them another id, or remove it", c.where, c.id)
}

// records lists the sites of a difference that are new or different.
func (f *sitesFile) records(diff sitesource.Difference[*config.Site]) []configured {
	sites := make([]configured, len(diff.Changed))
	for i, rec := range diff.Changed {
		sites[i] = configured{id: rec.ID, cfg: rec.Value, source: adminapi.SourceSitesFile, where: f.source.String() + ", " + rec.Where}
	}
	return sites
}

// baseContext has the values of the configuration's context. Without one, as in
// a check of bindings alone, it is an empty one.
func (a *Instance) baseContext() context.Context {
	if a.ctx.Context == nil {
		return context.Background()
	}
	return a.ctx.Context
}

// followSitesFile begins to watch the file. What changed since it was read for
// this configuration is found at once.
func (a *Instance) followSitesFile() {
	f := &a.sitesFile
	if f.source == nil {
		return
	}
	if problem := f.problem.Load(); problem != nil {
		a.logger.Error("the sites file is refused; its sites are served as they were before", zap.String("error", *problem))
	}
	stop, err := f.source.Watch(a.updateSites)
	if err != nil {
		a.logger.Error("the sites file is not watched: its changes take effect when the configuration is loaded", zap.Error(err))
		return
	}
	context.AfterFunc(f.ctx, stop)
}

// end stops following the file. A change that is being made comes to nothing; it
// is not waited for.
func (f *sitesFile) end(release func()) {
	if f.cancel != nil {
		f.cancel()
	}
	f.mu.Lock()
	busy := f.busy
	f.ended = true
	f.mu.Unlock()
	if !busy && release != nil {
		release()
	}
}

// begin notes that a change is being made, unless the configuration has ended.
func (f *sitesFile) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = !f.ended
	return f.busy
}

// finish is the end of what begin began.
func (f *sitesFile) finish(release func()) {
	f.mu.Lock()
	f.busy = false
	ended := f.ended
	f.mu.Unlock()
	if ended {
		release()
	}
}

// drained returns a channel that is closed when no request holds the last state
// or one of those before.
func (f *sitesFile) drained(last *front.State) <-chan struct{} {
	f.mu.Lock()
	waiting := slices.DeleteFunc(append(f.replaced, last), isDrained)
	f.replaced = nil
	f.mu.Unlock()
	if len(waiting) == 1 {
		return waiting[0].Drained()
	}
	all := make(chan struct{})
	if len(waiting) == 0 {
		close(all)
		return all
	}
	go func() {
		defer close(all)
		for _, state := range waiting {
			<-state.Drained()
		}
	}()
	return all
}

func isDrained(state *front.State) bool {
	select {
	case <-state.Drained():
		return true
	default:
		return false
	}
}

// updateSites serves what the sites file says now. If that cannot be, all stays
// as it is.
func (a *Instance) updateSites() {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return
	}
	defer f.finish(a.policies.Release)
	if f.again != nil {
		f.again.Stop()
	}
	start := time.Now()
	state, diff, err := f.source.Read(f.ctx, f.state)
	if err == nil && !diff.Empty() {
		err = a.apply(state, diff, start)
	}
	if f.ctx.Err() != nil {
		return
	}
	problem := f.problem.Load()
	if err == nil {
		if problem != nil && diff.Empty() {
			a.logger.Info("the sites file is again as it is served", zap.String("file", f.source.String()))
		}
		f.state, f.attempts = state, 0
		f.problem.Store(nil)
		go a.keepGoodCopy()
		return
	}
	if text := err.Error(); problem == nil || *problem != text {
		f.problem.Store(&text)
		a.logger.Error("the sites file is refused; its sites are served as they were before", zap.Error(err))
	}
}

// The pause before a file is applied again that was refused because of something
// else than the file, such as a port that another program had.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// tryAgain has the file applied again a little later.
func (a *Instance) tryAgain() {
	f := &a.sitesFile
	pause := min(firstPause<<min(f.attempts, 10), lastPause)
	f.attempts++
	f.again = time.AfterFunc(pause, a.updateSites)
}

// sitesFileFindings tells of a sites file that is not served as it is.
func (a *Instance) sitesFileFindings() []binding.Finding {
	problem := a.sitesFile.problem.Load()
	if problem == nil {
		return nil
	}
	return []binding.Finding{{
		Severity: binding.Warning, Code: CodeSitesFile,
		Message: "the sites file is refused, and its sites are served as they were before: " + *problem,
		Fix:     "correct the file; it is read again when it changes",
	}}
}

// HasSitesFile reports whether there is a sites file.
func (a *Instance) HasSitesFile() bool { return a.sitesFile.source != nil }
