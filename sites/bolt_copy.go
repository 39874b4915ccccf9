package sites

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// copyTries bounds how often a copy is made of a file that is written meanwhile.
const copyTries = 20

// ReadBolt opens the file of the source bolt to read it, also while another process
// has it open: it reads a copy beside the file, readable by its owner only, which is
// gone when the table is closed. Nothing is written.
func ReadBolt(path string) (CertificateTable, error) {
	for range copyTries {
		beside, err := wholefile.NewTemporary(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		whole, err := copyBolt(path, beside.File)
		if err == nil && whole {
			var table *boltTable
			if table, err = openBolt(beside.File, time.Second); err == nil {
				return &copiedTable{table, beside}, nil
			}
			err = fmt.Errorf("%s: %w", path, err)
		}
		if err = errors.Join(err, beside.Drop()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is written all the time: try again", path)
}

// copiedTable is a table that is a copy of its own.
type copiedTable struct {
	*boltTable
	beside *wholefile.Temporary
}

// Close implements Table.
func (t *copiedTable) Close() error { return errors.Join(t.boltTable.Close(), t.beside.Drop()) }

// copyBolt copies a file, and reports whether the copy is of one moment. A transaction
// writes to pages that nothing refers to, and then one of the two pages at the
// beginning, the one that refers to them: as long as these are the same, so is all that
// can be reached from them.
func copyBolt(from string, to io.Writer) (whole bool, err error) {
	source, err := os.Open(from)
	if err != nil {
		return false, err
	}
	defer source.Close()
	before, err := metaPages(source)
	if err != nil {
		return false, err
	}
	if _, err = io.Copy(to, source); err != nil {
		return false, err
	}
	after, err := metaPages(source)
	return bytes.Equal(before, after), err
}

// The places of the size of a page in the first page: behind the header of a page, a
// number that marks the file, and a version.
const (
	pageSizeAt  = 16 + 4 + 4
	maxPageSize = 64 << 10
)

// metaPages reads the two pages at the beginning of a file.
func metaPages(file *os.File) ([]byte, error) {
	head := make([]byte, pageSizeAt+4)
	if _, err := file.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), ErrDamaged)
	}
	size := binary.NativeEndian.Uint32(head[pageSizeAt:])
	if size < 512 || size > maxPageSize {
		return nil, fmt.Errorf("%s: %w", file.Name(), ErrDamaged)
	}
	pages := make([]byte, 2*size)
	if _, err := file.ReadAt(pages, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), ErrDamaged)
	}
	return pages, nil
}
