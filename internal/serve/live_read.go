package serve

import (
	"fmt"
	"runtime"

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
	document []byte
	err      error
}

// readAllRows reads the rows of a source in the order of their ids, on all cores: there may
// be a million. Rows that cannot be shown are held back. The caller holds the lock
// of the source.
func (a *Instance) readAllRows(source *live.Source) ([]configured, error) {
	limit := a.ownLimitOf(source)
	steps := make(chan chan []judgedRow, runtime.GOMAXPROCS(0))
	var rows []configured
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for step := range steps {
			for _, row := range <-step {
				if row.err == nil {
					row.err = a.passesOwn(limit, &row.configured)
				}
				if row.err != nil {
					a.hold(source, row.id, row.cfg, row.document, row.err)
				} else {
					rows = append(rows, row.configured)
				}
			}
		}
	}()
	var next []judgedRow
	judge := func() {
		step, list := make(chan []judgedRow, 1), next
		next = nil
		steps <- step // waits while there are enough of them
		go func() {
			for i := range list {
				a.judgeRow(source, &list[i])
			}
			step <- list
		}()
	}
	err := source.Follower.Rows(func(row sites.Row) error {
		document := row.Served()
		if document == nil {
			return nil // it waits for a verdict, or is refused
		}
		next = append(next, judgedRow{configured: configured{id: row.ID}, document: document})
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

// judgeRow decodes a row, and looks at what it says.
func (a *Instance) judgeRow(source *live.Source, row *judgedRow) {
	defer func() {
		if r := recover(); r != nil { // one row must not end the process
			row.err = fmt.Errorf("it cannot be judged: %v", r)
		}
	}()
	var err error
	if row.configured, err = readRow(source, row.id, row.document); err == nil {
		err = a.passesAlone(source, &row.configured)
	}
	if row.err = err; err == nil && row.cfg.OwnRoutes == nil {
		row.document = nil
	}
}

// readRow decodes a document.
func readRow(source *live.Source, id uint32, document []byte) (configured, error) {
	cfg, err := source.Read(document)
	return configured{id: id, cfg: cfg, source: source.Name}, err
}

// passes checks a row by itself: what it says, what it names, what it claims and what
// routes it has.
func (a *Instance) passes(source *live.Source, limit *ownroutes.Limit, c *configured) error {
	if err := a.passesAlone(source, c); err != nil {
		return err
	}
	return a.passesOwn(limit, c)
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
	if _, err := a.VarsOf(c.cfg); err != nil {
		return err
	}
	return source.Permits(c.cfg, &site)
}

// passesOwn makes the routes of its own that a row has, if there may be so many.
func (a *Instance) passesOwn(limit *ownroutes.Limit, c *configured) error {
	if err := limit.Admit(c.id, c.cfg.OwnRoutes != nil); err != nil || c.cfg.OwnRoutes == nil {
		return err
	}
	if _, err := a.own.Ask(c.cfg.OwnRoutes); err != nil {
		limit.Stays(c.id) // what it had, it still has
		return err
	}
	return nil
}
