package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// loadCertificates loads each certificate once, whoever uses it.
func (a *Instance) loadCertificates() error {
	a.certificates = make(map[string]certsel.Source, len(a.CertificatesRaw))
	for _, name := range SortedKeys(a.CertificatesRaw) {
		// One at a time, since Caddy's error for a map of modules names the
		// kind of module that failed, not its key.
		one := struct {
			Raw json.RawMessage `caddy:"namespace=iis.certificates inline_key=source"`
		}{a.CertificatesRaw[name]}
		mod, err := a.ctx.LoadModule(&one, "Raw")
		if err != nil {
			return fmt.Errorf("certificate %q: %w", name, err)
		}
		source, ok := mod.(certsel.Source)
		if !ok {
			return fmt.Errorf("certificate %q: module %T is not a source of certificates", name, mod)
		}
		a.certificates[name] = source
	}
	a.CertificatesRaw = nil // allow GC to deallocate
	if err := a.loadStores(); err != nil {
		return err
	}
	if err := a.readCertificates(); err != nil {
		return err
	}
	a.challenges = certsel.NewChallenges(a.certificates)
	a.bindAutos()
	return certsel.CheckManaged(a.certificates)
}

// readCertificates has the sources read their files, on all cores. More of them
// at a time than there are cores, since most of the time goes by in the file
// system.
func (a *Instance) readCertificates() error {
	names := SortedKeys(a.certificates)
	errs := make([]error, len(names))
	limit := make(chan struct{}, 4*runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, name := range names {
		loader, ok := a.certificates[name].(certsel.Loader)
		if !ok {
			continue
		}
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			if err := loader.Load(a.ctx); err != nil {
				errs[i] = fmt.Errorf("certificate %q: %w", name, err)
			} else if reloader, ok := loader.(certsel.Reloader); ok {
				reloader.OnReload(a.observer.Reloaded)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
