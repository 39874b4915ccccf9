package iisimport

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

// CertificateFile is a file with a certificate that was found.
type CertificateFile struct {
	File, KeyFile string
	PFX           bool
	Subject       string
	noPassword    bool
	encrypted     bool // the key in PEM
}

// Certificates are files by the SHA-1 thumbprint of their certificate.
type Certificates struct {
	byThumbprint map[string]CertificateFile
	// Problems say which files could not be used.
	Problems []Problem
}

// Problem is a file that could not be used.
type Problem struct {
	File string
	Err  error
}

var reThumbprintName = regexp.MustCompile(`(?i)^[0-9a-f]{40}\.(?:pfx|p12)$`)

// maxCertificateFiles bounds what is opened of a folder: opening a PFX file takes
// a while.
const maxCertificateFiles = 20_000

// FindCertificates looks for certificates with their private keys in a folder and
// below it. The password is for PFX files and encrypted keys; a PFX file whose name
// is a thumbprint is taken by its name, with or without it. Files are named as
// they are below folder.
func FindCertificates(fsys fs.FS, folder, password string) (*Certificates, error) {
	c := &Certificates{byThumbprint: make(map[string]CertificateFile)}
	var pems []string
	opened := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		ext := strings.ToLower(path.Ext(name))
		switch ext {
		case ".pfx", ".p12", ".pem", ".crt", ".cer", ".key":
		default:
			return nil
		}
		if opened++; opened > maxCertificateFiles {
			return fmt.Errorf("more than %d certificate files", maxCertificateFiles)
		}
		if !expressible(literal(path.Join(folder, name))) {
			c.problem(path.Join(folder, name), errors.New("its name has no form in a Caddyfile: give it another one"))
			return nil
		}
		if ext == ".pfx" || ext == ".p12" {
			c.pfx(fsys, folder, name, password)
		} else {
			pems = append(pems, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	c.pems(fsys, folder, pems, password)
	return c, nil
}

func (c *Certificates) problem(name string, err error) {
	c.Problems = append(c.Problems, Problem{name, err})
}

// lookup finds a file by thumbprint. The first file in alphabetical order counts.
func (c *Certificates) lookup(hash string) (CertificateFile, bool) {
	if c == nil {
		return CertificateFile{}, false
	}
	f, ok := c.byThumbprint[strings.ToUpper(hash)]
	return f, ok
}

func (c *Certificates) add(thumbprint string, f CertificateFile) {
	thumbprint = strings.ToUpper(thumbprint)
	if _, ok := c.byThumbprint[thumbprint]; !ok {
		c.byThumbprint[thumbprint] = f
	}
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > certfile.MaxFileSize {
		return nil, fmt.Errorf("larger than %d bytes", certfile.MaxFileSize)
	}
	return fs.ReadFile(fsys, name)
}

func (c *Certificates) pfx(fsys fs.FS, folder, name, password string) {
	file := path.Join(folder, name)
	data, err := readBounded(fsys, name)
	if err != nil {
		c.problem(file, err)
		return
	}
	noPassword := false
	cert, err := certfile.PFX(data, certfile.Options{Password: password})
	if errors.Is(err, certfile.ErrPassword) && password != "" {
		if plain, err2 := certfile.PFX(data, certfile.Options{}); err2 == nil {
			cert, err, noPassword = plain, nil, true
		}
	}
	if err == nil {
		c.add(certfile.Thumbprint(cert.Certificate[0]), CertificateFile{
			File: file, PFX: true, Subject: cmp.Or(cert.Leaf.Subject.CommonName, strings.Join(cert.Leaf.DNSNames, " ")),
			noPassword: noPassword || password == "",
		})
		return
	}
	base := path.Base(name)
	if reThumbprintName.MatchString(base) && errors.Is(err, certfile.ErrPassword) {
		c.add(base[:40], CertificateFile{File: file, PFX: true})
		return
	}
	c.problem(file, err)
}

// pems finds the key of each certificate: in its own file, in the file of the same
// name with .key, or in one of the same folder.
func (c *Certificates) pems(fsys fs.FS, folder string, names []string, password string) {
	contents := make(map[string][]byte, len(names))
	var keys []string
	for _, name := range names {
		data, err := readBounded(fsys, name)
		if err != nil {
			c.problem(path.Join(folder, name), err)
			continue
		}
		contents[name] = data
		if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
			keys = append(keys, name)
		}
	}
	for _, name := range names {
		first := firstCertificate(contents[name])
		if first == nil {
			continue
		}
		candidates := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return path.Dir(key) != path.Dir(name) })
		stem := strings.TrimSuffix(name, path.Ext(name))
		slices.SortStableFunc(candidates, func(x, y string) int { return cmp.Compare(rank(x, name, stem), rank(y, name, stem)) })
		c.pair(folder, name, candidates, contents, password)
	}
}

func rank(key, name, stem string) int {
	switch {
	case key == name:
		return 0
	case strings.TrimSuffix(key, path.Ext(key)) == stem:
		return 1
	}
	return 2
}

// maxKeys bounds the keys that are tried for one certificate.
const maxKeys = 200

func (c *Certificates) pair(folder, name string, keys []string, contents map[string][]byte, password string) {
	err := errors.New("no private key for it was found in its folder")
	for _, key := range keys[:min(len(keys), maxKeys)] {
		keyPEM := contents[key]
		if key == name {
			keyPEM = nil
		}
		cert, keyErr := certfile.PEM(contents[name], keyPEM, password)
		if keyErr != nil {
			if key == name {
				err = keyErr
			}
			continue
		}
		f := CertificateFile{File: path.Join(folder, name), Subject: cmp.Or(cert.Leaf.Subject.CommonName, strings.Join(cert.Leaf.DNSNames, " "))}
		f.encrypted = bytes.Contains(contents[key], []byte("ENCRYPTED"))
		if key != name {
			f.KeyFile = path.Join(folder, key)
		}
		c.add(certfile.Thumbprint(cert.Certificate[0]), f)
		return
	}
	c.problem(path.Join(folder, name), err)
}

func firstCertificate(data []byte) *pem.Block {
	for {
		block, rest := pem.Decode(data)
		if block == nil || block.Type == "CERTIFICATE" {
			return block
		}
		data = rest
	}
}
