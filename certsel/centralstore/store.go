package centralstore

import (
	"context"
	"crypto/tls"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// Store serves certificates out of a backend. Stems, the names of files
// without extension, are what it remembers: one for each host that has a file
// or was found to have none, and one for each wildcard, however many hosts it
// is for.
type Store struct {
	backend Backend
	decode  Decode
	opts    Options
	workers *files.Workers
	decodes chan struct{}
	seed    maphash.Seed
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	stats   counters
	health  health

	mu      sync.RWMutex
	bucket  bucket
	entries map[string]*entry   // stems that serve
	misses  map[string]*miss    // stems that do not
	flights map[string]*flight  // stems that are being looked for
	known   map[uint64]struct{} // hashes of stems that served
}

// entry is a certificate that serves, with the files it is from.
type entry struct {
	stem string
	cert atomic.Pointer[tls.Certificate]
	used atomic.Int64 // when it was last asked for, in seconds

	refresh // of the goroutine that refreshes
}

// miss is a stem for which there is no certificate.
type miss struct {
	kind    kind
	until   time.Time // when to look again
	version version   // of the files that do not serve
	err     error     // that they do not serve for
}

// version tells states of the files of a certificate apart.
type version struct {
	FileName
	stamp      files.Stamp
	withKey    bool // in a file of its own
	keyStamp   files.Stamp
	generation uint64 // Options.Generation
}

// New returns a store. It does not touch the backend. It must be closed.
func New(backend Backend, decode Decode, o Options) *Store {
	o.setDefaults()
	s := &Store{
		backend: backend,
		decode:  decode,
		opts:    o,
		workers: files.NewWorkers(files.WorkerOptions{Workers: o.Workers, Timeout: o.Timeout, Stuck: o.Timeout}),
		bucket:  bucket{rate: float64(o.Rate), size: float64(o.Burst), tokens: float64(o.Burst)},
		decodes: make(chan struct{}, o.Decodes),
		seed:    maphash.MakeSeed(),
		done:    make(chan struct{}),
		entries: make(map[string]*entry),
		misses:  make(map[string]*miss),
		flights: make(map[string]*flight),
		known:   make(map[uint64]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.refreshRegularly()
	return s
}

// Close ends the refreshing. What is cached still serves; nothing is read any
// more.
func (s *Store) Close() {
	s.cancel()
	<-s.done
}

// String returns the name of the store, for messages.
func (s *Store) String() string { return s.backend.String() }

// Ping returns an error if the store is not there, cannot be read, or is empty.
func (s *Store) Ping(ctx context.Context) error {
	_, err := call(ctx, s, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.backend.Ping(ctx)
	})
	return err
}

// call runs an access to the backend on a worker, with the time-out.
func call[T any](ctx context.Context, s *Store, access func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	value, err := files.Do(ctx, s.workers, "", func() (T, error) {
		s.stats.accesses.Add(1)
		return access(ctx)
	})
	s.note(err)
	return value, err
}
