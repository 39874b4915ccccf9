package certfile

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// PEM decodes a certificate and its private key from PEM. Blocks may come in
// any order; what is neither a certificate nor a private key is ignored.
// Without keyPEM, certPEM holds both. Certificates in keyPEM do not count.
//
// The leaf is the certificate of the private key, of several the one that is
// valid now, else the one that is valid longest; the rest of its chain
// follows in order, with the root if it is there, and without what does not
// belong to it. The password is for an encrypted key. The error is ErrPassword
// if it is wrong or missing.
func PEM(certPEM, keyPEM []byte, password string) (*tls.Certificate, error) {
	if len(certPEM) > MaxFileSize || len(keyPEM) > MaxFileSize {
		return nil, errSize
	}
	certFile, err := readPEM(certPEM, "certificate file")
	if err != nil {
		return nil, err
	}
	keyFile := certFile
	if keyPEM != nil && !same(certPEM, keyPEM) {
		if keyFile, err = readPEM(keyPEM, "key file"); err != nil {
			return nil, err
		}
	}
	if err := complete(certFile, keyFile); err != nil {
		return nil, err
	}
	key, leaf, err := match(certFile.certs, keyFile.keys, password)
	if err != nil {
		return nil, err
	}
	return newCertificate(chain(leaf, certFile.certs, true), key, leaf), nil
}

// CheckCertificates returns an error unless a PEM file holds certificates, and all
// of its blocks can be read: one that is cut off, or in the middle of being
// written, must not take the place of one that was whole.
func CheckCertificates(data []byte) error {
	f, err := readPEM(data, "file")
	switch {
	case err != nil:
		return err
	case len(f.certs) == 0:
		return fmt.Errorf("the file holds no certificate%s", f.instead())
	}
	for _, c := range f.certs {
		if _, err := c.parse(); err != nil {
			return err
		}
	}
	return nil
}

// JoinPEM joins the contents of several PEM files to those of one.
func JoinPEM(files ...[]byte) []byte {
	var out []byte
	for _, data := range files {
		out = append(append(out, plainText(data)...), '\n')
	}
	return out
}

// same reports whether two slices are one.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// pemFile is what a PEM file holds.
type pemFile struct {
	certs []*certificate
	keys  []*pem.Block
	other []string // types of other blocks
}

func readPEM(data []byte, name string) (*pemFile, error) {
	data = plainText(data)
	f := new(pemFile)
	blocks := 0
	for rest := data; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := f.add(block, name); err != nil {
			return nil, err
		}
	}
	// Blocks that do not hold are passed over when decoding. The file may be
	// cut off, or in the middle of being written.
	headers := countHeaders(data)
	if (blocks == 0 || headers > blocks) && hasLiteralEnds(data) {
		return nil, fmt.Errorf("the %s has \\n, a backslash and the letter n, in place of line ends, as JSON and environment variables have them: "+
			"replace them by line ends, for instance with printf '%%b'", name)
	}
	if headers > blocks {
		return nil, fmt.Errorf("%s: %w: %d of its %d PEM blocks cannot be read", name, errDamaged, headers-blocks, headers)
	}
	if blocks == 0 {
		return nil, notPEM(data, name)
	}
	return f, nil
}

func (f *pemFile) add(block *pem.Block, name string) error {
	switch {
	case block.Type == "CERTIFICATE":
		if slices.ContainsFunc(f.certs, func(c *certificate) bool { return bytes.Equal(c.der, block.Bytes) }) {
			return nil
		}
		f.certs = append(f.certs, &certificate{der: block.Bytes})
	case block.Type == "PRIVATE KEY", strings.HasSuffix(block.Type, " PRIVATE KEY"):
		f.keys = append(f.keys, block)
	default:
		f.other = append(f.other, block.Type)
	}
	if len(f.certs) > maxCertificates || len(f.keys) > maxKeys || len(f.other) > maxCertificates {
		return fmt.Errorf("the %s holds more than %d certificates or %d private keys", name, maxCertificates, maxKeys)
	}
	return nil
}

// countHeaders counts the lines that begin PEM blocks.
func countHeaders(data []byte) int {
	const header = "-----BEGIN "
	n := bytes.Count(data, []byte("\n"+header))
	if bytes.HasPrefix(data, []byte(header)) {
		n++
	}
	return n
}

// hasLiteralEnds reports whether a line of a PEM block ends with \n or \r\n in
// letters.
func hasLiteralEnds(data []byte) bool {
	return bytes.Contains(data, []byte(`-----\n`)) || bytes.Contains(data, []byte(`-----\r\n`))
}

// plainText removes what editors and shells of Windows put around text: a byte
// order mark, and UTF-16.
func plainText(data []byte) []byte {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return fromUTF16(data[2:], 0)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return fromUTF16(data[2:], 1)
	default:
		return data
	}
}

// fromUTF16 decodes UTF-16, in which the byte at the index low of each pair is
// the lower one.
func fromUTF16(data []byte, low int) []byte {
	units := make([]uint16, 0, len(data)/2)
	for ; len(data) >= 2; data = data[2:] {
		units = append(units, uint16(data[low])|uint16(data[1-low])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// notPEM tells what a file without PEM blocks is.
func notPEM(data []byte, name string) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return fmt.Errorf("the %s is empty", name)
	case isPFX(data):
		return fmt.Errorf("the %s is a PFX file, not a PEM file: use the certificate source pfx", name)
	case len(data) > 1 && data[0] == 0x30 && data[1] > 0x80:
		return fmt.Errorf("the %s is in binary form (DER), not in PEM: convert it with "+
			"openssl x509 -inform der -in <file> -out <file.pem>, or openssl pkey if it is a private key", name)
	default:
		return fmt.Errorf("the %s holds no PEM blocks, such as -----BEGIN CERTIFICATE-----", name)
	}
}

func isPFX(data []byte) bool {
	_, err := parsePFX(data)
	return err == nil
}

// complete refuses files that lack a certificate or a private key.
func complete(certFile, keyFile *pemFile) error {
	swapped := certFile != keyFile && len(certFile.keys) > 0 && len(keyFile.certs) > 0
	switch {
	case len(certFile.certs) == 0 && swapped:
		return errors.New("the certificate file holds a private key and the key file a certificate: they are swapped")
	case len(certFile.certs) == 0:
		return fmt.Errorf("the certificate file holds no certificate%s", certFile.instead())
	case len(keyFile.keys) > 0:
		return nil
	case certFile == keyFile:
		return errors.New("the file holds no private key, only a certificate: name the file of the private key as well")
	default:
		return fmt.Errorf("the key file holds no private key%s", keyFile.instead())
	}
}

// instead tells what a file holds instead of what is sought.
func (f *pemFile) instead() string {
	switch {
	case len(f.certs) > 0:
		return ", but a certificate"
	case len(f.keys) > 0:
		return ", but a private key"
	case slices.Contains(f.other, "PKCS7"):
		return ", but PKCS #7: convert it with openssl pkcs7 -print_certs -in <file> -out <file.pem>"
	case slices.Contains(f.other, "TRUSTED CERTIFICATE"):
		return ", but a certificate in a form of OpenSSL's own: convert it with openssl x509 -in <file> -out <file.pem>"
	default:
		return fmt.Sprintf(", but %q", f.other[0])
	}
}

// match finds the first private key that has a certificate, and of several
// certificates for it the best one.
func match(certs []*certificate, keys []*pem.Block, password string) (crypto.Signer, *certificate, error) {
	var firstErr error
	w, now := &work{left: maxWork}, time.Now()
	for _, block := range keys {
		key, err := pemKey(block, password, w)
		if err != nil {
			firstErr = cmp.Or(firstErr, err)
			continue
		}
		var leaf *certificate
		for _, c := range certs {
			cert, err := c.parse()
			if err != nil {
				firstErr = cmp.Or(firstErr, err)
				continue
			}
			if belongs(key, cert) && (leaf == nil || Compare(cert, leaf.parsed, now) > 0) {
				leaf = c
			}
		}
		if leaf != nil {
			return key, leaf, nil
		}
	}
	if firstErr == nil {
		firstErr = mismatch(certs, len(keys))
	}
	return nil, nil, firstErr
}

func mismatch(certs []*certificate, keys int) error {
	what := "the private key does not match "
	if keys > 1 {
		what = fmt.Sprintf("none of the %d private keys matches ", keys)
	}
	if len(certs) > 1 {
		return fmt.Errorf("%sany of the certificates %s", what, list(certs))
	}
	return fmt.Errorf("%sthe certificate %s", what, list(certs))
}

// pemKey parses a private key in any of the forms that PEM files have.
func pemKey(block *pem.Block, password string, w *work) (crypto.Signer, error) {
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("the private key is encrypted in an old form that protects it badly and is not supported: " +
			"convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -in <file> -out <new file>")
	}
	switch block.Type {
	case "ENCRYPTED PRIVATE KEY":
		der, err := decryptPEM(block.Bytes, password, w)
		if err != nil {
			return nil, err
		}
		return parseKey(der)
	case "RSA PRIVATE KEY":
		return parseAny(block.Bytes, parsePKCS1, parseKey, parseSEC1)
	case "EC PRIVATE KEY":
		return parseAny(block.Bytes, parseSEC1, parseKey, parsePKCS1)
	case "PRIVATE KEY":
		return parseAny(block.Bytes, parseKey, parsePKCS1, parseSEC1)
	default:
		return nil, fmt.Errorf("unsupported private key: %s", block.Type)
	}
}

// parseAny returns the private key of the first parser that can read it, or
// else the first error. Some programs write one form under the name of another.
func parseAny(der []byte, parsers ...func(der []byte) (crypto.Signer, error)) (crypto.Signer, error) {
	var firstErr error
	for _, parse := range parsers {
		key, err := parse(der)
		if err == nil {
			return key, nil
		}
		firstErr = cmp.Or(firstErr, err)
	}
	return nil, firstErr
}

func decryptPEM(der []byte, password string, w *work) ([]byte, error) {
	alg, data, err := readEncryptedKey(der)
	if err != nil {
		return nil, err
	}
	for _, pw := range secrets(password) {
		plain, err := decrypt(alg, data, pw, w)
		if !errors.Is(err, ErrPassword) {
			return plain, err
		}
	}
	if password == "" {
		return nil, fmt.Errorf("%w: the private key is encrypted, and no password is given", ErrPassword)
	}
	return nil, fmt.Errorf("%w, or the private key is damaged", ErrPassword)
}
