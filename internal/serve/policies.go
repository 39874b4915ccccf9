package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/paged"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// provisionPolicies prepares for the TLS settings of records, for challenges and for
// Encrypted Client Hello.
func (a *Instance) provisionPolicies() error {
	challenge := new(caddytls.ConnectionPolicy)
	if err := (caddytls.ConnectionPolicies{challenge}).Provision(a.ctx); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	// Caddy's own function answers the challenges of every issuer in the
	// process, and those of its own policies that another node has begun; only
	// challenges reach it.
	a.challenge = challenge.TLSConfig
	a.challenge.SessionTicketsDisabled = true // no session of anybody else's is resumed by one
	challenges, others := a.challenges, a.challenge.GetCertificate
	a.challenge.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := challenges.Certificate(hello); cert != nil {
			return cert, nil
		}
		return others(hello)
	}
	// Keys of Encrypted Client Hello, if Caddy's tls app has any: Caddy gives
	// them to the configuration that chooses among policies.
	a.ech.keys = (caddytls.ConnectionPolicies{challenge}).TLSConfig(a.ctx).GetEncryptedClientHelloKeys
	a.policies = policies.New(policies.Settings{
		Context: a.ctx, TLS: a.tls, ALPN: a.alpn(), Keys: fronts.TicketKeys(), ECH: a.ech.keys != nil,
		Certificate: certificateOf, Changed: a.trustChanged,
	})
	return a.provisionECH()
}

// keepPolicies drops the policies that no record has any more.
func (a *Instance) keepPolicies(now *Snapshot) {
	a.policies.Keep(func(yield func(*policies.Policy) bool) {
		for _, rec := range now.Records.All() {
			if rec != nil && !yield(rec.Policy) {
				return
			}
		}
	})
}

// PolicyOf is the policy that the clients of a site should have met: that of
// the record that the binding's clients get.
func (sn *Snapshot) PolicyOf(entry *binding.BindingEntry) *policies.Policy {
	return sn.policyOfRecord(entry.Record)
}

func (sn *Snapshot) policyOfRecord(rec *binding.Record) *policies.Policy {
	if rec == nil {
		return nil
	}
	return sn.Records.At(rec.Index).Policy
}

// trustChanged serves with the files that settings name as they are now. If that
// cannot be, all stays as it is. Connections that were made before meet the new
// authorities where a site of theirs is asked for next.
func (a *Instance) trustChanged(ctx context.Context, settings string) error {
	if !a.Serves() {
		return errors.New("the configuration does not serve yet") // this is called again
	}
	watched, ok := a.policies.Watched(settings)
	if !ok {
		return nil
	}
	// Before anybody is kept waiting: files may hang. And watched before they are
	// read: what changes from here on is noticed.
	fresh, err := a.policies.Look(ctx, settings, watched)
	defer fresh.Stop()
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return nil
	}
	defer f.finish(a.policies.Release)
	if _, ok := a.policies.Watched(settings); !ok {
		return nil
	}
	if err == nil {
		err = a.applyTrust(settings)
	}
	if err == nil {
		a.policies.Follow(settings, fresh)
	}
	a.policies.Note(settings, err, a.logger)
	return err
}

func (a *Instance) applyTrust(settings string) error {
	undo, err := a.policies.Renew(settings)
	if err != nil {
		return err
	}
	before := a.Now()
	stale := *before
	stale.Records = paged.Make[*Record](before.Records.Len())
	replaced := make(map[*policies.Policy]bool)
	for i, rec := range before.Records.All() {
		if rec != nil && rec.TLS == settings {
			replaced[rec.Policy] = true
		} else {
			stale.Records.Set(i, rec)
		}
	}
	next := stale
	next.Records = nil
	if err := a.makeRecords(&next, &stale); err != nil {
		undo()
		return err
	}
	if !a.sitesFile.publish(a, before, &next) {
		return nil // the configuration has ended; what it had is released with it
	}
	for p := range replaced {
		p.Release()
	}
	return nil
}
