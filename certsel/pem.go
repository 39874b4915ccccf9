package certsel

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(PEM{})
}

// PEM provides certificates from PEM files. With several pairs, for instance
// one RSA and one ECDSA, each client gets the first that it supports and that
// is valid.
type PEM struct {
	// The certificates. At least one is required.
	Files []PEMFiles `json:"files,omitempty"`

	certs []*tls.Certificate
	keys  []pemKey
}

// PEMFiles names the files of one certificate.
type PEMFiles struct {
	// The certificate and its chain, leaf first. Placeholders such as
	// {env.CERT_DIR} are replaced. Relative paths start at the working
	// directory.
	Certificate string `json:"certificate"`

	// The private key. Default: the certificate's file, which then holds both.
	Key string `json:"key,omitempty"`
}

// pemKey identifies a parsed pair by content in the pool.
type pemKey [sha256.Size]byte

// parsedPEM is the pool's value: one certificate, parsed once however many
// names, sites and configuration loads use it.
type parsedPEM struct{ cert tls.Certificate }

// Destruct implements caddy.Destructor; memory is all there is to free.
func (*parsedPEM) Destruct() error { return nil }

// pems holds parsed pairs by content, across configuration loads.
var pems = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (PEM) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis.certificates.pem",
		New: func() caddy.Module { return new(PEM) },
	}
}

// Provision loads the files.
func (p *PEM) Provision(_ caddy.Context) error {
	if len(p.Files) == 0 {
		return errors.New("no files: name a certificate file and a key file")
	}
	repl := caddy.NewReplacer()
	for i := range p.Files {
		if err := p.load(repl, p.Files[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *PEM) load(repl *caddy.Replacer, files PEMFiles) error {
	certFile, err := repl.ReplaceOrErr(files.Certificate, true, true)
	if err != nil {
		return fmt.Errorf("certificate file %q: %w", files.Certificate, err)
	}
	keyFile := certFile
	if files.Key != "" {
		if keyFile, err = repl.ReplaceOrErr(files.Key, true, true); err != nil {
			return fmt.Errorf("key file %q: %w", files.Key, err)
		}
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("reading the private key: %w", err)
	}
	key := contentKey(certPEM, keyPEM)
	val, _, err := pems.LoadOrNew(key, func() (caddy.Destructor, error) {
		cert, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &parsedPEM{cert}, nil
	})
	if err != nil {
		return err
	}
	p.keys = append(p.keys, key)
	p.certs = append(p.certs, &val.(*parsedPEM).cert)
	return nil
}

func contentKey(certPEM, keyPEM []byte) (key pemKey) {
	h := sha256.New()
	certSum := sha256.Sum256(certPEM)
	h.Write(certSum[:])
	h.Write(keyPEM)
	h.Sum(key[:0])
	return key
}

// Cleanup releases the certificates.
func (p *PEM) Cleanup() error {
	var errs []error
	for _, key := range p.keys {
		_, err := pems.Delete(key)
		errs = append(errs, err)
	}
	p.keys = nil
	return errors.Join(errs...)
}

// Select implements Source.
func (p *PEM) Select(hello *tls.ClientHelloInfo) *tls.Certificate { return Choose(hello, p.certs) }

// Current implements Source.
func (p *PEM) Current() []*tls.Certificate { return p.certs }

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> <certificate_file> [<key_file>]
//
// or, for several certificates under one name,
//
//	certificate <name> pem {
//		<certificate_file> [<key_file>]
//		...
//	}
//
// The dispenser stands before the word pem, which stands for the name of the
// certificate if the option leaves it out.
func (p *PEM) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the word pem
	here := d.Token()
	if args := d.RemainingArgs(); len(args) > 0 {
		if err := p.addFiles(d, args); err != nil {
			return err
		}
		return noBlock(d, "a certificate with files in its line")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.addFiles(d, append([]string{d.Val()}, d.RemainingArgs()...)); err != nil {
			return err
		}
		if err := noBlock(d, "a line with certificate files"); err != nil {
			return err
		}
	}
	if len(p.Files) == 0 {
		return atToken(here).Errf(expectedFiles)
	}
	return nil
}

const expectedFiles = "expected a certificate file and a key file, or one file with both"

func (p *PEM) addFiles(d *caddyfile.Dispenser, args []string) error {
	if len(args) > 2 {
		return d.Errf("%s, not %q as well", expectedFiles, args[2])
	}
	files := PEMFiles{Certificate: args[0]}
	if len(args) == 2 {
		files.Key = args[1]
	}
	p.Files = append(p.Files, files)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*PEM)(nil)
	_ caddy.CleanerUpper    = (*PEM)(nil)
	_ caddyfile.Unmarshaler = (*PEM)(nil)
	_ Source                = (*PEM)(nil)
)
