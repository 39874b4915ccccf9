package caddyiis

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// options are the words of the configuration, understood.
type options struct {
	listen                   []netip.Addr
	sniMissing, sniUnmatched binding.Policy
	unknownHost              int // a status, or unknownHostAbort
	firstWins                bool
	wildcardAnyDepth         bool
	misdirected              misdirection
	drain, drainUpgraded     time.Duration
}

// unknownHostAbort stands for "no answer at all" where a status would be.
const unknownHostAbort = -1

func (a *App) parseOptions() error {
	var errs [7]error
	o := &a.options
	o.listen, errs[0] = parseIPs(a.Listen)
	o.sniMissing, errs[1] = parsePolicy("sni_missing", cmp.Or(a.SNIMissing, "fallback"))
	o.sniUnmatched, errs[2] = parsePolicy("sni_unmatched", cmp.Or(a.SNIUnmatched, "fallback"))
	o.unknownHost, errs[3] = parseWord("unknown_host", cmp.Or(a.UnknownHost, "400"), map[string]int{
		"400": http.StatusBadRequest, "404": http.StatusNotFound,
		"421": http.StatusMisdirectedRequest, "abort": unknownHostAbort,
	})
	o.firstWins, errs[4] = parseWord("conflicts", cmp.Or(a.Conflicts, "reject"), map[string]bool{"reject": false, "first_wins": true})
	o.wildcardAnyDepth, errs[5] = parseWord("wildcard_depth", cmp.Or(a.WildcardDepth, "one"), map[string]bool{"one": false, "any": true})
	o.misdirected, errs[6] = parseMisdirected(cmp.Or(a.Misdirected, "secure"))
	o.drain = time.Duration(cmp.Or(a.Drain, caddy.Duration(defaultDrain)))
	if o.drain < 0 {
		errs[0] = errors.Join(errs[0], errors.New("drain: a duration cannot be negative"))
	}
	o.drainUpgraded = defaultDrainUpgraded
	if a.DrainUpgraded != nil {
		o.drainUpgraded = time.Duration(*a.DrainUpgraded)
	}
	if o.drainUpgraded < 0 {
		errs[0] = errors.Join(errs[0], errors.New("drain_upgraded: a duration cannot be negative"))
	}
	return errors.Join(errs[:]...)
}

func parsePolicy(option, word string) (binding.Policy, error) {
	return parseWord(option, word, map[string]binding.Policy{"fallback": binding.Fallback, "reject": binding.Reject})
}

// parseWord looks up the word of an option among those it accepts.
func parseWord[V any](option, word string, accepted map[string]V) (V, error) {
	value, ok := accepted[word]
	if !ok {
		return value, fmt.Errorf("%s: unknown word %q: expected one of %q%s", option, word, sortedKeys(accepted), near.Hint(word, sortedKeys(accepted)))
	}
	return value, nil
}

// loadCertificates loads each certificate once, whoever uses it.
func (a *App) loadCertificates() error {
	a.certificates = make(map[string]certsel.Source, len(a.CertificatesRaw))
	for _, name := range sortedKeys(a.CertificatesRaw) {
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
func (a *App) readCertificates() error {
	names := sortedKeys(a.certificates)
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
				reloader.OnReload(a.reloaded)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// logFinding writes what an administrator should know about a configuration.
func logFinding(logger *zap.Logger, f binding.Finding) {
	fields := make([]zap.Field, 0, 4)
	fields = append(fields, zap.String("code", f.Code))
	if f.Site != 0 {
		fields = append(fields, zap.Uint32("site", f.Site))
	}
	if f.Binding != "" {
		fields = append(fields, zap.String("binding", f.Binding))
	}
	if f.Fix != "" {
		fields = append(fields, zap.String("fix", f.Fix))
	}
	logger.Warn(f.Message, fields...)
}
