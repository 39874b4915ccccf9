package certsel

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel/files"
	"github.com/caddy-iis/caddy-iis/certsel/winstore"
)

// windowsCerts holds the certificates that configurations have from the stores of
// Windows, by what they are found by, and the stores themselves.
var windowsCerts = caddy.NewUsagePool()

const windowsStoresKey = "stores"

// openWindowsStores returns the machine whose stores are asked.
var openWindowsStores = winstore.Open

// windowsStores are the stores, while a certificate is from them.
type windowsStores struct{ *winstore.Stores }

// Destruct ends watching.
func (s windowsStores) Destruct() error {
	s.Close()
	return nil
}

// windowsCert is a certificate of the stores of Windows that changes with them. The one
// that was found last stays in use while there is none.
type windowsCert struct {
	query  winstore.Query
	stores *winstore.Stores
	given  Given
	stop   func()

	looking sync.Mutex // one look at a time, from finding to publishing
	found   *winstore.Found
	gone    bool // nobody uses it any more

	listeners listeners[*WindowsStore]

	mu     sync.Mutex
	status files.Status
}

// newWindowsCert finds a certificate for the first time.
func newWindowsCert(q winstore.Query, after time.Time) (*windowsCert, error) {
	val, _, err := windowsCerts.LoadOrNew(windowsStoresKey, func() (caddy.Destructor, error) {
		machine, err := openWindowsStores()
		if err != nil {
			return nil, err
		}
		return windowsStores{winstore.NewStores(machine, winstore.Interval)}, nil
	})
	if err != nil {
		return nil, err
	}
	c := &windowsCert{query: q, stores: val.(windowsStores).Stores}
	c.stop = c.stores.Watch(func() { _ = c.look(time.Time{}) }) // before, so that no change falls between
	if err := c.look(after); err != nil && len(c.given.Current()) == 0 {
		_ = c.Destruct()
		return nil, err
	}
	return c, nil
}

// look looks for the certificate in the stores as they are after a time, and serves it
// if it is another one.
func (c *windowsCert) look(after time.Time) error {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.gone {
		return nil
	}
	found, err := c.stores.Find(c.query, after, c.found)
	first := c.found == nil
	changed := found != nil && found != c.found
	if changed {
		c.found = found
		c.given.Set(found.TLS)
	}
	c.note(err, changed, first)
	if changed && !first {
		certLog().Info("another certificate of the Windows store serves", zap.Stringer("certificate", found.Certificate),
			zap.Strings("subjects", found.Certificate.Leaf.DNSNames))
		c.listeners.notify()
	}
	return err
}

// note keeps how it went, and logs each problem once until it is over. One at the first
// look is told by whoever loads, if there is no certificate.
func (c *windowsCert) note(err error, changed, first bool) {
	now := time.Now()
	c.mu.Lock()
	before := c.status.LastError
	c.status.LastAttempt, c.status.LastError = now, err
	if changed {
		c.status.LastReload = now
	}
	switch {
	case err == nil:
		c.status.Since = time.Time{}
	case before == nil:
		c.status.Since = now
	}
	c.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()) && (!first || changed):
		certLog().Error("a certificate of the Windows store is not the one that it should be", zap.Error(err))
	case err == nil && before != nil:
		certLog().Info("the certificate of the Windows store is the one that it should be again", zap.Stringer("certificate", c.found.Certificate))
	}
}

func (c *windowsCert) standing() files.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// end ends looking.
func (c *windowsCert) end() {
	c.stop()
	c.looking.Lock()
	defer c.looking.Unlock()
	c.gone = true
	c.given.end()
}

// Destruct implements caddy.Destructor. The stores are deleted after the end, with nothing
// locked: it waits for looks that are under way, which wait for that lock.
func (c *windowsCert) Destruct() error {
	c.end()
	_, err := windowsCerts.Delete(windowsStoresKey)
	return err
}
