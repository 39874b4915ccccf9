package centralstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// storage is a store in a certmagic.Storage.
type storage struct {
	certmagic.Storage
	prefix string
}

// Storage returns the backend of the keys below a prefix in a storage, such
// as <prefix>/www.example.com.pfx.
func Storage(s certmagic.Storage, prefix string) (Backend, error) {
	if prefix = path.Clean(prefix); !fs.ValidPath(prefix) || prefix == "." {
		return nil, fmt.Errorf("%q is no prefix of keys in a storage: expected a relative path such as iis/certificates", prefix)
	}
	return &storage{s, prefix}, nil
}

// Stat implements Backend.
func (s *storage) Stat(ctx context.Context, file string) (files.Stamp, error) {
	stamp, err := s.stat(ctx, file)
	if err != nil || stamp.Modified != 0 {
		return stamp, err
	}
	// A storage that does not know when a value was modified.
	_, stamp, err = s.load(ctx, file, stamp)
	return stamp, err
}

// Read implements Backend.
func (s *storage) Read(ctx context.Context, file string, limit int64) ([]byte, files.Stamp, error) {
	stamp, err := s.stat(ctx, file)
	if err != nil {
		return nil, files.Stamp{}, err
	}
	if limit > 0 && stamp.Size > limit {
		return nil, files.Stamp{}, fmt.Errorf("%w: %d bytes", files.ErrTooLarge, stamp.Size)
	}
	data, stamp, err := s.load(ctx, file, stamp)
	if err == nil && limit > 0 && int64(len(data)) > limit {
		return nil, files.Stamp{}, fmt.Errorf("%w: %d bytes", files.ErrTooLarge, len(data))
	}
	return data, stamp, err
}

func (s *storage) stat(ctx context.Context, file string) (files.Stamp, error) {
	key := s.Locate(file)
	if local, ok := s.Storage.(*certmagic.FileStorage); ok {
		// Loading a named pipe would wait for its writer.
		if info, err := os.Stat(local.Filename(key)); err == nil && !info.Mode().IsRegular() {
			return files.Stamp{}, files.CheckRegular(info, 0)
		}
	}
	info, err := s.Storage.Stat(ctx, key)
	if err != nil {
		return files.Stamp{}, storageError(err)
	}
	stamp := files.Stamp{Size: info.Size}
	if !info.Modified.IsZero() {
		stamp.Modified = info.Modified.UnixNano()
	}
	return stamp, nil
}

// load returns the value of a key, and the stamp completed if need be.
func (s *storage) load(ctx context.Context, file string, stamp files.Stamp) ([]byte, files.Stamp, error) {
	data, err := s.Storage.Load(ctx, s.Locate(file))
	if err != nil {
		return nil, files.Stamp{}, storageError(err)
	}
	if stamp.Modified == 0 {
		sum := sha256.Sum256(data)
		stamp.Target = string(sum[:])
	}
	return data, stamp, nil
}

// Ping implements Backend.
func (s *storage) Ping(ctx context.Context) error {
	if s.Storage.Exists(ctx, s.prefix) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: there are no keys below %s", ErrStore, s.prefix)
}

// List implements lister.
func (s *storage) List(ctx context.Context, yield func(file string) bool) error {
	keys, err := s.Storage.List(ctx, s.prefix, false)
	if err != nil {
		return storageError(err)
	}
	for _, key := range keys {
		if !yield(path.Base(key)) {
			break
		}
	}
	return nil
}

// Locate implements Backend.
func (s *storage) Locate(file string) string { return s.prefix + "/" + file }

// String implements Backend.
func (s *storage) String() string { return "storage " + s.prefix }

// storageError takes all errors for the storage's but those that clearly
// concern one key: storages have errors of all sorts.
func storageError(err error) error {
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		return fileError(err)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}
