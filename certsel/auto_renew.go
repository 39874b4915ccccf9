package certsel

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Certificates that are in memory are renewed by certmagic. The others are those that
// no client has asked for since they were last there: here all bindings are walked
// through for them.
const (
	walkInterval = time.Hour             // unless renew_interval says another time
	walkStep     = 10 * time.Millisecond // from one host to the next
)

// renewRegularly walks again and again until the configuration ends. Of the nodes that
// share a storage one does at a time, and one in an interval.
func (a *Auto) renewRegularly() {
	interval := a.managed.renewInterval
	if interval <= 0 {
		interval = walkInterval
	}
	ticker := time.NewTicker(min(interval, time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
		if !a.walkedSince(time.Now().Add(-interval)) {
			a.walkAlone(interval)
		}
	}
}

// walked is what storage knows of the last walk.
type walked struct {
	Began time.Time `json:"began"`
}

func (a *Auto) walkKey(what string) string {
	return path.Join("iis", "certificates", certmagic.StorageKeys.Safe(a.ahead.name), what)
}

func (a *Auto) walkedSince(when time.Time) bool {
	raw, err := a.managed.magic.Storage.Load(a.ctx, a.walkKey("renewal.json"))
	var last walked
	return err == nil && json.Unmarshal(raw, &last) == nil && last.Began.After(when) && !last.Began.After(time.Now().Add(time.Minute))
}

// walkAlone walks, unless another node does.
func (a *Auto) walkAlone(interval time.Duration) {
	storage, lock := a.managed.magic.Storage, a.walkKey("renewal")
	if !tryLock(a.ctx, storage, lock) {
		return
	}
	defer func() {
		if err := storage.Unlock(context.WithoutCancel(a.ctx), lock); err != nil {
			a.logger.Error("giving back the lock of the renewal walk", zap.String("lock", lock), zap.Error(err))
		}
	}()
	began := time.Now()
	if a.walkedSince(began.Add(-interval)) {
		return // it has just ended elsewhere
	}
	raw, err := json.Marshal(walked{Began: began})
	if err == nil {
		err = storage.Store(a.ctx, a.walkKey("renewal.json"), raw)
	}
	if err != nil {
		a.logger.Error("writing down a renewal walk", zap.Error(err))
		return
	}
	a.walk()
}

// tryLock takes a lock in storage if nobody has it.
func tryLock(ctx context.Context, storage certmagic.Storage, name string) bool {
	if trier, ok := storage.(certmagic.TryLocker); ok {
		got, err := trier.TryLock(ctx, name)
		return got && err == nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return storage.Lock(ctx, name) == nil
}

// walk renews what has to be renewed and is not in memory, of hosts that have bindings.
// It begins with any of them: loads of the configuration that end walks early would
// leave the last ones out for ever.
func (a *Auto) walk() {
	step := time.NewTicker(walkStep)
	defer step.Stop()
	renewed := 0
	hosts := a.hosts()
	if len(hosts) > 0 {
		first := rand.IntN(len(hosts)) //nolint:gosec // nobody gains by foreseeing it
		hosts = slices.Concat(hosts[first:], hosts[:first])
	}
	for _, host := range hosts {
		select {
		case <-a.ctx.Done():
			return
		case <-step.C:
		}
		if a.entries.get(host) != nil || !a.Bound(host) {
			continue
		}
		m := a.managedFor(host)
		leaf, err := m.storedLeaf(a.ctx, host)
		if err != nil && a.ctx.Err() == nil {
			a.logger.Error("looking for a certificate to renew", zap.String("host", host), zap.Error(err))
		}
		if leaf == nil {
			continue
		}
		stored := certmagic.Certificate{Certificate: tls.Certificate{Leaf: leaf}}
		if stored.NeedsRenewal(m.magic) && a.launch(m, host) {
			renewed++
		}
	}
	if renewed > 0 {
		a.logger.Info("renewing certificates that no client has asked for", zap.Int("count", renewed))
	}
}
