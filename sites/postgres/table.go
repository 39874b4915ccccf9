package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/sites"
)

// table implements sites.Shared.
type table struct {
	connection string // as the configuration has it
	place      string // which database that was when it was opened
	pool       *pgxpool.Pool
	quiet      bool // no LISTEN
	wake       chan struct{}

	mu     sync.RWMutex // guards the state
	head   sites.Head   // without a source: there is no state yet
	rows   map[uint32]sites.Row
	status sites.Status

	// The local copy.
	path           string
	dirty, closing chan struct{}
	saver          chan struct{} // closed when nobody writes it any more
	saved          time.Time     // when it was written; zero: there is none
	lastSaved      sites.Head    // what it has
	moved          bool          // the table has another past than what it may have

	preferred atomic.Bool
}

// askTimeout bounds questions about the log.
const askTimeout = 10 * time.Second

// Head implements sites.Table.
func (t *table) Head() (sites.Head, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.head.Source == "" {
		return t.head, fmt.Errorf("%w: the database was not reached yet: %s", sites.ErrUnavailable, t.status.Error)
	}
	return t.head, nil
}

// Row implements sites.Table.
func (t *table) Row(id uint32) (sites.Row, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	row, ok := t.rows[id]
	return row, ok, nil
}

// Rows implements sites.Table.
func (t *table) Rows(each func(sites.Row) error) error {
	t.mu.RLock()
	rows := make([]sites.Row, 0, len(t.rows))
	for _, row := range t.rows {
		rows = append(rows, row)
	}
	t.mu.RUnlock()
	slices.SortFunc(rows, byID)
	for _, row := range rows {
		if err := each(row); err != nil {
			return err
		}
	}
	return nil
}

func byID(a, b sites.Row) int {
	if a.ID < b.ID {
		return -1
	}
	return 1
}

// Adopt implements sites.Shared.
func (t *table) Adopt(d *sites.Difference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head != d.From {
		return false
	}
	for _, row := range d.Rows {
		t.rows[row.ID] = row
	}
	for _, id := range d.Removed {
		delete(t.rows, id)
	}
	t.head, t.status.Snapshot = d.To, false
	t.moved = t.moved || d.Moved
	t.changed()
	return true
}

// Status implements sites.Shared.
func (t *table) Status() sites.Status {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.status
	s.SavedRevision = t.lastSaved.Revision
	s.Loaded, s.SavedAt, s.Preferred = t.head.Source != "", t.saved, t.preferred.Load()
	return s
}

// reached notes an answer of the database.
func (t *table) reached(seen uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.Error != "" {
		t.logger().Info("the database of sites is reached again")
	}
	t.status.Up, t.status.Error, t.status.Contact = true, "", time.Now()
	if seen != t.status.Seen && t.status.Seen == t.head.Revision || t.status.SeenAt.IsZero() {
		t.status.SeenAt = t.status.Contact // else it is behind since an earlier one
	}
	t.status.Seen = seen
}

// confirmed notes that the state is that of the database.
func (t *table) confirmed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Snapshot = false
}

// logger is where is told whether the database is there. The table outlives the loads of
// the configuration.
func (t *table) logger() *zap.Logger {
	return caddy.Log().Named("iis.sites.postgres").With(zap.String("database", t.place))
}

// failed notes that the database was not to be had.
func (t *table) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.Error == "" { // it is tried again and again
		t.logger().Error("the database of sites is away, and its sites are served as they were", zap.Error(err))
	}
	t.status.Up, t.status.Error = false, err.Error()
}

// Repeated implements sites.Table.
func (t *table) Repeated(key string) (answer sites.Answer, ok bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	var raw []byte
	err = t.pool.QueryRow(ctx, "select answer from iis.revision where key = $1", key).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return answer, false, nil
	}
	if err != nil {
		return answer, false, fmt.Errorf("%w: %w", sites.ErrUnavailable, err)
	}
	return answer, true, json.Unmarshal(raw, &answer)
}

// Log implements sites.Table.
func (t *table) Log(below uint64, limit int) ([]sites.Revision, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	list, err := t.log(ctx, below, limit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sites.ErrUnavailable, err)
	}
	return list, nil
}

// shortBy is who has made a revision, in up to 256 characters: whoever writes with SQL may
// say much about it, and at the end stands the role, which is true.
const shortBy = "case when length(by) > 256 then left(by, 186) || '...' || right(by, 67) else by end"

func (t *table) log(ctx context.Context, below uint64, limit int) ([]sites.Revision, error) {
	rows, err := t.pool.Query(ctx, `select rev, mark::text, at, `+shortBy+` from iis.revision
		where rev > (select floor from iis.head) and ($1 = 0 or rev < $1) order by rev desc limit $2`, int64(below), limit)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (rev sites.Revision, err error) {
		rev.Changes = []sites.Logged{}
		err = row.Scan(&rev.Revision, &rev.Mark, &rev.At, &rev.By)
		rev.At = rev.At.UTC()
		return rev, err
	})
	if err != nil || len(list) == 0 {
		return list, err
	}
	changes, err := t.pool.Query(ctx, `select rev, id, case when was_ok then before else good end::text, after::text,
		before is not null and good is null and not was_ok, case when before = after and not was_ok then verdict end from iis.change
		where rev between $1 and $2 order by rev, id`, int64(list[len(list)-1].Revision), int64(list[0].Revision))
	if err != nil {
		return nil, err
	}
	defer changes.Close()
	for changes.Next() {
		var rev uint64
		var logged sites.Logged
		var before, after, verdict *string
		if err := changes.Scan(&rev, &logged.ID, &before, &after, &logged.Waiting, &verdict); err != nil {
			return nil, err
		}
		logged.Before, logged.After, logged.Verdict = document(before), document(after), text(verdict)
		if at := list[0].Revision - rev; at < uint64(len(list)) {
			list[at].Changes = append(list[at].Changes, logged)
		}
	}
	return list, changes.Err()
}

// document brings what the database prints into canonical form; nil stays nil. What
// cannot be read, such as 10,001 arrays in each other, becomes a string that says so,
// which is no site: it is refused, and in nobody's way.
func document(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	canonical, err := sites.Canonical([]byte(*text))
	if err != nil {
		canonical, _ = json.Marshal("a document that cannot be read: " + err.Error()) // a string always can
	}
	return canonical
}

// Trim implements sites.Table. One node does it, unless they cannot know which.
func (t *table) Trim(before time.Time) error {
	if !t.preferred.Load() && !t.quiet || t.Status().ReadOnly {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), fullTimeout)
	defer cancel()
	_, err := t.pool.Exec(ctx, "select iis.trim(make_interval(secs => $1))", time.Since(before).Seconds())
	return err
}

// Close implements sites.Table.
func (t *table) Close() error {
	close(t.closing)
	<-t.saver
	t.pool.Close()
	return nil
}

// Interface guard
var _ sites.Shared = (*table)(nil)
