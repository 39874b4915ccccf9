package centralstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// maxFile is how long the name of a file may be on any file system that
// matters; there are no longer ones to look for.
const maxFile = 255

// loaded is what a look into the store found.
type loaded struct {
	kind    kind
	cert    *tls.Certificate
	version version
	file    string // in full
	err     error
}

func failed(v version, file string, err error) loaded {
	return loaded{kind: kindOf(err), version: v, file: file, err: err}
}

// load reads the certificate of a stem. Files that are still the ones that
// were decoded in vain before are not decoded again.
func (s *Store) load(ctx context.Context, stem string, old *miss) loaded {
	for name := range s.names(stem) {
		in, v, err := s.read(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		full := s.backend.Locate(name.File)
		if err != nil {
			return failed(v, full, err)
		}
		if old != nil && old.kind == broken && old.version == v {
			return failed(v, full, old.err)
		}
		cert, err := s.decodeFiles(ctx, in)
		if err != nil {
			return failed(v, full, fmt.Errorf("%s: %w", full, err))
		}
		return loaded{kind: found, cert: cert, version: v, file: full}
	}
	return failed(version{}, "", fs.ErrNotExist)
}

// read reads the files of a name.
func (s *Store) read(ctx context.Context, name FileName) (in Files, v version, err error) {
	in = Files{Format: name.Format, Name: s.backend.Locate(name.File)}
	v.FileName, v.generation = name, s.opts.Generation()
	if in.Certificate, v.stamp, err = s.readFile(ctx, name.File); err != nil {
		return in, v, err
	}
	if !name.Format.textual() || bytes.Contains(in.Certificate, []byte("PRIVATE KEY-----")) {
		return in, v, nil
	}
	if name.Key == "" {
		return in, v, fmt.Errorf("%s: it holds no private key", in.Name)
	}
	v.withKey = true
	in.Key, v.keyStamp, err = s.readFile(ctx, name.Key)
	if errors.Is(err, fs.ErrNotExist) { // which is not that there is no file
		err = fmt.Errorf("%s: it holds no private key, and there is no %s", in.Name, s.backend.Locate(name.Key))
	}
	return in, v, err
}

func (f Format) textual() bool { return f == PEM || f == CRT }

func (s *Store) readFile(ctx context.Context, file string) ([]byte, files.Stamp, error) {
	type content struct {
		data  []byte
		stamp files.Stamp
	}
	c, err := call(ctx, s, func(ctx context.Context) (c content, err error) {
		c.data, c.stamp, err = s.backend.Read(ctx, file, s.opts.MaxSize)
		return c, err
	})
	return c.data, c.stamp, s.named(file, err)
}

// named names the file in an error.
func (s *Store) named(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.backend.Locate(file), err)
}

// decodeFiles decodes files as soon as not too many others are.
func (s *Store) decodeFiles(ctx context.Context, in Files) (cert *tls.Certificate, err error) {
	select {
	case s.decodes <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		<-s.decodes
		// Anyone can have a file of the store decoded, and this goroutine is
		// nobody's handshake: what is wrong with one must not end the server.
		if r := recover(); r != nil {
			cert, err = nil, fmt.Errorf("decoding failed: %v", r)
		}
	}()
	s.stats.decodes.Add(1)
	cert, err = s.decode(in)
	if err == nil && cert == nil {
		err = errors.New("there is no certificate in it")
	}
	return cert, err
}

// stat returns the version of the files of a stem that would be loaded now.
// Whether the key is in a file of its own is taken from the version in use.
func (s *Store) stat(ctx context.Context, stem string, used version) (v version, file string, err error) {
	for name := range s.names(stem) {
		v = version{FileName: name, generation: s.opts.Generation()}
		if v.stamp, err = s.statFile(ctx, name.File); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		file = s.backend.Locate(name.File)
		if err == nil && used.withKey && used.FileName == name {
			v.withKey = true
			if v.keyStamp, err = s.statFile(ctx, name.Key); errors.Is(err, fs.ErrNotExist) {
				err = nil // a version without key, which does not load
			}
		}
		return v, file, err
	}
	return version{}, "", fs.ErrNotExist
}

func (s *Store) statFile(ctx context.Context, file string) (files.Stamp, error) {
	stamp, err := call(ctx, s, func(ctx context.Context) (files.Stamp, error) {
		return s.backend.Stat(ctx, file)
	})
	return stamp, s.named(file, err)
}

// modified returns when the newer file of a version was modified.
func (v version) modified() time.Time {
	return time.Unix(0, max(v.stamp.Modified, v.keyStamp.Modified))
}
