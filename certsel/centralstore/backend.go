package centralstore

import (
	"context"
	"errors"
	"io/fs"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// ErrStore is in the error of a store that cannot be read at all.
var ErrStore = errors.New("the certificate store cannot be read")

// Backend is where the files of a store are. Its methods may block, and may
// be called at the same time.
//
// A file that does not exist is an error with fs.ErrNotExist. If it is the
// store that does not exist, or cannot be read, the error is one with
// ErrStore and without fs.ErrNotExist.
type Backend interface {
	// Stat returns the stamp of a file.
	Stat(ctx context.Context, file string) (files.Stamp, error)

	// Read returns the content of a regular file of at most limit bytes, and
	// the stamp it had, not a later one.
	Read(ctx context.Context, file string, limit int64) ([]byte, files.Stamp, error)

	// Ping returns an error if the store is not there, or empty. Files that
	// disappear together with the store were not deleted.
	Ping(ctx context.Context) error

	// Locate returns the full name of a file, for messages.
	Locate(file string) string

	// String returns the name of the store, for messages.
	String() string
}

// kind is what became of a stem.
type kind uint8

const (
	unknown     kind = iota // not asked for, or not long enough ago
	found                   // its certificate serves
	absent                  // it has no file
	broken                  // it has a file that does not serve
	unavailable             // the store did not say
)

// kindOf tells errors apart.
func kindOf(err error) kind {
	switch {
	case err == nil:
		return found
	case errors.Is(err, files.ErrUnavailable), errors.Is(err, ErrStore),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable
	case errors.Is(err, fs.ErrNotExist):
		return absent
	default:
		return broken
	}
}
