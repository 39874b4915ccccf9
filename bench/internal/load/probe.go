package load

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// Probe visits one site once.
func Probe(addr string, site sites.Site) error {
	w := newWorker(Target{Addr: addr}, Options{}, nil)
	return w.visit(site.Host, site.Cert.Leaf, site.Host, expectation{200, site.Body(), true})
}

// Await visits a site until it gives the right answer, and returns when it did.
func Await(ctx context.Context, addr string, site sites.Site, every time.Duration) (time.Time, error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := Probe(addr, site)
		if err == nil {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no right answer: %w (%w)", err, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
