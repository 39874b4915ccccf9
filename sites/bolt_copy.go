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
)

// copyTries bounds how often a copy is made of a file that is written meanwhile.
const copyTries = 20

// ReadBolt opens the file of the source bolt to read it, also while another process
// has it open: it reads a copy beside the file, readable by its owner only, which is
// gone when the table is closed. Nothing is written.
func ReadBolt(path string) (CertificateTable, error) {
	for range copyTries {
		folder, err := os.MkdirTemp(filepath.Dir(path), ".sites-")
		if err != nil {
			return nil, err
		}
		name := filepath.Join(folder, "copy.db")
		whole, err := copyBolt(path, name)
		if err == nil && whole {
			var table Table
			if table, err = OpenBolt(name, time.Second); err == nil {
				// It has keys, and nobody closes it if the process is killed. Systems that do not
				// take the names of open files away wait for Close.
				_ = os.RemoveAll(folder)
				return &copiedTable{table.(CertificateTable), folder}, nil
			}
			err = fmt.Errorf("%s: %w", path, err)
		}
		err = errors.Join(err, os.RemoveAll(folder))
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is written all the time: try again", path)
}

// copiedTable is a table that is a copy of its own.
type copiedTable struct {
	CertificateTable
	folder string
}

// Close implements Table.
func (t *copiedTable) Close() error {
	return errors.Join(t.CertificateTable.Close(), os.RemoveAll(t.folder))
}

// copyBolt copies a file, and reports whether the copy is of one moment. A transaction
// writes to pages that nothing refers to, and then one of the two pages at the
// beginning, the one that refers to them: as long as these are the same, so is all that
// can be reached from them.
func copyBolt(from, to string) (whole bool, err error) {
	source, err := os.Open(from)
	if err != nil {
		return false, err
	}
	defer source.Close()
	before, err := metaPages(source)
	if err != nil {
		return false, err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
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
