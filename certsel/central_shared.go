package certsel

import (
	"context"
	"crypto/tls"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// centralStores holds the stores of files with their caches across configuration loads.
var centralStores = caddy.NewUsagePool()

// sharedStore is a store in the pool, with the password of its files.
type sharedStore struct {
	*centralstore.Store
	access *fileAccess

	secret     secret
	password   files.Slot[string]
	generation atomic.Uint64 // of the password
	watch      *files.Watch  // of the files with the password; nil: there are none

	listeners listeners[*FileStore]
}

// newSharedStore opens a store. The password must be there, the store need not.
func newSharedStore(ctx context.Context, backend centralstore.Backend, secret secret, o centralstore.Options) (*sharedStore, error) {
	val, _, err := fileCerts.LoadOrNew(accessKey, newFileAccess)
	if err != nil {
		return nil, err
	}
	s := &sharedStore{access: val.(*fileAccess), secret: secret}
	s.password.Load = func(ctx context.Context) (string, error) { return s.secret.resolve(ctx, s.access.reader) }
	group := files.Group{Files: secret.files, Changed: s.passwordChanged}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for _, path := range secret.files {
		stamp, _ := s.access.reader.Stat(ctx, path) // resolving tells what is wrong with it
		group.Stamps = append(group.Stamps, stamp)
	}
	if err := s.password.Reload(ctx); err != nil {
		_, _ = fileCerts.Delete(accessKey)
		return nil, err
	}
	s.password.OnError = func(err error) {
		certLog().Error("cannot read the password of a certificate store; the one before stays in use", zap.Error(err))
	}
	s.password.OnRecover = func() { certLog().Info("the password of a certificate store can be read again") }
	o.Generation, o.Changed = s.generation.Load, s.listeners.notify
	s.Store = centralstore.New(backend, s.decode, o)
	if len(secret.files) > 0 {
		s.watch = s.access.watcher.Add(group)
	}
	return s, nil
}

// Destruct implements caddy.Destructor.
func (s *sharedStore) Destruct() error {
	if s.watch != nil {
		s.watch.Close()
	}
	s.Close()
	_, err := fileCerts.Delete(accessKey)
	return err
}

// refresh reads the password again, for a configuration load that finds the store
// there: whoever loads may have changed it right before.
func (s *sharedStore) refresh(ctx context.Context) {
	if s.watch == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_ = s.passwordChanged(ctx) // logged
}

// passwordChanged reads the password again. The store decodes its files anew if it
// is another one.
func (s *sharedStore) passwordChanged(ctx context.Context) error {
	before, _ := s.password.Get()
	if err := s.password.Reload(ctx); err != nil {
		return err
	}
	if after, _ := s.password.Get(); after != before {
		s.generation.Add(1)
		certLog().Info("the password of a certificate store has changed")
	}
	return nil
}

func (s *sharedStore) decode(f centralstore.Files) (*tls.Certificate, error) {
	password, _ := s.password.Get()
	key := keyOf([]byte(f.Format), f.Certificate, f.Key, []byte(password))
	return held.get(key, func() (*tls.Certificate, error) {
		if f.Format == centralstore.PFX || f.Format == centralstore.P12 {
			return certfile.PFX(f.Certificate, certfile.Options{Password: password})
		}
		return certfile.PEM(f.Certificate, f.Key, password)
	})
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
