package certfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

func TestPEM(t *testing.T) {
	f := newFamily(t)
	stray := issue(t, "stray.example.com", nil, newKey(t), year)
	strayCA := issue(t, "Stray CA", nil, newKey(t), year)
	key, strayKey := keyPEM(t, f.leaf), keyPEM(t, stray)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	full := []*identity{f.leaf, f.inter, f.root}

	for _, tc := range []struct {
		name      string
		cert, key []byte
		want      []*identity
		err       string
	}{
		{"two files", certPEM(f.leaf), key, full[:1], ""},
		{"chain", certPEM(f.leaf, f.inter), key, full[:2], ""},
		{"chain with root", certPEM(f.leaf, f.inter, f.root), key, full, ""},
		{"chain reversed", certPEM(f.root, f.inter, f.leaf), key, full, ""},
		{"root and no intermediate", certPEM(f.leaf, f.root), key, full[:1], ""},
		{"twice the same", certPEM(f.leaf, f.leaf, f.inter, f.inter), key, full[:2], ""},
		{"strangers", certPEM(stray, strayCA, f.inter, f.leaf), key, full[:2], ""},
		{"one file", join(certPEM(f.leaf, f.inter), key), nil, full[:2], ""},
		{"one file, key first", join(key, certPEM(f.leaf, f.inter)), nil, full[:2], ""},
		{"one file, key between", join(certPEM(f.inter), key, certPEM(f.leaf)), nil, full[:2], ""},
		{"key file with certificates", certPEM(f.leaf), join(certPEM(f.inter), key), full[:1], ""},
		{"two keys", certPEM(f.leaf), join(strayKey, key), full[:1], ""},
		{"self-signed", certPEM(stray), strayKey, []*identity{stray}, ""},
		{"text around", join([]byte("Bag Attributes\n  friendlyName: x\n"), certPEM(f.leaf), []byte("\nsubject=\n")), key, full[:1], ""},
		{"other blocks", join([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), certPEM(f.leaf)), key, full[:1], ""},
		{"carriage returns", bytes.ReplaceAll(certPEM(f.leaf, f.inter), []byte("\n"), []byte("\r\n")), key, full[:2], ""},
		{"byte order mark", join([]byte("\xef\xbb\xbf"), certPEM(f.leaf)), join([]byte("\xef\xbb\xbf"), key), full[:1], ""},
		{"UTF-16", inUTF16(certPEM(f.leaf), false), inUTF16(key, true), full[:1], ""},
		{"joined with byte order marks", JoinPEM(join([]byte("\xef\xbb\xbf"), bytes.TrimSpace(certPEM(f.leaf))), inUTF16(certPEM(f.inter), false)), key, full[:2], ""},

		{"another key", certPEM(f.leaf), strayKey, nil, "the private key does not match the certificate " + Thumbprint(f.leaf.cert.Raw) + ` ("www.example.com"`},
		{"another key, chain", certPEM(f.leaf, f.inter), strayKey, nil, "does not match any of the certificates " + Thumbprint(f.leaf.cert.Raw)},
		{"two other keys", certPEM(f.inter), join(strayKey, key), nil, "none of the 2 private keys matches the certificate"},
		{"swapped", key, certPEM(f.leaf), nil, "they are swapped"},
		{"no certificate", key, key, nil, "the certificate file holds no certificate, but a private key"},
		{"no certificate in one file", key, nil, nil, "the certificate file holds no certificate, but a private key"},
		{"no key in one file", certPEM(f.leaf), nil, nil, "name the file of the private key"},
		{"key file is a certificate", certPEM(f.leaf), certPEM(f.leaf), nil, "the key file holds no private key, but a certificate"},
		{"empty certificate file", nil, key, nil, "the certificate file is empty"},
		{"empty key file", certPEM(f.leaf), []byte(" \n"), nil, "the key file is empty"},
		{"no PEM", []byte("hello"), key, nil, "the certificate file holds no PEM blocks"},
		{"DER", f.leaf.cert.Raw, key, nil, "the certificate file is in binary form (DER)"},
		{"PFX", makePFX(dataInfo(certBag(f.leaf, ""))), key, nil, "use the certificate source pfx"},
		{"PKCS7", []byte("-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"), key, nil, "openssl pkcs7 -print_certs"},
		{"trusted", bytes.ReplaceAll(certPEM(f.leaf), []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")), key, nil, "openssl x509 -in"},
		{"request", bytes.ReplaceAll(certPEM(f.leaf), []byte("CERTIFICATE"), []byte("CERTIFICATE REQUEST")), key, nil, `but "CERTIFICATE REQUEST"`},
		{"cut off", certPEM(f.leaf, f.inter)[:len(certPEM(f.leaf))+100], key, nil, "1 of its 2 PEM blocks cannot be read"},
		{"key cut off", certPEM(f.leaf), key[:100], nil, "key file: the file is damaged: 1 of its 1 PEM blocks"},
		{"broken base64", bytes.Replace(certPEM(f.leaf), []byte("MII"), []byte("!!!"), 1), key, nil, "PEM blocks cannot be read"},
		{"broken certificate", pemBlock("CERTIFICATE", []byte("x")), key, nil, "certificate " + Thumbprint([]byte("x"))},
		{"broken key", certPEM(f.leaf), pemBlock("PRIVATE KEY", []byte("x")), nil, "private key: "},
		{"OpenSSH key", certPEM(f.leaf), pemBlock("OPENSSH PRIVATE KEY", []byte("x")), nil, "unsupported private key: OPENSSH PRIVATE KEY"},
		{"large", make([]byte, MaxFileSize+1), key, nil, "larger than 4 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, err := PEM(tc.cert, tc.key, "")
			if tc.err != "" {
				wantError(t, err, tc.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			usable(t, cert, len(tc.want))
			for i, id := range tc.want {
				if !bytes.Equal(cert.Certificate[i], id.cert.Raw) {
					t.Errorf("certificate %d is not that of %s", i, id.cert.Subject)
				}
			}
		})
	}
}

func inUTF16(data []byte, bigEndian bool) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + string(data))) {
		pair := []byte{byte(unit), byte(unit >> 8)}
		if bigEndian {
			slices.Reverse(pair)
		}
		out = append(out, pair...)
	}
	return out
}

// TestChain has issuers that can be told apart by more than their name only.
func TestChain(t *testing.T) {
	root, otherRoot := issue(t, "Root CA", nil, newKey(t), 10*year), issue(t, "Other CA", nil, newKey(t), 10*year)
	interKey := newKey(t)
	inter := issue(t, "Intermediate CA", root, interKey, 3*year)
	leaf := issue(t, "www.example.com", inter, newKey(t), year)

	renewed := issue(t, "Intermediate CA", root, interKey, 4*year)
	crossed := issue(t, "Root CA", otherRoot, root.key, 2*year)
	expired := issue(t, "Root CA", otherRoot, root.key, -time.Minute)
	namesake := issue(t, "Intermediate CA", root, newKey(t), 5*year)
	loop := issue(t, "Other CA", crossed, otherRoot.key, 2*year)

	for _, tc := range []struct {
		name string
		file []*identity
		want []*identity
	}{
		{"renewed issuer", []*identity{leaf, inter, renewed, root}, []*identity{leaf, renewed, root}},
		{"namesake with another key", []*identity{leaf, namesake, inter}, []*identity{leaf, inter}},
		{"root signed by another", []*identity{leaf, inter, root, crossed, otherRoot}, []*identity{leaf, inter, crossed, otherRoot}},
		{"expired signature by another", []*identity{leaf, inter, expired, root}, []*identity{leaf, inter, root}},
		{"roots that sign each other", []*identity{leaf, inter, crossed, loop}, []*identity{leaf, inter, crossed, loop}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, err := PEM(certPEM(tc.file...), keyPEM(t, leaf), "")
			if err != nil {
				t.Fatal(err)
			}
			usable(t, cert, len(tc.want))
			for i, id := range tc.want[:min(len(tc.want), len(cert.Certificate))] {
				if !bytes.Equal(cert.Certificate[i], id.cert.Raw) {
					t.Errorf("certificate %d is another one than that of %s", i, id.cert.Subject)
				}
			}
		})
	}
}

func TestPEMKeys(t *testing.T) {
	ecKey, rsaKey := newKey(t), rsaKey(t, 2048)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER := openssl(t, pemBlock("PRIVATE KEY", pkcs8(t, ecKey)), "ec", "-outform", "der")
	rsaDER := openssl(t, pemBlock("PRIVATE KEY", pkcs8(t, rsaKey)), "rsa", "-traditional", "-outform", "der")

	for _, tc := range []struct {
		id    *identity
		block string
		der   []byte
	}{
		{&identity{key: ecKey}, "PRIVATE KEY", pkcs8(t, ecKey)},
		{&identity{key: ecKey}, "EC PRIVATE KEY", ecDER},
		{&identity{key: ecKey}, "PRIVATE KEY", ecDER},
		{&identity{key: ecKey}, "EC PRIVATE KEY", pkcs8(t, ecKey)},
		{&identity{key: rsaKey}, "PRIVATE KEY", pkcs8(t, rsaKey)},
		{&identity{key: rsaKey}, "RSA PRIVATE KEY", rsaDER},
		{&identity{key: rsaKey}, "PRIVATE KEY", rsaDER},
		{&identity{key: rsaKey}, "RSA PRIVATE KEY", pkcs8(t, rsaKey)},
		{&identity{key: edKey}, "PRIVATE KEY", pkcs8(t, edKey)},
	} {
		id := issue(t, "www.example.com", nil, tc.id.key, year)
		cert, err := PEM(certPEM(id), pemBlock(tc.block, tc.der), "")
		if err != nil {
			t.Errorf("%T as %s: %v", tc.id.key, tc.block, err)
			continue
		}
		usable(t, cert, 1)
	}
}

func TestPEMEncrypted(t *testing.T) {
	f := newFamily(t)
	for _, args := range []string{
		"",
		"-v2 aes-128-cbc -v2prf hmacWithSHA1",
		"-v2 aes-192-cbc -v2prf hmacWithSHA224",
		"-v2 aes-256-cbc -v2prf hmacWithSHA384 -iter 200000",
		"-v2 aes-256-cbc -v2prf hmacWithSHA512",
		"-v2 des3",
		"-scrypt",
		"-scrypt -scrypt_N 4096 -scrypt_r 4 -scrypt_p 3",
		"-v1 PBE-SHA1-3DES",
		"-v1 PBE-SHA1-RC2-40 -provider legacy -provider default",
	} {
		for _, password := range []string{"secret", "pässwörd 世界"} {
			t.Run(args+" "+password, func(t *testing.T) {
				convert := append([]string{"pkcs8", "-topk8", "-passout", "pass:" + password}, strings.Fields(args)...)
				key := openssl(t, keyPEM(t, f.leaf), convert...)
				cert, err := PEM(certPEM(f.leaf), key, password)
				if err != nil {
					t.Fatal(err)
				}
				usable(t, cert, 1)
				_, err = PEM(certPEM(f.leaf), key, "wrong")
				wantError(t, err, "wrong password, or the private key is damaged")
				_, err = PEM(certPEM(f.leaf), key, "")
				wantError(t, err, "the private key is encrypted, and no password is given")
				if !errors.Is(err, ErrPassword) {
					t.Error("not ErrPassword")
				}
			})
		}
	}
}

func TestPEMEncryptedUnsupported(t *testing.T) {
	f := newFamily(t)
	for args, want := range map[string]string{
		"-v1 PBE-MD5-DES -provider legacy -provider default": "unsupported encryption: PBE-MD5-DES (1.2.840.113549.1.5.3)",
		"-v2 camellia-256-cbc":                               "unsupported encryption: Camellia-256-CBC",
	} {
		convert := append([]string{"pkcs8", "-topk8", "-passout", "pass:secret"}, strings.Fields(args)...)
		_, err := PEM(certPEM(f.leaf), openssl(t, keyPEM(t, f.leaf), convert...), "secret")
		wantError(t, err, want)
	}
}

// TestPEMOldEncryption refuses the encryption of OpenSSL before PKCS #8, and
// follows the advice in the error.
func TestPEMOldEncryption(t *testing.T) {
	id := issue(t, "www.example.com", nil, rsaKey(t, 2048), year)
	der := x509.MarshalPKCS1PrivateKey(id.key.(*rsa.PrivateKey))
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", der, []byte("secret"), x509.PEMCipherAES256) //nolint:staticcheck // to be refused
	if err != nil {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(block)
	_, err = PEM(certPEM(id), old, "secret")
	const command = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in <file> -out <new file>"
	wantError(t, err, command)

	args := strings.Fields(strings.NewReplacer("<file>", writeFile(t, "old.key", old), " -out <new file>", "", "openssl ", "").Replace(command))
	cert, err := PEM(certPEM(id), openssl(t, nil, append(args, "-passin", "pass:secret", "-passout", "pass:new")...), "new")
	if err != nil {
		t.Fatal(err)
	}
	usable(t, cert, 1)
}
