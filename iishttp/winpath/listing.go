package winpath

import (
	"container/list"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// The memory that all kept listings may take, estimated, in bytes.
	maxKept = 64 << 20

	// The memory that one listing may take: some 250,000 names. In a larger
	// folder a file is found by its exact name only.
	maxListing = maxKept / 2

	// How long a listing is believed although the folder looks as it did: the
	// time of a folder can be set back by whoever writes it.
	maxAge = 5 * time.Second

	// A folder that changed this short a time before it was read might change
	// again without its time of change telling so: file systems count in
	// steps of up to two seconds.
	settling = 2 * time.Second

	// A listing stands at least this many times as long as it took to read,
	// whatever happens to the folder. So requests for names that are not there
	// keep a processor busy for a tenth of its time at most.
	restFactor = 10
)

var errTooManyNames = errors.New("folder with too many names to be searched without regard to case")

// listings are kept for the whole process: folders belong to many sites, and
// outlive configurations.
var listings = newListingCache(maxKept, maxListing)

// listing is what a folder holds.
type listing struct {
	names []string         // sorted
	fold  map[string]int32 // place in names of the first name with this form
	size  int              // estimated, in bytes
}

// lookup returns the name itself if it is there, else, unless Windows would read
// the name in another way, the first that is equal without regard to case.
func (l *listing) lookup(name string) (string, bool) {
	if _, ok := slices.BinarySearch(l.names, name); ok {
		return name, true
	}
	if literalOnly(name) {
		return "", false
	}
	i, ok := l.fold[Fold(name)]
	if !ok {
		return "", false
	}
	return l.names[i], true
}

// readListing reads a folder. Names that no request can have are left out.
func readListing(folder string, limit int) (*listing, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l := &listing{size: len(folder) + 256}
	for {
		names, err := dir.Readdirnames(4096)
		for _, name := range names {
			if usableName(name) {
				l.names = append(l.names, name)
				l.size += len(name) + 80
			}
		}
		if l.size > limit {
			return nil, errTooManyNames
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(l.names)
	l.fold = make(map[string]int32, len(l.names))
	for i, name := range l.names {
		key := Fold(name)
		if _, ok := l.fold[key]; !ok {
			l.fold[key] = int32(i)
		}
	}
	return l, nil
}

// usableName reports whether a request can ask for this name.
func usableName(name string) bool {
	return usable(name) && !strings.ContainsRune(name, '\\')
}

// listingCache keeps the listings that were used last.
type listingCache struct {
	maxKept, maxListing int

	mu      sync.Mutex
	entries map[string]*list.Element // of *listingEntry, by folder
	recent  list.List                // the one used last in front
	kept    int                      // bytes
}

// listingEntry is the listing of one folder. Whoever wants it while it is read
// waits for it.
type listingEntry struct {
	folder string
	size   int // as counted in kept; guarded by the cache

	mu      sync.Mutex
	listing *listing
	err     error
	at      fs.FileInfo // of the folder, before it was read
	read    time.Time
	took    time.Duration
}

func newListingCache(maxKept, maxListing int) *listingCache {
	return &listingCache{maxKept: maxKept, maxListing: maxListing, entries: make(map[string]*list.Element)}
}

// of returns the listing of a folder.
func (c *listingCache) of(folder string) (*listing, error) {
	e := c.entry(folder)
	e.mu.Lock()
	defer e.mu.Unlock()
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	if e.stands(info) {
		return e.listing, e.err
	}
	e.at, e.read = info, time.Now()
	e.listing, e.err = readListing(folder, c.maxListing)
	e.took = time.Since(e.read)
	size := 0
	if e.listing != nil {
		size = e.listing.size
	}
	c.resize(e, size)
	return e.listing, e.err
}

// stands reports whether what was read still holds.
func (e *listingEntry) stands(now fs.FileInfo) bool {
	if e.at == nil || !os.SameFile(e.at, now) {
		return false
	}
	age := time.Since(e.read)
	if age < restFactor*e.took {
		return true
	}
	return age < maxAge && now.ModTime().Equal(e.at.ModTime()) && e.read.Sub(e.at.ModTime()) > settling
}

// entry returns the entry of a folder, and makes it the one used last.
func (c *listingCache) entry(folder string) *listingEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[folder]; ok {
		c.recent.MoveToFront(at)
		return at.Value.(*listingEntry)
	}
	e := &listingEntry{folder: folder}
	c.entries[folder] = c.recent.PushFront(e)
	c.count(e, len(folder)+256)
	return e
}

// resize counts the new size of an entry, unless it was dropped meanwhile.
func (c *listingCache) resize(e *listingEntry, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.entries[e.folder]; ok && at.Value == e {
		c.count(e, max(size, len(e.folder)+256))
	}
}

// count sets the size of an entry and drops what was not used for longest.
func (c *listingCache) count(e *listingEntry, size int) {
	c.kept += size - e.size
	e.size = size
	for c.kept > c.maxKept && c.recent.Len() > 1 {
		last := c.recent.Remove(c.recent.Back()).(*listingEntry)
		delete(c.entries, last.folder)
		c.kept -= last.size
	}
}
