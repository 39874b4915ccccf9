package serve

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/live"
)

// prepare opens the sockets of a snapshot. Bindings of rows wait for those that cannot be
// opened, and the rest serves: what comes back is the snapshot without them. The error is
// about a socket that others need as well. Before is what is served, nil if nothing is.
func (a *Instance) prepare(ctx context.Context, before, next *Snapshot) (*Snapshot, error) {
	waiting := make(map[uint32][]binding.SiteBinding)
	patience, end := context.WithTimeout(ctx, socketPatience) // for all of them together
	defer end()
	for before == nil || next.state != before.state {
		err := fronts.Prepare(ctx, next.state)
		if err == nil {
			break
		}
		failed, ok := errors.AsType[*front.ListenError](err)
		if !ok {
			return nil, err
		}
		if before == nil && failed.InUse() && moment(patience) {
			continue
		}
		without, deriveErr := a.withoutSocket(next, failed, waiting)
		if without == nil {
			return nil, errors.Join(err, deriveErr)
		}
		next = a.withHeldBack(without)
		if before != nil && next.state.Serves(before.state) {
			next.state, next.ports = before.state, before.ports
		}
	}
	return next, nil
}

// socketPatience is how long a configuration that is loaded waits for addresses that others
// have: Caddy answers challenges of ACME at such a one for a moment, and a program that was
// just ended may still have it.
const socketPatience = 2 * time.Second

// moment waits for a moment, and reports whether there is time for another one.
func moment(ctx context.Context) bool {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// withoutSocket leaves out the bindings of rows that need a socket, and adds them to those
// that wait for others. It returns nil if there are none.
func (a *Instance) withoutSocket(next *Snapshot, failed *front.ListenError, waiting map[uint32][]binding.SiteBinding) (*Snapshot, error) {
	var rest []binding.Site
	var removed []uint32
	for _, entry := range next.Tables.Sites() {
		source := a.liveSource(next.Sites.At(entry.Index).Source)
		if source == nil || !slices.ContainsFunc(entry.Bindings, func(b binding.BindingEntry) bool { return a.needsSocket(b.Binding, failed.Addr) }) {
			continue
		}
		site := entry.Input()
		served := site
		served.Bindings = nil
		for _, b := range site.Bindings {
			if a.needsSocket(b.Binding, failed.Addr) {
				waiting[entry.ID] = append(waiting[entry.ID], b)
			} else {
				served.Bindings = append(served.Bindings, b)
			}
		}
		site.Bindings = waiting[entry.ID]
		source.Hold(entry.ID, live.HeldBack{Reason: failed.Error(), Socket: true, Partly: len(served.Bindings) > 0}, site)
		a.retryLater(source)
		if len(served.Bindings) > 0 {
			rest = append(rest, served)
		} else {
			removed = append(removed, entry.ID)
		}
	}
	if len(rest) == 0 && len(removed) == 0 {
		return nil, nil
	}
	without, _, err := a.deriveFrom(next, rest, nil, removed, nowhere)
	return without, err
}

// needsSocket reports whether a binding is served by the socket for an address, which may
// stand for all: then it serves the bindings to one address as well.
func (a *Instance) needsSocket(b binding.Binding, socket netip.AddrPort) bool {
	forAll := func(ip netip.Addr) bool { return !ip.IsValid() || ip.IsUnspecified() }
	switch ip := socket.Addr().Unmap(); {
	case b.Port != socket.Port():
		return false
	case forAll(ip):
		return true
	default:
		return b.IP == ip || forAll(b.IP) && len(a.Options.Listen) > 0
	}
}

// retryLater has rows shown, after a while, that wait for sockets or for their own routes.
func (a *Instance) retryLater(source *live.Source) {
	source.RetryLater(a.sitesFile.ctx, func() {
		full := a.ownLimitOf(source).Full()
		wanted := func(h *live.HeldBack) bool { return live.TriedAgain(h) || h.Full && !full }
		a.locked(func() { a.tryHeldBack(source, wanted, a.passes) })
	})
}

// liveSource returns the source with a name, nil if there is none.
func (a *Instance) liveSource(name string) *live.Source {
	i := slices.IndexFunc(a.Live, func(s *live.Source) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return a.Live[i]
}
