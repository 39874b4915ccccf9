package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/wholefile"
	"github.com/caddy-iis/caddy-iis/sitesource"
)

// goodCopy is where a copy of a sites file is kept as it was last served: with a file
// that is broken or gone, Caddy starts and loads configurations with that.
func goodCopy(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(caddy.AppDataDir(), "iis", "sites", hex.EncodeToString(sum[:8])+".jsonl")
}

// compileWithFile compiles the sites of the configuration and those of the sites file.
// A file that is broken, or whose sites cannot be, refuses no configuration that is
// good with what the file had when it was served last.
func (a *Instance) compileWithFile(own []configured) ([]configured, *Snapshot, error) {
	sites, err := a.readSitesFile(own)
	var now *Snapshot
	if err == nil {
		now, err = a.compileNamed(sites)
	}
	f := &a.sitesFile
	if err == nil || f.source == nil {
		return sites, now, err
	}
	broken := err
	state, diff, err := sitesource.NewFile(goodCopy(f.source.String()), a.decodeSite, sitesource.FileOptions{}).Read(f.ctx, nil)
	if err == nil {
		sites, err = f.add(own, state, diff)
	}
	if err == nil {
		now, err = a.compileNamed(sites)
	}
	if err != nil {
		return nil, nil, broken // it is not the file's fault alone, or there is no copy
	}
	problem := broken.Error()
	f.problem.Store(&problem)
	return sites, now, nil
}

// compileNamed is compile with the check of what the sites of a file name.
func (a *Instance) compileNamed(sites []configured) (*Snapshot, error) {
	for i := range sites {
		c := &sites[i]
		if c.source == "" {
			continue // it is checked with more context
		}
		err := a.CheckTemplate(c.cfg)
		if err == nil {
			_, err = a.VarsOf(c.cfg)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.label(), err)
		}
	}
	now, err := a.compile(sites)
	if err != nil {
		return nil, err
	}
	for i := range sites {
		c := &sites[i]
		if c.source == "" || c.cfg.RequireClientCertificate { // which needs the records
			continue
		}
		if _, err := a.compileAccess(now, c.cfg, now.Tables.SiteByID(c.id)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.label(), err)
		}
	}
	return now, nil
}

// keepGoodCopy copies the file, as it was read for what is served. It may take long.
func (a *Instance) keepGoodCopy() {
	f := &a.sitesFile
	f.copying.Lock()
	defer f.copying.Unlock()
	f.work.Lock()
	state := f.state
	f.work.Unlock()
	file, ok := f.source.(*sitesource.File[*config.Site])
	if !ok || f.problem.Load() != nil || f.ctx.Err() != nil {
		return
	}
	target := goodCopy(file.String())
	err := os.MkdirAll(filepath.Dir(target), 0o700)
	if err == nil {
		err = wholefile.Replace(target, func(w io.Writer) error { return file.Copy(state, w) })
	}
	if err != nil && !errors.Is(err, sitesource.ErrChanged) { // what it is now is copied when it serves
		a.logger.Warn("cannot keep a copy of the sites file, for a start with a broken one", zap.Error(err))
	}
}
