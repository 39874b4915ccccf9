package certsel

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
)

func init() {
	caddy.RegisterModule(new(CentralStore))
}

// CentralStoreName stands for the central store where certificates are listed: what it has
// in memory at the moment.
const CentralStoreName = "(central store)"

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

	FileStore
}

// CaddyModule returns the Caddy module information.
func (*CentralStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.stores.central", New: func() caddy.Module { return new(CentralStore) }}
}

// Provision opens the store. It reads nothing.
func (c *CentralStore) Provision(ctx caddy.Context) error {
	if (c.Path == "") == (c.Storage == "") {
		return errors.New("central store: name a folder, or a prefix in the storage")
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(c.Path, true, true)
	if c.Path != "" && err != nil {
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
	if err := c.open(ctx, backend, centralstore.Options{}, path, c.Storage, storage); err != nil {
		return fmt.Errorf("central store: %w", err)
	}
	return nil
}

// Select implements Source: the certificate of the client's server name.
func (c *CentralStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	return c.get(hello, hello.ServerName)
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	<word> <folder>|storage <prefix> {
//		password <password>
//		poll     <duration>
//		entries  <number>
//		rate     <names a second>
//		timeout  <duration>
//	}
func (c *CentralStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the word
	here, word := atToken(d.Token()), d.Val()
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && args[0] != "storage":
		c.Path = args[0]
	case len(args) == 2 && args[0] == "storage":
		c.Storage = args[1]
	default:
		return here.Errf("expected: %[1]s <folder>, or %[1]s storage <prefix>", word)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch known, err := c.unmarshalOption(d); {
		case err != nil:
			return err
		case !known:
			return d.Errf("unknown word %q in %s: expected password, poll, entries, rate or timeout", d.Val(), word)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*CentralStore)(nil)
	_ caddy.CleanerUpper    = (*CentralStore)(nil)
	_ caddyfile.Unmarshaler = (*CentralStore)(nil)
	_ Store                 = (*CentralStore)(nil)
	_ Reloader              = (*CentralStore)(nil)
)
