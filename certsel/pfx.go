package certsel

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

func init() {
	caddy.RegisterModule(new(PFX))
}

// PFX provides certificates from PFX files (PKCS #12), the form in which
// Windows exports certificates with their private keys. With several files,
// for instance one RSA and one ECDSA certificate, each client gets the first
// that it supports and that is valid.
type PFX struct {
	// The files. At least one is required.
	Files []PFXFile `json:"files,omitempty"`

	// How often to look whether files have changed, where the operating
	// system does not tell; less often if there are more than 1,000
	// certificates from files. Default: 5s.
	Poll caddy.Duration `json:"poll,omitempty"`

	fromFiles
}

// PFXFile names a PFX file and says how to open it.
type PFXFile struct {
	// The file. Placeholders such as {env.CERT_DIR} are replaced. Relative
	// paths start at the working directory.
	File string `json:"file"`

	// The password of the file. It should be a placeholder, such as
	// {env.PFX_PASSWORD} or {file./run/secrets/pfx}: a password that is
	// written here can be read wherever the configuration can. Default: none.
	Password string `json:"password,omitempty"`

	// The SHA-1 thumbprint of the certificate, as Windows shows it, in case
	// the file holds several with private keys. Case and blanks do not matter.
	Thumbprint string `json:"thumbprint,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*PFX) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis.certificates.pfx",
		New: func() caddy.Module { return new(PFX) },
	}
}

// Provision resolves the names of the files and the passwords.
func (p *PFX) Provision(_ caddy.Context) error {
	if len(p.Files) == 0 {
		return errors.New("no files: name a PFX file")
	}
	repl := caddy.NewReplacer()
	for _, file := range p.Files {
		r, err := file.recipe(repl, time.Duration(p.Poll))
		if err != nil {
			return err
		}
		p.recipes = append(p.recipes, r)
	}
	return nil
}

// recipe says how to make the certificate.
func (f *PFXFile) recipe(repl *caddy.Replacer, poll time.Duration) (recipe, error) {
	r := recipe{kind: "pfx", secret: newSecret(f.Password), extra: f.Thumbprint, poll: poll}
	path, err := repl.ReplaceOrErr(f.File, true, true)
	if err != nil {
		return r, fmt.Errorf("PFX file %q: %w", f.File, err)
	}
	r.paths = []string{path}
	r.label = "PFX file " + path
	r.decode = func(contents [][]byte, password string) (*tls.Certificate, error) {
		return certfile.PFX(contents[0], certfile.Options{Password: password, Thumbprint: f.Thumbprint})
	}
	return r, nil
}

// LiteralPassword reports whether a password stands in the configuration
// itself, instead of a placeholder for it.
func (p *PFX) LiteralPassword() bool {
	return slices.ContainsFunc(p.Files, func(f PFXFile) bool { return literalPassword(f.Password) })
}

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> <pfx_file> {
//		password   <password>
//		thumbprint <thumbprint>
//	}
//
// or, for several files under one name,
//
//	certificate <name> pfx {
//		file <pfx_file> {
//			password   <password>
//			thumbprint <thumbprint>
//		}
//		...
//	}
//
// The blocks of files are optional. The dispenser stands before the word pfx,
// which stands for the name of the certificate if the option leaves it out.
func (p *PFX) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the word pfx
	here := d.Token()
	if d.CountRemainingArgs() > 0 {
		return p.addFile(d)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if word := d.Val(); word != "file" {
			return d.Errf("unknown word %q in a certificate from PFX files: expected file <pfx_file>", word)
		}
		if err := p.addFile(d); err != nil {
			return err
		}
	}
	if len(p.Files) == 0 {
		return atToken(here).Errf("expected a PFX file")
	}
	return nil
}

// addFile parses the name of a file, with a block or without.
func (p *PFX) addFile(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("expected one PFX file, which holds the certificate and its private key; the password has a line of its own in a block")
	}
	file := PFXFile{File: args[0]}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := file.option(d); err != nil {
			return err
		}
	}
	p.Files = append(p.Files, file)
	return nil
}

func (f *PFXFile) option(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "password":
		return parsePassword(d, &f.Password)
	case "thumbprint":
		return parseThumbprint(d, &f.Thumbprint)
	default:
		return d.Errf("unknown word %q for a PFX file: expected password or thumbprint", word)
	}
}

// parseThumbprint parses an option with a thumbprint, which may have blanks.
func parseThumbprint(d *caddyfile.Dispenser, dst *string) error {
	thumbprint, err := certfile.ParseThumbprint(strings.Join(d.RemainingArgs(), ""))
	switch {
	case err != nil:
		return d.WrapErr(err)
	case thumbprint == "":
		return d.Errf("thumbprint needs the SHA-1 thumbprint of a certificate, as Windows shows it")
	case *dst != "":
		return d.Errf("thumbprint is set twice")
	}
	*dst = thumbprint
	return noBlock(d, "thumbprint")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*PFX)(nil)
	_ caddy.CleanerUpper    = (*PFX)(nil)
	_ caddyfile.Unmarshaler = (*PFX)(nil)
	_ Source                = (*PFX)(nil)
)
