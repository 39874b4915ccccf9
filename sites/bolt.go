package sites

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

func init() {
	caddy.RegisterModule(new(Bolt))
}

// Bolt keeps sites in a file, an embedded database (bbolt). One process at a time has
// it open. What is acknowledged is on the disk.
type Bolt struct {
	CommonSettings

	// The file. It is made when it is missing, with its folder. Placeholders such as
	// {env.DATA} are replaced. Default: iis/sites.db below Caddy's data directory.
	Path string `json:"path,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (*Bolt) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.sites.bolt", New: func() caddy.Module { return new(Bolt) }}
}

// Provision understands the settings. It opens nothing.
func (b *Bolt) Provision(caddy.Context) error {
	path, err := caddy.NewReplacer().ReplaceOrErr(b.Path, true, true)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "iis", "sites.db")
	}
	if b.path, err = filepath.Abs(path); err != nil {
		return err
	}
	return b.Check("bolt")
}

// UnmarshalCaddyfile sets up the source. Syntax:
//
//	bolt [<path>] {
//		name <word>
//		require_if_match
//		keep_log <duration>
//		certificate_key <key> [<older keys...>]
//		plain_keys
//		allow {
//			ports        <numbers...>
//			hosts        <names...>
//			wildcards
//			catch_all
//			addresses    <ips...>
//			templates    <names...>
//			certificates <names...>
//		}
//		allow_routes {
//			modules   <ids...>
//			max_sites <number>
//			below     <folders...>
//			to        <networks and names...>
//		}
//	}
func (b *Bolt) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the kind
	if d.NextArg() {
		b.Path = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return b.UnmarshalBlock(d, nil, nil)
}

// Address returns the file.
func (b *Bolt) Address() string { return "bolt:" + b.path }

// lockTimeout is how long Open waits for another process to close the file, such as
// the Caddy that is being restarted.
const lockTimeout = 10 * time.Second

// Open opens the file.
func (b *Bolt) Open(ctx context.Context) (Table, error) {
	if err := os.MkdirAll(filepath.Dir(b.path), 0o700); err != nil {
		return nil, err
	}
	timeout := lockTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(end), time.Millisecond))
	}
	return OpenBolt(b.path, timeout)
}

// OpenBolt opens a file as the source bolt does. It waits for another process that
// has it open; then the error is ErrInUse.
func OpenBolt(path string, timeout time.Duration) (Table, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return OpenBoltFile(file, timeout)
}

// OpenBoltFile is OpenBolt for a file that is open to be read and written: nobody can put
// another one in its place. It is closed with the table, and if there is an error.
func OpenBoltFile(file *os.File, timeout time.Duration) (Table, error) {
	t, err := openBolt(file, timeout)
	if errors.Is(err, berrors.ErrTimeout) {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return t, nil
}

func openBolt(file *os.File, timeout time.Duration) (*boltTable, error) {
	t := &boltTable{file: file}
	opened := false
	err := guarded(func() (err error) {
		t.db, err = bbolt.Open(file.Name(), 0o600, boltOptions(file, timeout))
		opened = true
		return err
	})
	if !opened {
		_ = file.Close() // bbolt has panicked, and left it open and locked
	}
	if isNoDatabase(err) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	if err := t.prepare(); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// boltOptions have bbolt take a file that is open.
func boltOptions(file *os.File, timeout time.Duration) *bbolt.Options {
	return &bbolt.Options{
		Timeout: timeout, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return file, nil },
	}
}

// isNoDatabase reports whether bbolt opens a file and finds that it is none of its own.
func isNoDatabase(err error) bool {
	return errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) ||
		err != nil && strings.HasPrefix(err.Error(), "file size too small")
}

// Interface guards
var (
	_ Source                = (*Bolt)(nil)
	_ caddy.Provisioner     = (*Bolt)(nil)
	_ caddyfile.Unmarshaler = (*Bolt)(nil)
)
