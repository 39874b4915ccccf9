package certsel

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// WatchFiles has a function called when files have changed since this call and
// stand still again; while it returns an error it is called again now and then.
// Files whose certificates serve need no such watch: their sources have one. The
// function that it returns ends it, and does not wait for a call that runs.
func WatchFiles(ctx context.Context, paths []string, changed func(ctx context.Context) error) (stop func(), err error) {
	val, _, err := fileCerts.LoadOrNew(accessKey, newFileAccess)
	if err != nil {
		return nil, err
	}
	access := val.(*fileAccess)
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	group := files.Group{Files: paths, Changed: changed}
	for _, path := range paths {
		stamp, _ := access.reader.Stat(ctx, path) // that it is not there is a state, too
		group.Stamps = append(group.Stamps, stamp)
	}
	watch := access.watcher.Add(group)
	return sync.OnceFunc(func() {
		watch.Close()
		_, _ = fileCerts.Delete(accessKey)
	}), nil
}

// CheckCertificateFiles returns an error unless each PEM file holds certificates
// and is whole. It waits for no file system beyond the context.
func CheckCertificateFiles(ctx context.Context, paths []string) error {
	val, _, err := fileCerts.LoadOrNew(accessKey, newFileAccess)
	if err != nil {
		return err
	}
	defer func() { _, _ = fileCerts.Delete(accessKey) }()
	for _, path := range paths {
		data, _, err := val.(*fileAccess).reader.Read(ctx, path, certfile.MaxFileSize)
		if err != nil {
			return err
		}
		if err := certfile.CheckCertificates(data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
