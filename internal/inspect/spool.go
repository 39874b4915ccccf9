package inspect

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// spool keeps what is to be told until it is told: readers may be slow, and as long as a table is
// read its writers may have to wait. Much of it is in a file.
type spool struct {
	memory bytes.Buffer // what was written last
	file   *wholefile.Temporary
}

// spoolMemory is how much of it is in memory.
const spoolMemory = 16 << 20

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.memory.Len()+len(p) > spoolMemory {
		if err := s.toFile(); err != nil {
			return 0, err
		}
	}
	return s.memory.Write(p)
}

func (s *spool) toFile() (err error) {
	if s.file == nil {
		folder := filepath.Join(caddy.AppDataDir(), "iis")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if s.file, err = wholefile.NewTemporary(folder); err != nil {
			return err
		}
	}
	_, err = s.memory.WriteTo(s.file)
	return err
}

// copyTo tells it.
func (s *spool) copyTo(w io.Writer) error {
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, s.file); err != nil {
			return err
		}
	}
	_, err := s.memory.WriteTo(w)
	return err
}

func (s *spool) drop() {
	if s.file != nil {
		_ = s.file.Drop()
	}
}
