package sites

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/bbolt"
)

// The buckets of the file. Ids and revisions are keys as big-endian numbers, so that
// the order of keys is theirs.
var (
	bucketHead     = []byte("head")        // format, source, revision, mark
	bucketSite     = []byte("site")        // id: revision and document
	bucketCert     = []byte("certificate") // name: revision and document
	bucketRevision = []byte("revision")    // revision: boltRevision
	bucketChange   = []byte("change")      // revision and id, or 0 and a certificate's name: boltChange
	bucketKey      = []byte("key")         // key of a transaction: its revision
)

var buckets = [][]byte{bucketHead, bucketSite, bucketCert, bucketRevision, bucketChange, bucketKey}

var (
	keyFormat   = []byte("format")
	keySource   = []byte("source")
	keyRevision = []byte("revision")
	keyMark     = []byte("mark")
)

// changeKey is how long the key of a change of a site is. A certificate's name is behind it.
const changeKey = 8 + 4

// boltFormat is the version of this layout.
const boltFormat = "1"

// boltRevision is a revision in the file.
type boltRevision struct {
	Mark   string    `json:"mark"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Key    string    `json:"key,omitempty"`
	Answer *Answer   `json:"answer,omitempty"`
}

// boltChange is a change in the file.
type boltChange struct {
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// boltTable implements CertificateTable.
type boltTable struct {
	db   *bbolt.DB
	file *os.File

	// Where bbolt panics it may hold locks of its own for ever, and nobody knows in what state it
	// is: then nothing is asked of it any more. Nobody waits for its locks meanwhile: who writes,
	// or begins to read, holds begin, and who begins or ends to read holds ends.
	broken      atomic.Bool
	begin, ends sync.Mutex
	stuck       bool // it has panicked where reading begins; under ends

	damage atomic.Pointer[error] // the first that was met

	head atomic.Pointer[Head]
}

// guarded turns into errors what bbolt does about pages that make no sense, which is
// to panic, and the fault of memory that is mapped to a file that has become shorter.
func guarded(do func() error) (err error) {
	faults := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(faults)
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return do()
}

// guarded is guarded for what may leave bbolt in any state, and remembers that the file is
// damaged.
func (t *boltTable) guarded(do func() error) error {
	returned := false
	err := guarded(func() error {
		err := do()
		returned = true
		return err
	})
	if !returned {
		t.broken.Store(true)
	}
	if errors.Is(err, ErrDamaged) {
		t.damage.CompareAndSwap(nil, &err)
	}
	return err
}

// Damage implements Checked.
func (t *boltTable) Damage() error {
	if met := t.damage.Load(); met != nil {
		return *met
	}
	return nil
}

// view reads.
func (t *boltTable) view(read func(*bbolt.Tx) error) error {
	tx, err := t.beginView()
	if err != nil {
		return err
	}
	err = t.guarded(func() error { return read(tx) })
	if ended := t.endView(tx); err == nil {
		err = ended
	}
	return err
}

func (t *boltTable) beginView() (tx *bbolt.Tx, err error) {
	t.begin.Lock()
	defer t.begin.Unlock()
	t.ends.Lock()
	defer t.ends.Unlock()
	if t.broken.Load() {
		return nil, ErrDamaged
	}
	err = t.guarded(func() (err error) {
		tx, err = t.db.Begin(false)
		return err
	})
	t.stuck = t.broken.Load()
	return tx, err
}

func (t *boltTable) endView(tx *bbolt.Tx) error {
	t.ends.Lock()
	defer t.ends.Unlock()
	if t.stuck {
		return ErrDamaged
	}
	return t.guarded(tx.Rollback)
}

// update writes.
func (t *boltTable) update(write func(*bbolt.Tx) error) error {
	t.begin.Lock()
	defer t.begin.Unlock()
	if t.broken.Load() {
		return ErrDamaged
	}
	return t.guarded(func() error { return t.db.Update(write) })
}

// prepare makes the buckets of a new file, and reads the head.
func (t *boltTable) prepare() error {
	return t.update(func(tx *bbolt.Tx) error {
		if info, err := t.file.Stat(); err != nil {
			return err
		} else if info.Size() < tx.Size() {
			return fmt.Errorf("%w: the file has %d bytes and should have %d", ErrDamaged, info.Size(), tx.Size())
		}
		if name, _ := tx.Cursor().First(); name == nil {
			if err := makeBuckets(tx); err != nil {
				return err
			}
		} else if tx.Bucket(bucketSite) != nil { // of a version that kept no certificates
			if _, err := tx.CreateBucketIfNotExists(bucketCert); err != nil {
				return err
			}
		}
		head := tx.Bucket(bucketHead)
		if head == nil {
			return fmt.Errorf("%w: it is not a table of sites", ErrDamaged)
		}
		if format := head.Get(keyFormat); string(format) != boltFormat {
			return fmt.Errorf("format %q: %w", format, ErrFormat)
		}
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: the bucket %s is missing", ErrDamaged, name)
			}
		}
		now, err := headOf(tx)
		t.head.Store(&now)
		return err
	})
}

func headOf(tx *bbolt.Tx) (Head, error) {
	head := tx.Bucket(bucketHead)
	revision, err := number64(head.Get(keyRevision))
	return Head{Source: string(head.Get(keySource)), Revision: revision, Mark: string(head.Get(keyMark))}, err
}

func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	head := tx.Bucket(bucketHead)
	return errors.Join(head.Put(keyFormat, []byte(boltFormat)), head.Put(keySource, []byte(uuid.NewString())),
		head.Put(keyRevision, bigEndian64(0)))
}

// Head implements Table.
func (t *boltTable) Head() (Head, error) { return *t.head.Load(), nil }

// Rows implements Table.
func (t *boltTable) Rows(each func(Row) error) error {
	return t.view(func(tx *bbolt.Tx) error {
		last := uint32(0) // no id of a site
		return tx.Bucket(bucketSite).ForEach(func(key, value []byte) error {
			row, err := rowOf(key, value)
			if err != nil {
				return err
			}
			if row.ID <= last {
				return fmt.Errorf("%w: site %d comes after %d", ErrDamaged, row.ID, last)
			}
			last = row.ID
			return each(row)
		})
	})
}

// Row implements Table.
func (t *boltTable) Row(id uint32) (row Row, ok bool, err error) {
	err = t.view(func(tx *bbolt.Tx) (err error) {
		key := bigEndian32(id)
		if value := tx.Bucket(bucketSite).Get(key); value != nil {
			row, err = rowOf(key, value)
			row.Document = bytes.Clone(row.Document)
			ok = err == nil
		}
		return err
	})
	return row, ok, err
}

// rowOf reads a row in the file, whose memory is gone when the transaction ends.
func rowOf(key, value []byte) (Row, error) {
	if len(key) != 4 || len(value) < 8 {
		return Row{}, fmt.Errorf("%w: a row has a key of %d bytes and a value of %d", ErrDamaged, len(key), len(value))
	}
	return Row{ID: binary.BigEndian.Uint32(key), Revision: binary.BigEndian.Uint64(value), Document: value[8:]}, nil
}

// Write implements Table.
func (t *boltTable) Write(w Transaction) (Head, error) {
	before := *t.head.Load()
	next := Head{Source: before.Source, Revision: before.Revision + 1, Mark: uuid.NewString()}
	err := t.update(func(tx *bbolt.Tx) error {
		rows, log := tx.Bucket(bucketSite), tx.Bucket(bucketChange)
		for _, bucket := range []*bbolt.Bucket{rows, log, tx.Bucket(bucketRevision)} {
			bucket.FillPercent = appended
		}
		for _, c := range w.Changes {
			if err := writeRow(rows, log, next.Revision, bigEndian32(c.ID), nil, c.Document); err != nil {
				return err
			}
		}
		for _, c := range w.Certificates {
			if err := writeRow(tx.Bucket(bucketCert), log, next.Revision, []byte(c.Name), bigEndian32(0), c.Document); err != nil {
				return err
			}
		}
		rev := boltRevision{Mark: next.Mark, At: time.Now().UTC(), By: w.By, Key: w.Key}
		if w.Key != "" {
			body, err := w.Answer(next)
			if err != nil {
				return err
			}
			rev.Answer = &Answer{Hash: w.Hash, Body: body}
			if err := tx.Bucket(bucketKey).Put([]byte(w.Key), bigEndian64(next.Revision)); err != nil {
				return err
			}
		}
		raw, err := json.Marshal(rev)
		if err != nil {
			return err
		}
		head := tx.Bucket(bucketHead)
		return errors.Join(tx.Bucket(bucketRevision).Put(bigEndian64(next.Revision), raw),
			head.Put(keyRevision, bigEndian64(next.Revision)), head.Put(keyMark, []byte(next.Mark)))
	})
	if err != nil {
		return before, err
	}
	t.head.Store(&next)
	return next, nil
}

// appended is how full a page is left of which another one is split off. New sites, and what
// is logged, come after all others: pages stay as they are left then. All pages with sites
// are in memory after a start.
const appended = 0.9

// writeRow writes a row of a bucket, or deletes it if there is no document, and logs
// that under the revision and its key there.
func writeRow(rows, log *bbolt.Bucket, revision uint64, key, logPrefix []byte, document json.RawMessage) error {
	entry := boltChange{After: document}
	if value := rows.Get(key); value != nil {
		if len(value) < 8 {
			return fmt.Errorf("%w: a row has a value of %d bytes", ErrDamaged, len(value))
		}
		entry.Before = bytes.Clone(value[8:])
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if document == nil {
		err = rows.Delete(key)
	} else {
		err = rows.Put(key, append(bigEndian64(revision), document...))
	}
	return errors.Join(err, log.Put(slices.Concat(bigEndian64(revision), logPrefix, key), raw))
}

// Certificates implements CertificateTable.
func (t *boltTable) Certificates(each func(CertificateRow) error) error {
	return t.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketCert).ForEach(func(key, value []byte) error {
			row, err := certificateRowOf(key, value)
			if err != nil {
				return err
			}
			return each(row)
		})
	})
}

// Certificate implements CertificateTable.
func (t *boltTable) Certificate(name string) (row CertificateRow, ok bool, err error) {
	err = t.view(func(tx *bbolt.Tx) (err error) {
		if value := tx.Bucket(bucketCert).Get([]byte(name)); value != nil {
			row, err = certificateRowOf([]byte(name), value)
			ok = err == nil
		}
		return err
	})
	return row, ok, err
}

func certificateRowOf(key, value []byte) (CertificateRow, error) {
	if len(value) < 8 {
		return CertificateRow{}, fmt.Errorf("%w: a certificate has a value of %d bytes", ErrDamaged, len(value))
	}
	return CertificateRow{Name: string(key), Revision: binary.BigEndian.Uint64(value), Document: bytes.Clone(value[8:])}, nil
}

// Repeated implements Table.
func (t *boltTable) Repeated(key string) (answer Answer, ok bool, err error) {
	err = t.view(func(tx *bbolt.Tx) error {
		at := tx.Bucket(bucketKey).Get([]byte(key))
		if at == nil {
			return nil
		}
		var rev boltRevision
		if err := json.Unmarshal(tx.Bucket(bucketRevision).Get(at), &rev); err != nil {
			return err
		}
		if rev.Answer != nil {
			answer, ok = *rev.Answer, true
		}
		return nil
	})
	return answer, ok, err
}

// Log implements Table.
func (t *boltTable) Log(below uint64, limit int) (list []Revision, err error) {
	err = t.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucketRevision).Cursor()
		key, value := cursor.Last()
		if below > 0 {
			if key, _ = cursor.Seek(bigEndian64(below)); key == nil {
				key, value = cursor.Last()
			} else {
				key, value = cursor.Prev()
			}
		}
		for ; key != nil && len(list) < limit; key, value = cursor.Prev() {
			rev, err := logged(tx, key, value)
			if err != nil {
				return err
			}
			list = append(list, rev)
		}
		return nil
	})
	return list, err
}

func logged(tx *bbolt.Tx, key, value []byte) (Revision, error) {
	var stored boltRevision
	if err := json.Unmarshal(value, &stored); err != nil {
		return Revision{}, err
	}
	revision, err := number64(key)
	if err != nil {
		return Revision{}, err
	}
	rev := Revision{Revision: revision, Mark: stored.Mark, At: stored.At, By: stored.By, Changes: []Logged{}}
	cursor := tx.Bucket(bucketChange).Cursor()
	for k, v := cursor.Seek(key); k != nil && bytes.HasPrefix(k, key); k, v = cursor.Next() {
		if len(k) < changeKey {
			return rev, fmt.Errorf("%w: a change has a key of %d bytes", ErrDamaged, len(k))
		}
		var change boltChange
		if err := json.Unmarshal(v, &change); err != nil {
			return rev, err
		}
		rev.Changes = append(rev.Changes, Logged{ID: binary.BigEndian.Uint32(k[8:]), Certificate: string(k[changeKey:]), Before: change.Before, After: change.After})
	}
	return rev, nil
}

// trimAtOnce bounds how many revisions one transaction forgets: others wait.
const trimAtOnce = 1000

// Trim implements Table. The newest revision stays.
func (t *boltTable) Trim(before time.Time) error {
	for {
		n := 0
		err := t.update(func(tx *bbolt.Tx) (err error) {
			n, err = trim(tx, before)
			return err
		})
		if err != nil || n < trimAtOnce {
			return err
		}
	}
}

func trim(tx *bbolt.Tx, before time.Time) (n int, err error) {
	revisions, changes := tx.Bucket(bucketRevision), tx.Bucket(bucketChange)
	last, _ := revisions.Cursor().Last()
	var old [][]byte
	cursor := revisions.Cursor()
	for key, value := cursor.First(); key != nil && !bytes.Equal(key, last) && len(old) < trimAtOnce; key, value = cursor.Next() {
		var rev boltRevision
		if err := json.Unmarshal(value, &rev); err != nil {
			return 0, err
		}
		if !rev.At.Before(before) {
			break
		}
		if rev.Key != "" {
			if err := tx.Bucket(bucketKey).Delete([]byte(rev.Key)); err != nil {
				return 0, err
			}
		}
		old = append(old, bytes.Clone(key))
	}
	for _, rev := range old {
		var gone [][]byte
		cursor := changes.Cursor()
		for key, _ := cursor.Seek(rev); key != nil && bytes.HasPrefix(key, rev); key, _ = cursor.Next() {
			gone = append(gone, bytes.Clone(key))
		}
		for _, key := range gone {
			if err := changes.Delete(key); err != nil {
				return 0, err
			}
		}
		if err := revisions.Delete(rev); err != nil {
			return 0, err
		}
	}
	return len(old), nil
}

// Close implements Table.
func (t *boltTable) Close() error {
	if t.broken.Load() {
		return t.file.Close() // bbolt may hold its own locks for ever; this one is the file's
	}
	return guarded(t.db.Close)
}

func bigEndian32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func bigEndian64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a revision has %d bytes", ErrDamaged, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
