package live

import (
	"errors"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/sites"
)

// ErrNoBackup is the error of a source of which no copy can be kept here.
var ErrNoBackup = errors.New("it is no file of this server: its database has a backup of its own, such as pg_dump")

// Backed is the table if a copy of it can be kept, else nil.
func (f *Follower) Backed() sites.Backed {
	table, _ := f.Table.(sites.Backed)
	return table
}

// Backup returns a copy of the table, without private keys that are not encrypted.
func (s *Source) Backup() (*sites.Backup, error) {
	table := s.Follower.Backed()
	if table == nil {
		return nil, ErrNoBackup
	}
	backup, err := table.Backup(false)
	if err != nil {
		return nil, err
	}
	s.logger.Info("a copy of a source is given out", zap.String("source", s.Name), zap.Uint64("revision", backup.Head.Revision), zap.Int64("bytes", backup.Size()))
	return backup, nil
}
