package sitesource

import (
	"errors"
	"hash/maphash"
	"io"
	"os"
)

// ErrChanged is the error of Copy for a file that is another one by now.
var ErrChanged = errors.New("the file has changed meanwhile")

// Copy writes the file as it was read for a state. If it is another one by now, the
// error is ErrChanged, and what was written is of no use. It may wait for the file
// system.
func (f *File[T]) Copy(state State, to io.Writer) error {
	read, err := f.earlier(state)
	if err != nil {
		return err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	var sum maphash.Hash
	sum.SetSeed(read.seed)
	n, err := io.Copy(io.MultiWriter(to, &sum), io.LimitReader(file, f.opts.MaxSize+1))
	if err == nil && (n != int64(read.size) || sum.Sum64() != read.sum) {
		err = ErrChanged
	}
	return err
}
