package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// NewCertificate is a certificate to be given to a source.
type NewCertificate struct {
	Name         string
	Files        []string // PEM, or one PFX file
	PasswordFile string   // of the key or the file; empty: none
	Source       string
	Replace      bool // it is there already
}

// PutCertificate adds a certificate to a source, or replaces one there.
func PutCertificate(ctx context.Context, e *Env, c NewCertificate) error {
	given, err := c.read()
	if err != nil {
		return err
	}
	written, err := e.Client.PutCertificate(ctx, c.Source, c.Name, given, c.Replace)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(written)
	}
	verb := "added"
	if c.Replace {
		verb = "replaced"
	}
	e.printf("certificate %s is %s, and serves\n", c.Name, verb)
	for _, f := range written.Findings {
		e.printf("%s: %s\n", f.Severity, f.Message)
	}
	e.hint("It is kept in %s.", written.Source)
	return nil
}

// read reads the files.
func (c *NewCertificate) read() (given adminapi.NewCertificate, err error) {
	password, err := readPassword(c.PasswordFile)
	if err != nil {
		return given, err
	}
	var files []CertificateFile
	for _, name := range c.Files {
		data, err := os.ReadFile(name)
		if err != nil {
			return given, err
		}
		files = append(files, CertificateFile{name, data})
	}
	return CertificateOf(files, password)
}

// CertificateFile is a file with a certificate, its chain or its key.
type CertificateFile struct {
	Name    string
	Content []byte
}

// CertificateOf puts the files of a certificate together. What is not PEM is a PFX file.
func CertificateOf(files []CertificateFile, password string) (adminapi.NewCertificate, error) {
	given := adminapi.NewCertificate{Password: password}
	var texts []string
	for _, file := range files {
		if !bytes.Contains(file.Content, []byte("-----BEGIN ")) {
			if len(files) > 1 {
				return given, fmt.Errorf("%s is not PEM: a PFX file stands alone", file.Name)
			}
			given.PFX = file.Content
			return given, nil
		}
		texts = append(texts, string(file.Content))
	}
	given.Certificate = strings.Join(texts, "\n")
	return given, nil
}

func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	return strings.TrimRight(string(data), "\r\n"), err
}

// RemoveCertificate removes a certificate from its source.
func RemoveCertificate(ctx context.Context, e *Env, source, name string) error {
	if err := e.Client.DeleteCertificate(ctx, source, name); err != nil {
		return err
	}
	if e.JSON {
		return e.json(map[string]string{"removed": name})
	}
	e.printf("certificate %s is removed\n", name)
	return nil
}

// ExportedCertificate says which certificate of a file is to be exported, and where to.
type ExportedCertificate struct {
	Name         string
	Database     string // the file of the source bolt
	KeyFile      string // with the key that encrypts private keys; empty: they are plain
	PFX          string // the file to write; it must not be there yet
	PasswordFile string // of the file that is written
}

// ExportCertificate writes a certificate with its private key to a PFX file. It reads
// the source itself: the API never has private keys.
func ExportCertificate(e *Env, x ExportedCertificate) (err error) {
	if x.PFX == "" {
		return errors.New("the file to write is missing: --pfx")
	}
	sealer := new(sites.Sealer)
	if x.KeyFile != "" {
		text, err := os.ReadFile(x.KeyFile)
		if err != nil {
			return err
		}
		if sealer, err = sites.NewSealerWith(string(text)); err != nil {
			return fmt.Errorf("%s: %w", x.KeyFile, err)
		}
	}
	password, err := readPassword(x.PasswordFile)
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("a file with a password for the PFX file is needed: --password-file")
	}
	table, err := sites.ReadBolt(x.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	row, there, err := table.Certificate(x.Name)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%s has no certificate %s", x.Database, x.Name)
	}
	cert, err := sealer.Certificate(x.Name, row.Document)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", x.Name, err)
	}
	var chain []*x509.Certificate
	for _, der := range cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	data, err := pkcs12.Modern.Encode(cert.PrivateKey, cert.Leaf, chain, password)
	if err != nil {
		return err
	}
	if err := writeNew(x.PFX, data); err != nil {
		return err
	}
	if e.JSON {
		return e.json(map[string]string{"certificate": x.Name, "file": x.PFX})
	}
	e.printf("%s has certificate %s with its private key\n", x.PFX, x.Name)
	return nil
}

// writeNew writes a file that only its owner can read and that is not there yet.
func writeNew(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name a new file", name)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
