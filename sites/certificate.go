package sites

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

// CertificateTable is implemented by tables that keep certificates beside sites: rows
// of the same revisions, written in the same transactions and logged in the same log.
type CertificateTable interface {
	Table

	// Certificates calls a function with each certificate by name.
	Certificates(func(CertificateRow) error) error

	// Certificate returns one certificate; ok is false if there is none.
	Certificate(name string) (row CertificateRow, ok bool, err error)
}

// CertificateRow is a certificate in a table.
type CertificateRow struct {
	Name     string
	Revision uint64          // that made the document
	Document json.RawMessage // of a Sealer
}

// CertificateChange is a certificate that a transaction writes.
type CertificateChange struct {
	Name     string
	Document json.RawMessage // nil: the certificate is deleted
}

// certificateName is the form of names: they stand in paths.
var certificateName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// CheckCertificateName refuses what cannot be the name of a certificate in a table.
func CheckCertificateName(name string) error {
	if !certificateName.MatchString(name) {
		return fmt.Errorf("%q is no name of a certificate: letters, digits, dots, hyphens and underscores make one, up to 128", name)
	}
	return nil
}

// certificateDocument is what a row keeps of a certificate. The fields are in the
// order of canonical JSON.
type certificateDocument struct {
	Chain string    `json:"chain"` // PEM, the leaf first
	Key   sealedKey `json:"key"`
}

// sealedKey is a private key in a row: PKCS #8, encrypted or, where the source says
// plain_keys, not.
type sealedKey struct {
	Plain  []byte `json:"plain,omitempty"`
	Sealed []byte `json:"sealed,omitempty"` // nonce and ciphertext
	With   string `json:"with,omitempty"`   // identity of the key that encrypts it
}

// Document makes the document of a certificate.
func (s *Sealer) Document(name string, cert *tls.Certificate) (json.RawMessage, error) {
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	document := certificateDocument{}
	for _, c := range cert.Certificate {
		document.Chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c}))
	}
	if document.Key, err = s.seal(name, der); err != nil {
		return nil, err
	}
	return json.Marshal(document)
}

// Certificate decodes a document.
func (s *Sealer) Certificate(name string, raw json.RawMessage) (*tls.Certificate, error) {
	chain, der, err := s.opened(name, raw)
	if err != nil {
		return nil, err
	}
	return certfile.PEM([]byte(chain), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "")
}

// Opens checks whether this sealer has the key of a document, without parsing what is
// in it.
func (s *Sealer) Opens(name string, raw json.RawMessage) error {
	_, _, err := s.opened(name, raw)
	return err
}

// Current reports whether the private key of a document is kept as this sealer keeps
// them: not encrypted with an older key, and not plain where there is a key.
func (s *Sealer) Current(raw json.RawMessage) bool {
	var document certificateDocument
	if json.Unmarshal(raw, &document) != nil {
		return false
	}
	if len(s.keys) > 0 {
		return document.Key.With == s.keys[0].identity
	}
	return s.plain && document.Key.With == ""
}

// opened returns the chain of a document and its private key in PKCS #8.
func (s *Sealer) opened(name string, raw json.RawMessage) (chain string, der []byte, err error) {
	var document certificateDocument
	if json.Unmarshal(raw, &document) != nil {
		return "", nil, errors.New("its row is no certificate")
	}
	der, err = s.open(name, document.Key)
	return document.Chain, der, err
}

// Same reports whether a document says what another one does, and is kept as this
// sealer keeps them. One chain has one private key, whatever encrypts it; a document
// that is damaged is not the same.
func (s *Sealer) Same(name string, old, next json.RawMessage) bool {
	var was, is certificateDocument
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(next, &is) != nil || was.Chain != is.Chain || was.Key.With != is.Key.With {
		return false
	}
	_, err := s.Certificate(name, old)
	return err == nil
}

// Chain is the part of a document that anybody may see: the certificates as PEM.
func Chain(document json.RawMessage) string {
	var public struct {
		Chain string `json:"chain"`
	}
	_ = json.Unmarshal(document, &public) // what is no document shows nothing
	return public.Chain
}

// WithoutKeys returns a revision of the log without private keys, encrypted or not.
func (r Revision) WithoutKeys() Revision {
	changes := make([]Logged, len(r.Changes))
	copy(changes, r.Changes)
	public := func(document json.RawMessage) json.RawMessage {
		if document == nil {
			return nil
		}
		raw, _ := json.Marshal(map[string]string{"chain": Chain(document)}) // strings always can
		return raw
	}
	for i := range changes {
		if changes[i].Certificate != "" {
			changes[i].Before, changes[i].After = public(changes[i].Before), public(changes[i].After)
		}
	}
	r.Changes = changes
	return r
}
