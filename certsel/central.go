package certsel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

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

	store    *sharedStore
	key      contentKey
	released atomic.Bool
}

// centralStores holds the stores with their caches across configuration loads.
var centralStores = caddy.NewUsagePool()

// sharedStore is a store in the pool.
type sharedStore struct{ *centralstore.Store }

// Destruct implements caddy.Destructor.
func (s *sharedStore) Destruct() error {
	s.Close()
	return nil
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
	password, err := resolvePassword(repl, c.Password)
	if err != nil {
		return fmt.Errorf("central store: %w", err)
	}
	backend := centralstore.Folder(path)
	storage := ""
	if c.Storage != "" {
		storage = storageName(ctx.Storage())
		if backend, err = centralstore.Storage(ctx.Storage(), c.Storage); err != nil {
			return fmt.Errorf("central store: %w", err)
		}
	}
	c.key = keyOf([]byte(path), []byte(c.Storage), []byte(storage), []byte(password), []byte(time.Duration(c.Poll).String()))
	val, _, err := centralStores.LoadOrNew(c.key, func() (caddy.Destructor, error) {
		return &sharedStore{centralstore.New(backend, decodeStored(password), centralstore.Options{
			Poll: time.Duration(c.Poll), MaxSize: certfile.MaxFileSize, Report: logStoreEvent,
		})}, nil
	})
	if err != nil {
		return err
	}
	c.store = val.(*sharedStore)
	return nil
}

// Cleanup releases the store, which answers handshakes that are still under
// way from memory.
func (c *CentralStore) Cleanup() error {
	if c.store == nil || c.released.Swap(true) {
		return nil
	}
	_, err := centralStores.Delete(c.key)
	return err
}

// Select implements Source: the first client that asks for a host waits, for a
// bounded time, until its file is read.
func (c *CentralStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if hello.ServerName == "" {
		return nil
	}
	cert, ok := c.store.GetContext(hello.Context(), hello.ServerName, time.Now())
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

// Stats says what the store did and holds.
func (c *CentralStore) Stats() centralstore.Stats { return c.store.Stats() }

// LiteralPassword reports whether the password stands in the configuration.
func (c *CentralStore) LiteralPassword() bool { return literalPassword(c.Password) }

func decodeStored(password string) centralstore.Decode {
	return func(f centralstore.Files) (*tls.Certificate, error) {
		key := keyOf([]byte(f.Format), f.Certificate, f.Key, []byte(password))
		return held.get(key, func() (*tls.Certificate, error) {
			if f.Format == centralstore.PFX || f.Format == centralstore.P12 {
				return certfile.PFX(f.Certificate, certfile.Options{Password: password})
			}
			return certfile.PEM(f.Certificate, f.Key, password)
		})
	}
}

// held finds certificates of stores by content as long as somebody holds them:
// a store has a copy of one certificate for each of its names.
var held = holder{certs: make(map[contentKey]weak.Pointer[tls.Certificate])}

type holder struct {
	mu    sync.Mutex
	certs map[contentKey]weak.Pointer[tls.Certificate]
}

func (h *holder) get(key contentKey, decode func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	h.mu.Lock()
	cert := h.certs[key].Value()
	h.mu.Unlock()
	if cert != nil {
		return cert, nil
	}
	cert, err := decode()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.certs[key].Value(); other != nil {
		return other, nil // decoded twice at the same time
	}
	h.certs[key] = weak.Make(cert)
	runtime.AddCleanup(cert, h.drop, key)
	return cert, nil
}

func (h *holder) drop(key contentKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.certs[key].Value() == nil {
		delete(h.certs, key)
	}
}

func logStoreEvent(e centralstore.Event) {
	log := certLog().Warn
	if e.Kind == centralstore.Recovered || e.Kind == centralstore.Reachable {
		log = certLog().Info
	}
	fields := []zap.Field{zap.String("event", e.Kind.String())}
	if e.File != "" {
		fields = append(fields, zap.String("file", e.File))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	log("central certificate store", fields...)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*CentralStore)(nil)
	_ caddy.CleanerUpper = (*CentralStore)(nil)
	_ Source             = (*CentralStore)(nil)
)
