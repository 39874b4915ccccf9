package sites

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// Backed is a Table of which a copy can be kept, to be put in its place.
type Backed interface {
	Table

	// Backup returns a copy of all that there is at one moment. Private keys that are not
	// encrypted are in it if that is wanted, else the error is ErrPlainKeys if there are some.
	Backup(plainKeys bool) (*Backup, error)
}

// ErrPlainKeys is in the error of a copy that would have private keys as they are.
var ErrPlainKeys = errors.New("it has private keys that are not encrypted")

// Backup is a copy of a table. It is to be closed.
type Backup struct {
	// SectionReader reads it.
	*io.SectionReader

	// Head is the moment of which it is.
	Head Head

	db     *bbolt.DB
	beside *wholefile.Temporary
}

// Close lets go of it.
func (b *Backup) Close() error { return errors.Join(b.db.Close(), b.beside.Drop()) }

// Backup implements Backed. The copy is made anew, so that it has nothing of what stood in
// unused parts of the file, and is whole before anybody gets it, who may be slow: as long as
// the file is read, writers cannot make it larger.
func (t *boltTable) Backup(plainKeys bool) (_ *Backup, err error) {
	beside, err := wholefile.NewTemporary(filepath.Dir(t.file.Name()))
	if err != nil {
		return nil, err
	}
	options := boltOptions(beside.File, time.Second)
	options.NoSync, options.NoGrowSync = true, true
	db, err := bbolt.Open(beside.Name(), 0o600, options)
	if err != nil {
		return nil, errors.Join(err, beside.Drop())
	}
	b := &Backup{db: db, beside: beside}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if err := t.view(func(from *bbolt.Tx) (err error) {
		if b.Head, err = headOf(from); err != nil {
			return err
		}
		return copyBuckets(from, db, plainKeys)
	}); err != nil {
		return nil, fmt.Errorf("%s: %w", t.file.Name(), err)
	}
	return b, db.View(func(tx *bbolt.Tx) error {
		b.SectionReader = io.NewSectionReader(beside.File, 0, tx.Size())
		return nil
	})
}

// backupStep bounds how much of a copy is in memory.
const backupStep = 16 << 20

// copyBuckets copies all that there is.
func copyBuckets(from *bbolt.Tx, db *bbolt.DB, plainKeys bool) error {
	to, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = to.Rollback() }() // nothing, if it is committed
	size := 0
	err = from.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		into, err := to.CreateBucket(name)
		if err != nil {
			return err
		}
		return bucket.ForEach(func(key, value []byte) error {
			if !plainKeys {
				if err := refusePlain(string(name), key, value); err != nil {
					return err
				}
			}
			if size += len(key) + len(value); size > backupStep {
				if err := to.Commit(); err != nil {
					return err
				}
				next, err := db.Begin(true)
				if err != nil {
					return err
				}
				to, into, size = next, next.Bucket(name), 0
			}
			into.FillPercent = appended
			return into.Put(key, value)
		})
	})
	if err != nil {
		return err
	}
	return to.Commit()
}

// refusePlain refuses an entry of the file that has a private key which is not encrypted, or of
// which that is not known.
func refusePlain(bucket string, key, value []byte) error {
	var documents []json.RawMessage
	switch {
	case bucket == string(bucketCert):
		row, err := certificateRowOf(key, value)
		if err != nil {
			return err
		}
		documents = append(documents, row.Document)
	case bucket == string(bucketChange) && len(key) > changeKey:
		var change boltChange
		if err := json.Unmarshal(value, &change); err != nil {
			return fmt.Errorf("%w: a change is no JSON", ErrDamaged)
		}
		documents = append(documents, change.Before, change.After)
	}
	for _, document := range documents {
		var certificate certificateDocument
		if document == nil {
			continue
		}
		if err := json.Unmarshal(document, &certificate); err != nil {
			return fmt.Errorf("%w: a certificate is no JSON", ErrDamaged)
		}
		if certificate.Key.With == "" {
			return ErrPlainKeys
		}
	}
	return nil
}

// Interface guards
var (
	_ Backed = (*boltTable)(nil)
	_ Backed = (*copiedTable)(nil)
)
