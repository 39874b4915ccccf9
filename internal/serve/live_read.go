package serve

import (
	"fmt"
	"runtime"

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
// be a million. Rows that cannot be shown are held back. The caller holds the follower's
// mutex.
func (a *Instance) readAllRows(source *LiveSource) ([]configured, error) {
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
func (a *Instance) judgeRow(source *LiveSource, row *judgedRow) {
	defer func() {
		if r := recover(); r != nil { // one row must not end the process
			row.err = fmt.Errorf("it cannot be judged: %v", r)
		}
	}()
	var err error
	if row.configured, err = source.read(row.id, row.document); err == nil {
		err = a.passesAlone(source, &row.configured)
	}
	if row.err = err; err == nil && row.cfg.OwnRoutes == nil {
		row.document = nil
	}
}
