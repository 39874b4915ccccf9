package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/health"
)

func init() {
	caddy.RegisterModule(new(FolderStore))
}

// defaultFolderPoll is how often files of a folder are looked at.
const defaultFolderPoll = 30 * time.Second

// FolderStore is a folder in which another program puts certificates, by host: a
// pattern says where. Files are read when their host is first asked for. Symbolic
// links are followed as long as they stay in the folder and are relative.
type FolderStore struct {
	// The folder.
	Path string `json:"path"`

	// Where the files of a host are in the folder. The first that exists counts.
	Patterns []StoreFiles `json:"files"`

	// What stands for the asterisk where a wildcard certificate is for the host: such
	// as "_", "*" or "!"; "parent" if its files are those of the domain above the host,
	// which then serve only hosts that their certificate is for; or "none" if hosts
	// without files of their own have none. Default: "_", as in a central store.
	Wildcard string `json:"wildcard,omitempty"`

	// The host whose certificate clients get that send no server name. Default: none,
	// they get what the endpoint has.
	Default string `json:"default,omitempty"`

	FileStore
}

// StoreFiles says where the certificate of a host is, as paths in a folder in which
// {host} stands for the host.
type StoreFiles struct {
	// The certificate and its chain: PEM, or PFX if the name ends in .pfx or .p12.
	Certificate string `json:"certificate"`

	// The private key in PEM. Default: it is in the same file.
	Key string `json:"key,omitempty"`
}

// The words for wildcard.
const (
	wildcardParent = "parent"
	wildcardNone   = "none"
)

// hostPlaceholder stands for the host in a pattern.
const hostPlaceholder = "{host}"

// CaddyModule returns the Caddy module information.
func (*FolderStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.stores.folder", New: func() caddy.Module { return new(FolderStore) }}
}

// Provision opens the store. It reads nothing.
func (f *FolderStore) Provision(ctx caddy.Context) error {
	if f.Path == "" {
		return errors.New("name a folder")
	}
	folder, err := caddy.NewReplacer().ReplaceOrErr(f.Path, true, true)
	if err != nil {
		return err
	}
	if len(f.Patterns) == 0 {
		return errors.New("say where the files of a host are, such as file {host}.pem")
	}
	f.Wildcard = cmp.Or(f.Wildcard, "_")
	if strings.ContainsAny(f.Wildcard, `/\.`) {
		return fmt.Errorf("wildcard: %q is nothing that can stand for an asterisk in a file's name, such as _", f.Wildcard)
	}
	identity := []string{"folder", folder, f.Wildcard}
	for i := range f.Patterns {
		if err := f.Patterns[i].check(); err != nil {
			return err
		}
		identity = append(identity, f.Patterns[i].Certificate, f.Patterns[i].Key)
	}
	return f.open(ctx, centralstore.Folder(folder), centralstore.Options{Names: f.names, Poll: defaultFolderPoll}, identity...)
}

// check refuses patterns that are none, or could name a file outside of the folder.
func (p *StoreFiles) check() error {
	p.Certificate, p.Key = strings.ReplaceAll(p.Certificate, `\`, "/"), strings.ReplaceAll(p.Key, `\`, "/")
	for _, pattern := range []string{p.Certificate, p.Key} {
		if pattern == "" && p.Certificate != "" {
			continue
		}
		rest := strings.ReplaceAll(pattern, hostPlaceholder, "host")
		if rest == pattern || strings.ContainsAny(rest, "{}") || !fs.ValidPath(rest) {
			return fmt.Errorf("file %q is no path in the folder with the placeholder {host}, such as {host}/fullchain.pem", pattern)
		}
	}
	if p.Key != "" && p.format() == centralstore.PFX {
		return fmt.Errorf("file %q is a PFX file, which holds its key: remove %q", p.Certificate, p.Key)
	}
	return nil
}

func (p *StoreFiles) format() centralstore.Format {
	switch strings.ToLower(path.Ext(p.Certificate)) {
	case ".pfx", ".p12":
		return centralstore.PFX
	}
	return centralstore.PEM
}

// names lists the files of a host or, after "_.", of the wildcard below a domain.
// Hosts consist of letters, digits, hyphens, underscores and single dots between
// them: none leads out of the folder.
func (f *FolderStore) names(base string) []centralstore.FileName {
	if domain, wildcard := strings.CutPrefix(base, "_."); wildcard {
		switch f.Wildcard {
		case wildcardNone:
			return nil
		case wildcardParent:
			base = domain
		default:
			base = f.Wildcard + "." + domain
		}
	}
	names := make([]centralstore.FileName, len(f.Patterns))
	for i := range f.Patterns {
		names[i] = centralstore.FileName{
			File:   strings.ReplaceAll(f.Patterns[i].Certificate, hostPlaceholder, base),
			Key:    strings.ReplaceAll(f.Patterns[i].Key, hostPlaceholder, base),
			Format: f.Patterns[i].format(),
		}
	}
	return names
}

// Select implements Source.
func (f *FolderStore) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := cmp.Or(hello.ServerName, f.Default)
	cert := f.get(hello, name)
	if cert == nil || f.Wildcard == wildcardParent && !health.Covers(cert.Leaf, name) {
		return nil
	}
	return cert
}

// Check implements Store.
func (f *FolderStore) Check(ctx context.Context, host string) (centralstore.Checked, error) {
	found, err := f.FileStore.Check(ctx, host)
	if err == nil && found.Wildcard && f.Wildcard == wildcardParent && !health.Covers(found.Certificate.Leaf, host) {
		return centralstore.Checked{}, fmt.Errorf("%s is not for %s: %w", found.File, host, fs.ErrNotExist)
	}
	return found, err
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	folder <path> {
//		file     <certificate_file> [<key_file>]
//		wildcard <text>|parent|none
//		default  <host>
//		password <password>
//		poll     <duration>
//		entries  <number>
//		rate     <names a second>
//		timeout  <duration>
//	}
//
// In the names of files {host} stands for the host. There may be several files; the
// first that exists counts.
func (f *FolderStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if len(args) != 1 {
		return here.Errf("expected: folder <path> and a block with file <certificate_file> [<key_file>], such as file {host}.pem")
	}
	f.Path = args[0]
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := f.unmarshalFolderOption(d); err != nil {
			return err
		}
	}
	if len(f.Patterns) == 0 {
		return here.Errf("folder %s: say where the files of a host are, such as file {host}.pem", f.Path)
	}
	return nil
}

func (f *FolderStore) unmarshalFolderOption(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "file":
		args := d.RemainingArgs()
		if len(args) != 1 && len(args) != 2 {
			return d.Errf("expected: file <certificate_file> [<key_file>], such as file {host}.pem")
		}
		files := StoreFiles{Certificate: args[0]}
		if len(args) == 2 {
			files.Key = args[1]
		}
		if err := files.check(); err != nil {
			return d.WrapErr(err)
		}
		f.Patterns = append(f.Patterns, files)
		return noBlock(d, word)
	case "wildcard":
		return parseOnce(d, &f.Wildcard, "wildcard <text>|parent|none, such as wildcard _")
	case "default":
		return parseOnce(d, &f.Default, "default <host>")
	default:
		known, err := f.unmarshalOption(d)
		if err == nil && !known {
			err = d.Errf("unknown word %q in a folder: expected file, wildcard, default, password, poll, entries, rate or timeout", word)
		}
		return err
	}
}

// parseOnce parses an option with one argument that may be there once.
func parseOnce(d *caddyfile.Dispenser, dst *string, usage string) error {
	option := d.Val()
	arg, err := oneArgument(d, usage)
	if err == nil && *dst != "" {
		err = d.Errf("%s is set twice: first %s, now %s", option, *dst, arg)
	}
	*dst = arg
	return err
}

// Interface guards
var (
	_ caddy.Provisioner     = (*FolderStore)(nil)
	_ caddy.CleanerUpper    = (*FolderStore)(nil)
	_ caddyfile.Unmarshaler = (*FolderStore)(nil)
	_ Store                 = (*FolderStore)(nil)
	_ Reloader              = (*FolderStore)(nil)
)
