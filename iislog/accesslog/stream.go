package accesslog

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/logging"
)

// streams are where lines of the process go, by the keys of their writers.
var streams = caddy.NewUsagePool()

// stream knows what the last header of a file, or of anything else that is written to, was.
type stream struct {
	name     string // of the file; empty if it is none
	most     int64  // bytes at which Caddy begins a new file; 0 if it does not
	interval time.Duration

	mu     sync.Mutex
	fields string // the line #Fields of the last header
	began  time.Time
	file   fs.FileInfo // as it was before the last line
	empty  time.Time   // when the first line of an empty file was made
}

// defaultRollSize is Caddy's, in MiB.
const defaultRollSize = 100

func newStream(to caddy.WriterOpener) *stream {
	file, ok := to.(*logging.FileWriter)
	if !ok {
		return new(stream)
	}
	s := &stream{name: file.Filename}
	if file.Roll == nil || *file.Roll {
		size := file.RollSizeMB
		if size == 0 {
			size = defaultRollSize
		}
		s.most, s.interval = int64(size)<<20, time.Duration(file.RollInterval)
	}
	return s
}

// Destruct implements caddy.Destructor.
func (*stream) Destruct() error { return nil }

// needsHeader reports whether a line is the first one of a file, or of other fields than
// the one before. Caddy does not tell when it begins a new file, so it is foreseen.
func (s *stream) needsHeader(fields string, size int, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	needs := s.fields != fields
	if s.name != "" {
		needs = s.isNewFile(int64(size), at) || needs
	}
	s.fields = fields
	return needs
}

func (s *stream) isNewFile(size int64, at time.Time) bool {
	was := s.file
	s.file, _ = os.Stat(s.name)
	switch {
	case s.file == nil, s.file.Size() == 0:
		if (was == nil || was.Size() == 0) && at.Sub(s.empty) < time.Second {
			return false // that line is on its way
		}
		s.began, s.empty = at, at
		return true
	case was != nil && (!os.SameFile(was, s.file) || s.file.Size() < was.Size()):
		s.began = at
		return true
	case s.began.IsZero():
		s.began = at
	}
	late := s.interval > 0 && at.Sub(s.began) >= s.interval
	if late {
		s.began = at
	}
	if late || s.most > 0 && s.file.Size()+size >= s.most {
		s.file = nil // the next line finds another one
		return true
	}
	return false
}
