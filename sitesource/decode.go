package sitesource

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"unicode/utf8"
)

const (
	minChunk  = 64   // lines that are worth a goroutine
	batchSize = 1024 // lines that are decoded before looking at the context
	enough    = 100  // lines that fail before a chunk gives up: this is no file of sites
)

var (
	errLongLine = errors.New("longer than " + size(maxLine))
	errNotRead  = errors.New("not read: too many lines before it failed")
	errZeroByte = errors.New("has a zero byte: save the file as UTF-8")
	errNotUTF8  = errors.New("not UTF-8: save the file as UTF-8")
)

// decodeLines decodes the fresh lines, on all processors, and enters their ids
// into lines. Of the results, one or the other is good: the record of a fresh
// line, or its error. The last one is that of the context.
func (f *File[T]) decodeLines(ctx context.Context, body []byte, spans []span, lines []line, fresh []int) ([]Record[T], []error, error) {
	records := make([]Record[T], len(fresh))
	errs := make([]error, len(fresh))
	inChunks(len(fresh), func(from, to int) {
		failed := 0
		for k := from; k < to; k++ {
			if (k-from)%batchSize == 0 && ctx.Err() != nil {
				return
			}
			at := &lines[fresh[k]]
			id, value, err := f.understand(spans[fresh[k]].of(body))
			if err != nil {
				errs[k] = err
				if failed++; failed == enough {
					for k++; k < to; k++ {
						errs[k] = errNotRead
					}
				}
				continue
			}
			at.id = id
			records[k] = Record[T]{ID: id, Where: at.where(), Value: value}
		}
	})
	return records, errs, context.Cause(ctx)
}

// understand decodes a record that is text.
func (f *File[T]) understand(raw []byte) (id uint32, value T, err error) {
	switch {
	case len(raw) > maxLine:
		err = errLongLine
	case bytes.IndexByte(raw, 0) >= 0:
		err = errZeroByte
	case !utf8.Valid(raw): // encoding/json would make other names of names
		err = errNotUTF8
	default:
		return f.decode(raw)
	}
	return 0, value, err
}

// inChunks calls do for contiguous parts of n, at the same time, and waits.
func inChunks(n int, do func(from, to int)) {
	chunks := min(runtime.GOMAXPROCS(0), n/minChunk)
	if chunks < 2 {
		do(0, n)
		return
	}
	var wg sync.WaitGroup
	for c := range chunks {
		wg.Go(func() { do(c*n/chunks, (c+1)*n/chunks) })
	}
	wg.Wait()
}
