package serve

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// readStep is how many rows are judged at a time on a core.
const readStep = 1000

// judgedRow is a row and what is wrong with it by itself.
type judgedRow struct {
	configured
	document []byte // if somebody needs it
	err      error
}

// rowReader reads rows one after the other.
type rowReader struct {
	*Instance
	source    *live.Source
	documents *live.Documents
	texts     texts
	last      *config.Site // what the last row has beside its bindings
}

// readAllRows reads the rows of a source in the order of their ids, on all cores: there may
// be a million. Rows that cannot be shown are held back. The caller holds the lock
// of the source.
func (a *Instance) readAllRows(source *live.Source, limit *ownroutes.Limit) ([]configured, error) {
	hasPlace := hasPlaceIn(source)
	steps := make(chan chan []judgedRow, runtime.GOMAXPROCS(0))
	var rows []configured
	var last []judgedRow // that take no place from a site which serves
	take := func(row *judgedRow) {
		if row.err == nil {
			row.err = passesOwn(limit, &row.configured, a.own.Ask)
		}
		if row.err != nil {
			a.hold(source, &row.configured, row.document, row.err)
		} else {
			rows = append(rows, row.configured)
		}
	}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for step := range steps {
			for _, row := range <-step {
				if row.err == nil && row.cfg.OwnRoutes != nil && !hasPlace(row.id) {
					last = append(last, row)
				} else {
					take(&row)
				}
			}
		}
		for i := range last {
			take(&last[i])
		}
		if len(last) > 0 {
			slices.SortFunc(rows, byID)
		}
	}()
	var next []judgedRow
	var documents []byte // of the rows in next
	judge := func() {
		step, list := make(chan []judgedRow, 1), next
		next, documents = nil, nil
		steps <- step // waits while there are enough of them
		go func() {
			r := rowReader{Instance: a, source: source, documents: source.Documents()}
			for i := range list {
				r.judge(&list[i])
			}
			step <- list
		}()
	}
	err := source.Follower.Rows(func(row sites.Row) error {
		document := row.Served()
		if document == nil {
			return nil // it waits for a verdict, or is refused
		}
		if next == nil {
			next, documents = make([]judgedRow, 0, readStep), make([]byte, 0, readStep*2*len(document))
		}
		from := len(documents)
		documents = append(documents, document...)
		next = append(next, judgedRow{configured: configured{id: row.ID, source: source.Name}, document: documents[from:]})
		if len(next) == readStep {
			judge()
		}
		return nil
	})
	judge()
	close(steps)
	<-collected
	return rows, err
}

// hasPlaceIn returns what tells of the configuration that serves whether a row has routes of
// its own there, and so a place of max_sites. Where none serves, all are alike.
func hasPlaceIn(source *live.Source) func(id uint32) bool {
	active, err := Of(caddy.ActiveContext())
	if err != nil || active.liveSource(source.Name) == nil {
		return func(uint32) bool { return true }
	}
	return active.ownLimitOf(source).Had
}

// judge decodes a row, and looks at what it says.
func (r *rowReader) judge(row *judgedRow) {
	defer func() {
		if r := recover(); r != nil { // one row must not end the process
			row.err = fmt.Errorf("it cannot be judged: %v", r)
		}
	}()
	if row.cfg, row.err = r.documents.Read(row.document); row.err == nil {
		row.err = r.passesAlone(r.source, &row.configured)
	}
	if row.err == nil && row.cfg.OwnRoutes == nil {
		row.document = nil
		r.condense(&row.configured)
	}
}

// condense leaves of a row what serving it needs, and that once where rows have it alike:
// until the tables are made, all rows are in memory.
func (r *rowReader) condense(c *configured) {
	r.texts.row()
	c.vars = vars(r.texts.keep(string(c.vars)))
	c.input.Name = r.texts.keep(c.input.Name)
	for i := range c.input.Bindings {
		b := &c.input.Bindings[i]
		b.Host = r.texts.keep(b.Host)
		b.Certificate, b.TLS = r.texts.same(b.Certificate), r.texts.same(b.TLS)
	}
	c.cfg.Name, c.cfg.Vars = "", nil
	c.cfg.ServerBindings, c.cfg.SecureBindings, c.cfg.Bindings = nil, nil, nil
	if r.last != nil && reflect.DeepEqual(c.cfg, r.last) {
		c.cfg = r.last
	}
	r.last = c.cfg
}

// readRow decodes a document.
func readRow(source *live.Source, id uint32, document []byte) (configured, error) {
	cfg, err := source.Read(document)
	return configured{id: id, cfg: cfg, source: source.Name}, err
}

// passes checks a row by itself: what it says, what it names, what it claims and what
// routes it has. Those of a row of a shared table are provisioned before, or they are late:
// the table may be locked, and whoever writes it would wait.
func (a *Instance) passes(source *live.Source, limit *ownroutes.Limit, c *configured) error {
	if source.Follower.Shared == nil {
		return a.passesNow(source, limit, c)
	}
	if err := a.passesAlone(source, c); err != nil {
		return err
	}
	return passesOwn(limit, c, a.own.AskReady)
}

// passesNow is passes where nobody has the table locked: routes are provisioned.
func (a *Instance) passesNow(source *live.Source, limit *ownroutes.Limit, c *configured) error {
	if err := a.passesAlone(source, c); err != nil {
		return err
	}
	return passesOwn(limit, c, a.own.Ask)
}

// passesAlone checks all of it but for routes of its own. It may be called for several
// rows at a time.
func (a *Instance) passesAlone(source *live.Source, c *configured) error {
	var errs many.Errors
	site := a.bindingSite(c, &errs)
	if err := errs.Err(); err != nil {
		return err
	}
	c.input = &site
	if err := a.CheckTemplate(c.cfg); err != nil {
		return err
	}
	values, err := a.VarsOf(c.cfg)
	if err != nil {
		return err
	}
	c.vars = varsOf(values)
	return source.Permits(c.cfg, &site)
}

// passesOwn asks for the routes of its own that a row has, if there may be so many.
func passesOwn(limit *ownroutes.Limit, c *configured, ask func(json.RawMessage) (*ownContent, error)) error {
	if err := limit.Admit(c.id, c.cfg.OwnRoutes != nil); err != nil || c.cfg.OwnRoutes == nil {
		return err
	}
	if _, err := ask(c.cfg.OwnRoutes); err != nil {
		limit.Stays(c.id) // what it had, it still has
		return err
	}
	return nil
}
