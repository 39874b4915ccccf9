package certsel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// burst is how many times the rate of new names are looked for at once.
const burst = centralstore.DefaultBurst / centralstore.DefaultRate

// CentralStore is a central certificate store, as IIS 8 and later have it:
// the certificate of www.example.com is the file www.example.com.pfx, else
// _.example.com.pfx. PEM files are found as well, with the endings .pem and
// .crt, and .key beside them. Files are read when their host is first asked
// for.
type CentralStore struct {
	// The folder with the files. Either this or storage is required.
	Path string `json:"path,omitempty"`

	// A prefix in Caddy's storage under which the files are, so that several
	// Caddys share them in whatever storage module they use.
	Storage string `json:"storage,omitempty"`

	// The password of all files. It should be a placeholder, such as
	// {env.PFX_PASSWORD} or {file./run/secrets/pfx}. Default: none.
	Password string `json:"password,omitempty"`

	// How often to look whether files in use have changed. Default: 300s, as
	// in IIS.
	Poll caddy.Duration `json:"poll,omitempty"`

	// How many certificates are held in memory. Default: 10,000.
	Entries int `json:"entries,omitempty"`

	// How many names a second are looked for that have never had a file; those
	// above it get what a name without file gets. Ten times as many are looked for
	// at once after a quiet time. Default: 100.
	Rate int `json:"rate,omitempty"`

	// How long a handshake waits for a file, and how long one access to the store
	// may take. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	store    *sharedStore
	key      contentKey
	released atomic.Bool
}

// Provision opens the store. It reads nothing: a share that does not answer
// holds up no configuration load.
func (c *CentralStore) Provision(ctx caddy.Context) error {
	repl := caddy.NewReplacer()
	if (c.Path == "") == (c.Storage == "") {
		return errors.New("central store: name a folder, or a prefix in the storage")
	}
	path, err := repl.ReplaceOrErr(c.Path, true, true)
	if c.Path != "" && err != nil {
		return fmt.Errorf("central store: %w", err)
	}
	if c.Entries < 0 || c.Rate < 0 || c.Timeout < 0 || c.Poll < 0 {
		return errors.New("central store: entries, rate, timeout and poll cannot be negative")
	}
	backend := centralstore.Folder(path)
	storage := ""
	if c.Storage != "" {
		storage = storageName(ctx.Storage())
		if backend, err = centralstore.Storage(ctx.Storage(), c.Storage); err != nil {
			return fmt.Errorf("central store: %w", err)
		}
	}
	options := centralstore.Options{
		Poll: time.Duration(c.Poll), Entries: c.Entries, Rate: c.Rate, Burst: burst * c.Rate, Timeout: time.Duration(c.Timeout),
		MaxSize: certfile.MaxFileSize, Report: logStoreEvent,
	}
	c.key = keyOf([]byte(path), []byte(c.Storage), []byte(storage), []byte(c.Password),
		fmt.Append(nil, options.Poll, options.Entries, options.Rate, options.Timeout))
	val, known, err := centralStores.LoadOrNew(c.key, func() (caddy.Destructor, error) {
		return newSharedStore(ctx, backend, newSecret(c.Password), options)
	})
	if err != nil {
		return fmt.Errorf("central store: %w", err)
	}
	if c.store = val.(*sharedStore); known {
		c.store.refresh(ctx)
	}
	return nil
}

// Cleanup releases the store, which answers handshakes that are still under
// way from memory.
func (c *CentralStore) Cleanup() error {
	if c.store == nil || c.released.Swap(true) {
		return nil
	}
	c.OnReload(nil)
	_, err := centralStores.Delete(c.key)
	return err
}

// Select implements Source: the first client that asks for a host waits, for a
// bounded time, until its file is read.
func (c *CentralStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if hello.ServerName == "" {
		return nil
	}
	ctx := hello.Context()
	if ctx == nil {
		ctx = context.Background() // nobody has sent it: somebody asks what would be
	}
	cert, ok := c.store.GetContext(ctx, hello.ServerName, time.Now())
	if !ok {
		return nil
	}
	return cert
}

// Current implements Source: the certificates that are in memory.
func (c *CentralStore) Current() []*tls.Certificate {
	entries := c.store.Entries()
	certs := make([]*tls.Certificate, 0, len(entries))
	for _, entry := range entries {
		if entry.Certificate != nil {
			certs = append(certs, entry.Certificate)
		}
	}
	return certs
}

// Check returns what the store has for a host.
func (c *CentralStore) Check(ctx context.Context, host string) (centralstore.Checked, error) {
	return c.store.Check(ctx, host)
}

// Misnamed finds files that are meant for hosts without a file, by host: their
// names are written in another way than the store looks for.
func (c *CentralStore) Misnamed(ctx context.Context, hosts []string) map[string]centralstore.Misnamed {
	return c.store.Misnamed(ctx, hosts)
}

// Files lists the certificates that are in memory, by file.
func (c *CentralStore) Files() []centralstore.Entry { return c.store.Entries() }

// File names the file whose certificate serves a server name from memory, without
// its folder; empty if there is none.
func (c *CentralStore) File(serverName string) string {
	file := c.store.File(serverName)
	if file == "" {
		return ""
	}
	return filepath.Base(file)
}

// OnReload implements Reloader.
func (c *CentralStore) OnReload(reloaded func()) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if reloaded == nil {
		delete(c.store.listeners, c)
		return
	}
	c.store.listeners[c] = reloaded
}

// Status implements Reloader: of the store as a whole.
func (c *CentralStore) Status() files.Status {
	status := c.store.password.Status()
	if stats := c.Stats(); stats.LastError != nil && status.LastError == nil {
		status.LastError, status.Since = stats.LastError, stats.Unreachable
	}
	return files.Status{LastError: status.LastError, Since: status.Since}
}

// Stats says what the store did and holds.
func (c *CentralStore) Stats() centralstore.Stats { return c.store.Stats() }

// LiteralPassword reports whether the password stands in the configuration.
func (c *CentralStore) LiteralPassword() bool { return literalPassword(c.Password) }

// Interface guards
var (
	_ caddy.Provisioner  = (*CentralStore)(nil)
	_ caddy.CleanerUpper = (*CentralStore)(nil)
	_ Source             = (*CentralStore)(nil)
	_ Reloader           = (*CentralStore)(nil)
)
