package certsel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// fileCerts holds the certificates that configurations have from files, by
// what they were loaded from. A configuration load reads and watches nothing
// again that is there already, and finds the last good certificate when a file
// cannot be read at the moment.
var fileCerts = caddy.NewUsagePool()

// fileCert is a certificate from files that is loaded again when they change.
type fileCert struct {
	recipe   recipe
	slot     files.Slot[*tls.Certificate]
	serves   atomic.Pointer[tls.Certificate] // that of slot, with its OCSP staple
	access   *fileAccess
	watch    *files.Watch
	changing sync.Mutex  // one change at a time, from loading to publishing
	unload   func()      // from the stapler; guarded by changing
	gone     bool        // nobody uses it any more; guarded by changing
	turn     *time.Timer // of a certificate that is not valid yet; guarded by changing

	key contentKey // of slot's certificate in the pool of decoded ones; guarded by slot

	listeners listeners[*fromFiles]

	mu     sync.Mutex
	stamps []files.Stamp // of the files when they were read last
}

// recipe says how a certificate is made of files.
type recipe struct {
	label  string // for messages, such as: certificate a.pem with key a.key
	kind   string
	paths  []string
	secret secret
	extra  string // whatever else decode depends on
	poll   time.Duration
	decode func(contents [][]byte, password string) (*tls.Certificate, error)
}

// watched are the files that the certificate depends on: those that it is made of,
// and those with the password.
func (r *recipe) watched() []string { return slices.Concat(r.paths, r.secret.files) }

// identity tells recipes apart without showing their password.
func (r *recipe) identity() contentKey {
	return keyOf([]byte(r.kind), []byte(strings.Join(r.paths, "\x00")), []byte(r.secret.raw), []byte(r.extra), []byte(r.poll.String()))
}

// fileAccess is what all certificates from files share: workers that may hang
// in a dead file system, and the watcher.
type fileAccess struct {
	reader  *files.Reader
	watcher *files.Watcher
}

// Destruct ends watching.
func (a *fileAccess) Destruct() error {
	a.watcher.Close()
	return nil
}

const accessKey = "file access"

func newFileAccess() (caddy.Destructor, error) {
	reader := files.NewReader(files.WorkerOptions{})
	return &fileAccess{reader: reader, watcher: files.NewWatcher(reader, files.WatcherOptions{})}, nil
}

// loadTimeout bounds how long a configuration waits for a file.
const loadTimeout = 10 * time.Second

// newFileCert loads a certificate for the first time.
func newFileCert(ctx context.Context, r recipe) (*fileCert, error) {
	val, _, err := fileCerts.LoadOrNew(accessKey, newFileAccess)
	if err != nil {
		return nil, err
	}
	c := &fileCert{recipe: r, access: val.(*fileAccess)}
	c.slot.Load = c.load
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := c.slot.Reload(ctx); err != nil {
		_, _ = fileCerts.Delete(accessKey)
		return nil, err
	}
	c.slot.OnError, c.slot.OnRecover = c.logError, c.logRecovery
	c.publish()
	c.watch = c.access.watcher.Add(files.Group{
		Files: r.watched(), Stamps: c.stamps, Interval: r.poll, Changed: c.changed,
	})
	return c, nil
}

// load reads the files and decodes them, unless their content is known.
func (c *fileCert) load(ctx context.Context) (*tls.Certificate, error) {
	contents, password, err := c.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.recipe.label, err)
	}
	parts := [][]byte{[]byte(c.recipe.kind), []byte(password), []byte(c.recipe.extra)}
	key := keyOf(append(parts, contents...)...)
	if cert, ok := c.slot.Get(); ok && key == c.key {
		return cert, nil
	}
	val, _, err := decoded.LoadOrNew(key, func() (caddy.Destructor, error) {
		decodes.Add(1)
		cert, err := c.recipe.decode(contents, password)
		return pooled{cert}, err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.recipe.label, err)
	}
	c.forget()
	c.key = key
	return val.(pooled).cert, nil
}

// read reads the files and the password, and remembers the stamps they had.
func (c *fileCert) read(ctx context.Context) (contents [][]byte, password string, err error) {
	var stamps []files.Stamp
	for _, path := range c.recipe.paths {
		content, stamp, err := c.access.reader.Read(ctx, path, certfile.MaxFileSize)
		if err != nil {
			return nil, "", err
		}
		contents, stamps = append(contents, content), append(stamps, stamp)
	}
	for _, path := range c.recipe.secret.files {
		// Before it is read: a later change is one then.
		stamp, _ := c.access.reader.Stat(ctx, path) // resolving tells what is wrong with it
		stamps = append(stamps, stamp)
	}
	if password, err = c.recipe.secret.resolve(ctx, c.access.reader); err != nil {
		return nil, "", err
	}
	c.mu.Lock()
	c.stamps = stamps
	c.mu.Unlock()
	return contents, password, nil
}

// forget gives back the decoded certificate in use.
func (c *fileCert) forget() {
	if c.key != (contentKey{}) {
		_, _ = decoded.Delete(c.key)
	}
}

// refresh loads the certificate again if its files have changed, for a
// configuration load that finds it there: whoever loads may have changed them
// right before. Should they be unreadable, the certificate stays as it is.
func (c *fileCert) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	c.mu.Lock()
	stamps := c.stamps
	c.mu.Unlock()
	for i, path := range c.recipe.watched() {
		if now, err := c.access.reader.Stat(ctx, path); err != nil || now != stamps[i] {
			_ = c.changed(ctx) // logged
			return
		}
	}
}

// changed is called when the files have changed.
func (c *fileCert) changed(ctx context.Context) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.gone {
		return nil
	}
	before, _ := c.slot.Get()
	if err := c.slot.Reload(ctx); err != nil {
		return err
	}
	if after, _ := c.slot.Get(); after != before {
		fields := []zap.Field{zap.Strings("files", c.recipe.paths), zap.Time("not_after", after.Leaf.NotAfter), zap.Strings("subjects", after.Leaf.DNSNames)}
		if c.publish(); c.turn != nil {
			certLog().Warn("the new certificate is not valid yet; the one before serves until it is",
				append(fields, zap.Time("not_before", after.Leaf.NotBefore))...)
			return nil
		}
		certLog().Info("certificate reloaded", fields...)
		c.listeners.notify()
	}
	return nil
}

// publish serves the certificate of the slot, and has it stapled. One that is
// not valid yet does not take the place of one that is: it has its turn when it
// is valid, or the other no longer.
func (c *fileCert) publish() {
	cert, _ := c.slot.Get()
	if c.turn != nil {
		c.turn.Stop()
		c.turn = nil
	}
	if wait := c.early(cert.Leaf, time.Now()); wait > 0 {
		c.turn = time.AfterFunc(min(wait, time.Hour), c.takeTurn) // clocks are set
		return
	}
	c.serves.Store(cert)
	if c.unload != nil {
		c.unload()
	}
	var last atomic.Pointer[tls.Certificate]
	last.Store(cert)
	c.unload = staple(cert, func(stapled *tls.Certificate) {
		if c.serves.CompareAndSwap(last.Load(), stapled) {
			last.Store(stapled)
		}
	})
}

// early is how long a certificate has to wait until it can take the place of
// the one that serves, 0 if it need not.
func (c *fileCert) early(next *x509.Certificate, now time.Time) time.Duration {
	before := c.serves.Load()
	if before == nil || before.Leaf.Equal(next) || !now.Before(next.NotBefore) || !certfile.ValidAt(before.Leaf, now) {
		return 0
	}
	return min(next.NotBefore.Sub(now), before.Leaf.NotAfter.Sub(now)) + time.Millisecond
}

// takeTurn publishes a certificate that has waited.
func (c *fileCert) takeTurn() {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.gone || c.turn == nil {
		return
	}
	if c.publish(); c.turn == nil {
		certLog().Info("the new certificate is valid now, and serves", zap.Strings("files", c.recipe.paths))
		c.listeners.notify()
	}
}

func (c *fileCert) logError(err error) {
	certLog().Error("cannot reload a certificate; the one loaded before stays in use",
		zap.Strings("files", c.recipe.paths), zap.Error(err))
}

func (c *fileCert) logRecovery() {
	certLog().Info("the certificate's files are good again", zap.Strings("files", c.recipe.paths))
}

func certLog() *zap.Logger { return caddy.Log().Named("iis.certificates") }

// Destruct implements caddy.Destructor.
func (c *fileCert) Destruct() error {
	c.watch.Close()
	c.changing.Lock()
	defer c.changing.Unlock()
	c.gone = true
	if c.turn != nil {
		c.turn.Stop()
	}
	if c.unload != nil {
		c.unload()
	}
	c.forget()
	_, err := fileCerts.Delete(accessKey)
	return err
}
