package serve

import (
	"context"
	"errors"
	"io/fs"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/internal/autosave"
)

// keepSaved keeps a copy of the configuration that Caddy saves when this one has
// started, and of what it saves from then on: Caddy writes its file in place. Where
// it saves none (persist_config off), there is nothing to copy. It may wait for the
// file system.
func (a *Instance) keepSaved() {
	file := caddy.ConfigAutosavePath
	keep := func(context.Context) error {
		err := autosave.Keep(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, autosave.ErrNotWhole):
			a.logger.Debug("the configuration that Caddy has saved is not whole; the copy stays as it is", zap.Error(err))
			return nil // it is written anew with the next change
		case err != nil:
			a.logger.Warn("cannot keep a copy of the configuration that Caddy saves", zap.Error(err))
		}
		return err
	}
	stop, err := certsel.WatchFiles(a.ctx, []string{file}, keep)
	if err != nil {
		a.logger.Warn("cannot keep a copy of the configuration that Caddy saves", zap.Error(err))
		return
	}
	context.AfterFunc(a.sitesFile.ctx, stop)
	_ = keep(a.ctx) // it may have been saved before
}
