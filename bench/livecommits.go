package main

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// commits is a database of its own with the same documents, to see what the disk and
// bbolt take for a change of one of them.
type commits struct {
	db *bbolt.DB
}

var commitBucket = []byte("site")

func newCommits(file string, set *sites.Set, place sites.Place) (*commits, error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	c := &commits{db}
	for first := 0; first < len(set.Sites) && err == nil; first += liveStep {
		err = db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists(commitBucket)
			if err != nil {
				return err
			}
			for i := first; i < min(first+liveStep, len(set.Sites)); i++ {
				if err := bucket.Put(commitID(i), set.Sites[i].Document(place)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c, err
}

func commitID(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

// put writes one document and returns how long that took.
func (c *commits) put(i int, document []byte) (time.Duration, error) {
	start := time.Now()
	err := c.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(commitBucket).Put(commitID(i), document) })
	return time.Since(start), err
}

// Close closes the database.
func (c *commits) Close() { _ = c.db.Close() }
