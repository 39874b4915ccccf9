package centralstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Checked is what would serve a host.
type Checked struct {
	File        string // in full; also if it cannot be read
	Wildcard    bool   // the file is that of the wildcard
	Certificate *tls.Certificate
}

// Check returns which file would serve a host, from a look into the store
// of its own: neither does it rely on what is remembered, nor is anything
// remembered for its sake. If no file is for the host the error is one with
// fs.ErrNotExist; if it cannot be read, the error says why.
func (s *Store) Check(ctx context.Context, name string) (Checked, error) {
	var h host
	if !h.parse(name) {
		return Checked{}, fmt.Errorf("%q is no host name that a certificate store can have a file for", name)
	}
	for _, stem := range []string{string(h.exact()), string(h.wildcard())} {
		if stem == "" {
			continue
		}
		c, err := s.checkStem(ctx, stem)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return Checked{}, fmt.Errorf("%s has no file for %s: %w", s, strings.ToLower(name), fs.ErrNotExist)
}

func (s *Store) checkStem(ctx context.Context, stem string) (Checked, error) {
	s.mu.RLock()
	e := s.entries[stem]
	s.mu.RUnlock()
	if e != nil {
		e.mu.Lock()
		used := e.version
		e.mu.Unlock()
		if v, file, err := s.stat(ctx, stem, used); err == nil && v == used {
			return checked(stem, loaded{cert: e.cert.Load(), file: file}), nil
		}
	}
	l := s.load(ctx, stem, nil)
	return checked(stem, l), l.err
}

func checked(stem string, l loaded) Checked {
	return Checked{File: l.file, Wildcard: isWildcard(stem), Certificate: l.cert}
}
