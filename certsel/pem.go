package certsel

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

func init() {
	caddy.RegisterModule(new(PEM))
}

// PEM provides certificates from PEM files. With several of them, for
// instance one RSA and one ECDSA, each client gets the first that it supports
// and that is valid.
type PEM struct {
	// The certificates. At least one is required.
	Files []PEMFiles `json:"files,omitempty"`

	// How often to look whether files have changed, where the operating
	// system does not tell; less often if there are more than 1,000
	// certificates from files. Default: 5s.
	Poll caddy.Duration `json:"poll,omitempty"`

	fromFiles
}

// PEMFiles names the files of one certificate. Placeholders such as
// {env.CERT_DIR} are replaced. Relative paths start at the working directory.
type PEMFiles struct {
	// The file with the certificate, and with its chain unless that has files
	// of its own. The order in it does not matter: the certificate is the one
	// that the private key belongs to.
	Certificate string `json:"certificate"`

	// The file with the private key. Default: the certificate's file, which
	// then holds both.
	Key string `json:"key,omitempty"`

	// Further files with certificates of the chain.
	Chain []string `json:"chain,omitempty"`

	// The password of an encrypted private key. It should be a placeholder,
	// such as {env.KEY_PASSWORD} or {file./run/secrets/key}: a password that
	// is written here can be read wherever the configuration can.
	// Default: none.
	Password string `json:"password,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*PEM) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis.certificates.pem",
		New: func() caddy.Module { return new(PEM) },
	}
}

// Provision resolves the names of the files and the passwords.
func (p *PEM) Provision(_ caddy.Context) error {
	if len(p.Files) == 0 {
		return errors.New("no files: name a certificate file and a key file")
	}
	repl := caddy.NewReplacer()
	for _, files := range p.Files {
		r, err := files.recipe(repl, time.Duration(p.Poll))
		if err != nil {
			return err
		}
		p.recipes = append(p.recipes, r)
	}
	return nil
}

// recipe says how to make the certificate. Its files are the certificate, the
// chain, and last the key if that has a file of its own.
func (f *PEMFiles) recipe(repl *caddy.Replacer, poll time.Duration) (recipe, error) {
	r := recipe{kind: "pem", secret: newSecret(f.Password), poll: poll}
	for _, file := range append([]string{f.Certificate}, f.Chain...) {
		path, err := repl.ReplaceOrErr(file, true, true)
		if err != nil {
			return r, fmt.Errorf("certificate file %q: %w", file, err)
		}
		r.paths = append(r.paths, path)
	}
	r.label = "certificate " + r.paths[0]
	if f.Key != "" {
		path, err := repl.ReplaceOrErr(f.Key, true, true)
		if err != nil {
			return r, fmt.Errorf("private key file %q: %w", f.Key, err)
		}
		r.kind = "pem with key"
		r.paths = append(r.paths, path)
		r.label += " with key " + path
	}
	r.decode = func(contents [][]byte, password string) (*tls.Certificate, error) {
		if r.kind == "pem" {
			return certfile.PEM(certfile.JoinPEM(contents...), nil, password)
		}
		key := len(contents) - 1
		return certfile.PEM(certfile.JoinPEM(contents[:key]...), contents[key], password)
	}
	return r, nil
}

// LiteralPassword reports whether a password stands in the configuration
// itself, instead of a placeholder for it.
func (p *PEM) LiteralPassword() bool {
	return slices.ContainsFunc(p.Files, func(f PEMFiles) bool { return literalPassword(f.Password) })
}

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> <certificate_file> [<key_file>]
//	certificate <name> pem {
//		certificate <certificate_file>
//		key         <key_file>
//		chain       <chain_files...>
//		password    <password>
//	}
//
// or, for several certificates under one name,
//
//	certificate <name> pem {
//		<certificate_file> [<key_file>] {
//			chain    <chain_files...>
//			password <password>
//		}
//		...
//	}
//
// The blocks of files are optional. The dispenser stands before the word pem,
// which stands for the name of the certificate if the option leaves it out.
func (p *PEM) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the word pem
	here := d.Token()
	if args := d.RemainingArgs(); len(args) > 0 {
		return p.addFiles(d, args)
	}
	var single PEMFiles // in lines with words instead of one line with files
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		if slices.Contains(pemOptions, d.Val()) {
			err = single.option(d)
		} else {
			err = p.addFiles(d, append([]string{d.Val()}, d.RemainingArgs()...))
		}
		if err != nil {
			return err
		}
	}
	switch {
	case single.Certificate != "":
		p.Files = append(p.Files, single)
	case single.Key != "" || single.Chain != nil || single.Password != "":
		return atToken(here).Errf("expected certificate <certificate_file> beside key, chain and password")
	case len(p.Files) == 0:
		return atToken(here).Errf(expectedFiles)
	}
	return nil
}

const expectedFiles = "expected a certificate file and a key file, or one file with both"

// addFiles parses a line with files, with a block or without.
func (p *PEM) addFiles(d *caddyfile.Dispenser, args []string) error {
	if len(args) > 2 {
		return d.Errf("%s, not %q as well", expectedFiles, args[2])
	}
	files := PEMFiles{Certificate: args[0]}
	if len(args) == 2 {
		files.Key = args[1]
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := files.option(d); err != nil {
			return err
		}
	}
	p.Files = append(p.Files, files)
	return nil
}

// pemOptions are the words of PEMFiles.
var pemOptions = []string{"certificate", "key", "chain", "password"}

func (f *PEMFiles) option(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "certificate":
		return parseFile(d, &f.Certificate)
	case "key":
		return parseFile(d, &f.Key)
	case "chain":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("chain needs one file or more")
		}
		f.Chain = append(f.Chain, args...)
		return noBlock(d, word)
	case "password":
		return parsePassword(d, &f.Password)
	default:
		return d.Errf("unknown word %q for a certificate: expected key, chain or password", word)
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*PEM)(nil)
	_ caddy.CleanerUpper    = (*PEM)(nil)
	_ caddyfile.Unmarshaler = (*PEM)(nil)
	_ Source                = (*PEM)(nil)
)
