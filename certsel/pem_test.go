package certsel

import (
	"bytes"
	"crypto/tls"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func TestPEMServes(t *testing.T) {
	dir := t.TempDir()
	ca := newPair(t, "CA", nil, ecKey(t))
	ec, rsa := newPair(t, "ec.example.com", &ca, ecKey(t)), newPair(t, "rsa.example.com", nil, rsaKey(t))
	t.Setenv("CERTSEL_DIR", dir)
	writeFile(t, dir, "ec.pem", ec.certPEM())
	writeFile(t, dir, "ec.key", ec.keyPEM(t))
	writeFile(t, dir, "chain.pem", bytes.TrimSpace(ca.certPEM()))
	writeFile(t, dir, "rsa.pem", rsa.keyPEM(t), rsa.certPEM())

	source := &PEM{Files: []PEMFiles{
		{Certificate: "{env.CERTSEL_DIR}/ec.pem", Key: dir + "/ec.key", Chain: []string{"{env.CERTSEL_DIR}/chain.pem"}},
		{Certificate: dir + "/rsa.pem"},
	}}
	provision(t, source)
	if got := serve(t, source, new(tls.Config)); !got.Equal(ec.cert) {
		t.Errorf("got %s", got.Subject)
	}
	if got := serve(t, source, rsaOnly()); !got.Equal(rsa.cert) {
		t.Errorf("got %s for a client without ECDSA", got.Subject)
	}
	if chain := source.Current()[0].Certificate; len(chain) != 2 || !bytes.Equal(chain[1], ca.cert.Raw) {
		t.Errorf("chain of %d", len(chain))
	}
}

func TestPEMPassword(t *testing.T) {
	needs.OpenSSL(t)
	dir := t.TempDir()
	p := newPair(t, "www.example.com", nil, ecKey(t))
	encrypt := exec.Command("openssl", "pkcs8", "-topk8", "-passout", "pass:tell-nobody")
	encrypt.Stdin = bytes.NewReader(p.keyPEM(t))
	key, err := encrypt.Output()
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, dir, "both.pem", p.certPEM(), key)
	t.Setenv("CERTSEL_PASSWORD", "tell-nobody")
	for raw, literal := range map[string]bool{"tell-nobody": true, "{env.CERTSEL_PASSWORD}": false} {
		source := &PEM{Files: []PEMFiles{{Certificate: file, Password: raw}}}
		provision(t, source)
		if source.LiteralPassword() != literal {
			t.Errorf("literal password of %s: %v", raw, source.LiteralPassword())
		}
	}
	for raw, want := range map[string]string{
		"":                                 "certificate " + file + ": wrong password: the private key is encrypted, and no password is given",
		"not tell-nobody":                  "wrong password",
		"tell-nobody{env.CERTSEL_NOWHERE}": "{env.CERTSEL_NOWHERE} has no value",
	} {
		err := loadSource(&PEM{Files: []PEMFiles{{Certificate: file, Password: raw}}})
		wantError(t, err, want)
		if err != nil && strings.Contains(err.Error(), "tell-nobody") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

// noSuchFile is what the system says of a file that there is not.
var noSuchFile = syscall.ENOENT.Error()

func TestPEMErrors(t *testing.T) {
	dir := t.TempDir()
	p, other := newPair(t, "www.example.com", nil, ecKey(t)), newPair(t, "other.example.com", nil, ecKey(t))
	cert := writeFile(t, dir, "p.pem", p.certPEM())
	key := writeFile(t, dir, "other.key", other.keyPEM(t))
	for _, tc := range []struct {
		source PEM
		err    string
	}{
		{PEM{}, "no files"},
		{PEM{Files: []PEMFiles{{Certificate: "{env.CERTSEL_NOWHERE}"}}}, `certificate file "{env.CERTSEL_NOWHERE}"`},
		{PEM{Files: []PEMFiles{{Certificate: cert, Key: dir + "/missing"}}}, "certificate " + cert + " with key " + dir + "/missing: read " + dir + "/missing: " + noSuchFile},
		{PEM{Files: []PEMFiles{{Certificate: cert, Key: key, Chain: []string{dir + "/missing"}}}}, "read " + dir + "/missing: " + noSuchFile},
		{PEM{Files: []PEMFiles{{Certificate: cert, Key: key}}}, "certificate " + cert + " with key " + key + ": the private key does not match"},
		{PEM{Files: []PEMFiles{{Certificate: cert}}}, "certificate " + cert + ": the file holds no private key"},
	} {
		wantError(t, loadSource(&tc.source), tc.err)
	}
}

func TestPEMCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"pem a.pem":       `{"files":[{"certificate":"a.pem"}]}`,
		"pem a.pem a.key": `{"files":[{"certificate":"a.pem","key":"a.key"}]}`,
		"pem a.pem a.key {\nchain b.pem c.pem\nchain d.pem\npassword {env.P}\n}":                     `{"files":[{"certificate":"a.pem","key":"a.key","chain":["b.pem","c.pem","d.pem"],"password":"{env.P}"}]}`,
		"pem {\na.pem a.key\nb.pem\n}":                                                               `{"files":[{"certificate":"a.pem","key":"a.key"},{"certificate":"b.pem"}]}`,
		"pem {\na.pem a.key {\npassword x\n}\nb.pem {\nkey b.key\n}\n}":                              `{"files":[{"certificate":"a.pem","key":"a.key","password":"x"},{"certificate":"b.pem","key":"b.key"}]}`,
		"pem {\ncertificate a.pem\nkey a.key\nchain c.pem\npassword {file./run/secrets/password}\n}": `{"files":[{"certificate":"a.pem","key":"a.key","chain":["c.pem"],"password":"{file./run/secrets/password}"}]}`,
	} {
		wantFiles(t, new(PEM), input, want)
	}
	for input, want := range map[string]string{
		"pem":                                      "expected a certificate file and a key file",
		"pem {\n}":                                 "expected a certificate file and a key file",
		"pem a b c":                                `not "c" as well`,
		"pem {\na b c\n}":                          `not "c" as well`,
		"pem {\nkey a.key\n}":                      "expected certificate <certificate_file>",
		"pem {\nkey\n}":                            "key takes one file",
		"pem {\ncertificate a.pem b.pem\n}":        "certificate takes one file",
		"pem a.pem a.key {\nkey b.key\n}":          "key is set twice: first a.key, now b.key",
		"pem a.pem {\nchain\n}":                    "chain needs one file or more",
		"pem a.pem {\nthumbprint x\n}":             `unknown word "thumbprint"`,
		"pem {\ncertificate a.pem {\nkey b\n}\n}":  "certificate takes no block",
		"pem a.pem {\npassword tell nobody\n}":     "password takes one argument",
		"pem {\npassword tell\npassword nobody\n}": "password is set twice",
	} {
		err := parse(new(PEM), input)
		wantError(t, err, want)
		if err != nil && (strings.Contains(err.Error(), "tell") || strings.Contains(err.Error(), "nobody")) {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}
