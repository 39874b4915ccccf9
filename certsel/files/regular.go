package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// DefaultMaxSize is the size in bytes above which files are not read unless
// the caller says otherwise. A certificate with key and chain has a few
// kilobytes.
const DefaultMaxSize = 1 << 20

var (
	// ErrNotRegular is in the error of what is no regular file.
	ErrNotRegular = errors.New("not a regular file")

	// ErrTooLarge is in the error of a file above the bound of its size.
	ErrTooLarge = errors.New("too large for a certificate file")

	errChanging = errors.New("it changed while it was read")
)

// CheckRegular refuses what is not a regular file of at most limit bytes;
// zero stands for DefaultMaxSize.
func CheckRegular(info fs.FileInfo, limit int64) error {
	limit = or(limit, DefaultMaxSize)
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is %s", ErrNotRegular, kind(info.Mode()))
	}
	if info.Size() > limit {
		return fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, info.Size(), limit)
	}
	return nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "of type " + mode.Type().String()
	}
}

// ReadOpened reads an open file of at most limit bytes, if it is a regular
// one and stands still meanwhile.
func ReadOpened(file *os.File, limit int64) ([]byte, Stamp, error) {
	limit = or(limit, DefaultMaxSize)
	before, err := file.Stat()
	if err != nil {
		return nil, Stamp{}, err
	}
	if err := CheckRegular(before, limit); err != nil {
		return nil, Stamp{}, err
	}
	data := bytes.NewBuffer(make([]byte, 0, before.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(file, limit+1)); err != nil {
		return nil, Stamp{}, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, Stamp{}, err
	}
	stamp := StampOf(before)
	if !unchanged(stamp, StampOf(after)) || int64(data.Len()) != before.Size() {
		return nil, Stamp{}, errChanging
	}
	return data.Bytes(), stamp, nil
}

// unchanged compares what changes with the content. A file that is renamed
// away while it is read is still what it was.
func unchanged(before, after Stamp) bool {
	return before.Size == after.Size && before.Modified == after.Modified
}
