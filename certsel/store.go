package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// Store provides certificates by host name: what a handshake gets follows from its
// server name alone. Stores are modules in the namespace iis.stores.
type Store interface {
	Source

	// Check says what the store has for a host, reading what needs to be read. It is
	// for checks, not for handshakes. The error is one with fs.ErrNotExist if there is
	// nothing for the host, and errors.ErrUnsupported if only a handshake could tell.
	Check(ctx context.Context, host string) (centralstore.Checked, error)
}

// FileStore is what stores of files have in common.
type FileStore struct {
	// The password of all files. It should be a placeholder, such as
	// {env.PFX_PASSWORD} or {file./run/secrets/pfx}. Default: none.
	Password string `json:"password,omitempty"`

	// How often to look whether files in use have changed. Default: 300s for a
	// central store, as in IIS, and 30s for a folder.
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

// burst is how many times the rate of new names are looked for at once.
const burst = centralstore.DefaultBurst / centralstore.DefaultRate

// open opens the store. It reads nothing: a share that does not answer holds up no
// configuration load. What tells backends and names apart is given as identity.
func (s *FileStore) open(ctx caddy.Context, backend centralstore.Backend, o centralstore.Options, identity ...string) error {
	if s.Entries < 0 || s.Rate < 0 || s.Timeout < 0 || s.Poll < 0 {
		return errors.New("entries, rate, timeout and poll cannot be negative")
	}
	o.Poll = cmp.Or(time.Duration(s.Poll), o.Poll)
	o.Entries, o.Rate, o.Burst, o.Timeout = s.Entries, s.Rate, burst*s.Rate, time.Duration(s.Timeout)
	o.MaxSize, o.Report = certfile.MaxFileSize, logStoreEvent
	parts := [][]byte{[]byte(s.Password), fmt.Append(nil, o.Poll, o.Entries, o.Rate, o.Timeout)}
	for _, part := range identity {
		parts = append(parts, []byte(part))
	}
	s.key = keyOf(parts...)
	val, known, err := centralStores.LoadOrNew(s.key, func() (caddy.Destructor, error) {
		return newSharedStore(ctx, backend, newSecret(s.Password), o)
	})
	if err != nil {
		return err
	}
	if s.store = val.(*sharedStore); known {
		s.store.refresh(ctx)
	}
	return nil
}

// Cleanup releases the store, which answers handshakes that are still under
// way from memory.
func (s *FileStore) Cleanup() error {
	if s.store == nil || s.released.Swap(true) {
		return nil
	}
	s.OnReload(nil)
	_, err := centralStores.Delete(s.key)
	return err
}

// get returns the certificate for a server name. The first client that asks for a
// host waits, for a bounded time, until its file is read.
func (s *FileStore) get(hello *tls.ClientHelloInfo, name string) *tls.Certificate {
	if name == "" {
		return nil
	}
	ctx := hello.Context()
	if ctx == nil {
		ctx = context.Background() // nobody has sent it: somebody asks what would be
	}
	cert, ok := s.store.GetContext(ctx, name, time.Now())
	if !ok {
		return nil
	}
	return cert
}

// Current implements Source: the certificates that are in memory.
func (s *FileStore) Current() []*tls.Certificate {
	entries := s.store.Entries()
	certs := make([]*tls.Certificate, 0, len(entries))
	for _, entry := range entries {
		if entry.Certificate != nil {
			certs = append(certs, entry.Certificate)
		}
	}
	return certs
}

// Check returns what the store has for a host.
func (s *FileStore) Check(ctx context.Context, host string) (centralstore.Checked, error) {
	return s.store.Check(ctx, host)
}

// Misnamed finds files that are meant for hosts without a file, by host: their
// names are written in another way than the store looks for.
func (s *FileStore) Misnamed(ctx context.Context, hosts []string) map[string]centralstore.Misnamed {
	return s.store.Misnamed(ctx, hosts)
}

// Files lists the certificates that are in memory, by file.
func (s *FileStore) Files() []centralstore.Entry { return s.store.Entries() }

// File names the file whose certificate serves a server name from memory, by its
// name in the store; empty if there is none.
func (s *FileStore) File(serverName string) string { return s.store.File(serverName) }

// OnReload implements Reloader.
func (s *FileStore) OnReload(reloaded func()) {
	s.store.listeners.listen(s, reloaded)
}

// Status implements Reloader: of the store as a whole.
func (s *FileStore) Status() files.Status {
	status := s.store.password.Status()
	if stats := s.Stats(); stats.LastError != nil && status.LastError == nil {
		status.LastError, status.Since = stats.LastError, stats.Unreachable
	}
	return files.Status{LastError: status.LastError, Since: status.Since}
}

// Stats says what the store did and holds.
func (s *FileStore) Stats() centralstore.Stats { return s.store.Stats() }

// LiteralPassword reports whether the password stands in the configuration.
func (s *FileStore) LiteralPassword() bool { return literalPassword(s.Password) }

// unmarshalOption parses an option that all stores of files have, and reports
// whether the word that the dispenser stands on is one.
func (s *FileStore) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "password":
		return true, parsePassword(d, &s.Password)
	case "poll":
		return true, parseStoreDuration(d, &s.Poll)
	case "timeout":
		return true, parseStoreDuration(d, &s.Timeout)
	case "entries":
		return true, parseStoreNumber(d, &s.Entries)
	case "rate":
		return true, parseStoreNumber(d, &s.Rate)
	}
	return false, nil
}

func parseStoreDuration(d *caddyfile.Dispenser, dst *caddy.Duration) error {
	word := d.Val()
	if *dst != 0 {
		return d.Errf("%s is set twice", word)
	}
	arg, err := oneArgument(d, word+" <duration>, such as "+word+" 5s")
	if err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(arg)
	if err != nil || dur <= 0 {
		return d.Errf("%s: %q is not a duration above zero, such as 5s", word, arg)
	}
	*dst = caddy.Duration(dur)
	return nil
}

func parseStoreNumber(d *caddyfile.Dispenser, dst *int) error {
	word := d.Val()
	if *dst != 0 {
		return d.Errf("%s is set twice", word)
	}
	arg, err := oneArgument(d, word+" <number>")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n <= 0 {
		return d.Errf("%s: %q is not a number above zero", word, arg)
	}
	*dst = n
	return nil
}

// oneArgument parses the one argument of an option that takes no block.
func oneArgument(d *caddyfile.Dispenser, usage string) (string, error) {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return "", d.Errf("%s takes one argument, expected: %s", option, usage)
	}
	return args[0], noBlock(d, option)
}
