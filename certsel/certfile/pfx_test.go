package certfile

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// realFiles are the files of the collection, with what must come out: the
// length of the chain, or a part of the error.
var realFiles = []struct {
	name, password string
	chain          int
	err            string
}{
	{"boringssl-bad1.p12", "", 1, "the file is damaged"},
	{"boringssl-null_password.p12", "", 1, ""},
	{"boringssl-openssl.p12", "foo", 1, ""},
	{"boringssl-unicode_password.p12", "Hello, 世界", 1, ""},
	{"boringssl-windows.p12", "foo", 1, ""},
	{"dotnet-My.pfx", "12345", 1, ""}, // makecert.exe gave it a negative serial number,
	{"dotnet-net-contoso.com.pfx", "testcertificate", 1, ""},
	{"dotnet-net-testservereku.contoso.com.pfx", "testcertificate", 1, ""},
	{"dotnet-test.pfx", "test", 2, ""},
	{"gocrypto-2.p12", "", 1, ""},
	{"java-dropwizard-redis-keystore.p12", "hunter2", 1, ""},
	{"rfc9579-a1.p12", "1234", 1, ""},
	{"rfc9579-a4.p12", "1234", 0, "wrong password, or the file is damaged"},
	{"rustcrypto-ValidCertificatePathTest1EE_macos.p12", "password", 1, ""},
	{"rustcrypto-ValidCertificatePathTest1EE_windows_aes.p12.pfx", "password", 1, ""},
	{"rustcrypto-ValidCertificatePathTest1EE_windows_tdes.p12.pfx", "password", 1, ""},
	{"rustcrypto-example15.pfx", "1234", 0, "the file holds no private key, only certificates"},
	{"rustcrypto-example16.pfx", "1234", 0, "the file holds a private key, but no certificate"},
	{"rustcrypto-example7.pfx", "1234", 2, ""},
	{"sslmate-1.p12", "password", 1, ""},
	{"sslmate-4.p12", "", 1, ""},
}

func TestPFXRealFiles(t *testing.T) {
	for _, tc := range realFiles {
		t.Run(tc.name, func(t *testing.T) {
			data := fixture(t, tc.name)
			cert, err := PFX(data, Options{Password: tc.password})
			if tc.err != "" {
				wantError(t, err, tc.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			usable(t, cert, tc.chain)

			got, err := PFX(data, Options{Password: tc.password, Thumbprint: spaced(Thumbprint(cert.Leaf.Raw))})
			if err != nil || !got.Leaf.Equal(cert.Leaf) {
				t.Errorf("by thumbprint: %v", err)
			}
			_, err = PFX(data, Options{Password: "not the password"})
			wantError(t, err, "wrong password")
			if !errors.Is(err, ErrPassword) {
				t.Errorf("%v is not ErrPassword", err)
			}
			if tc.password != "" {
				_, err = PFX(data, Options{})
				wantError(t, err, "none is given")
			}
		})
	}
}

// spaced writes a thumbprint as Windows shows it.
func spaced(thumbprint string) string {
	out := "\u200e"
	for i := 0; i < len(thumbprint); i += 2 {
		out += strings.ToLower(thumbprint[i:i+2]) + " "
	}
	return out
}

// wantError fails unless an error says something.
func wantError(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one with %q", err, part)
	}
}

// usable fails unless a certificate is fit for TLS.
func usable(t testing.TB, cert *tls.Certificate, chain int) {
	t.Helper()
	if cert.Leaf == nil || !bytes.Equal(cert.Leaf.Raw, cert.Certificate[0]) {
		t.Fatal("the leaf is not parsed, or not the first certificate")
	}
	if !belongs(cert.PrivateKey.(crypto.Signer), cert.Leaf) {
		t.Fatal("the private key is not the leaf's")
	}
	if len(cert.Certificate) != chain {
		t.Errorf("chain of %d, want %d", len(cert.Certificate), chain)
	}
	for i := 1; i < len(cert.Certificate); i++ {
		child, err := x509.ParseCertificate(cert.Certificate[i-1])
		if err != nil {
			t.Fatal(err)
		}
		parent, err := x509.ParseCertificate(cert.Certificate[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := child.CheckSignatureFrom(parent); err != nil && !errors.As(err, new(x509.InsecureAlgorithmError)) {
			t.Errorf("certificate %d did not issue the one before it: %v", i, err)
		}
	}
}

// TestPFXAgainstOpenSSL compares private keys and certificates with what
// OpenSSL makes of the files.
func TestPFXAgainstOpenSSL(t *testing.T) {
	for _, tc := range realFiles {
		if tc.err != "" || strings.HasPrefix(tc.name, "rfc9579") { // older versions of OpenSSL do not know RFC 9579
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			data := fixture(t, tc.name)
			cert, err := PFX(data, Options{Password: tc.password})
			if err != nil {
				t.Fatal(err)
			}
			compareWithOpenSSL(t, data, tc.password, cert)
		})
	}
}

func compareWithOpenSSL(t *testing.T, data []byte, password string, cert *tls.Certificate) {
	t.Helper()
	text := openssl(t, data, "pkcs12", "-legacy", "-nodes", "-passin", "pass:"+password)
	certs := make(map[string]bool)
	var key any
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			certs[string(block.Bytes)] = true
		case "PRIVATE KEY":
			var err error
			if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, der := range cert.Certificate {
		if !certs[string(der)] {
			t.Error("a certificate that OpenSSL does not find")
		}
	}
	if k, ok := key.(interface{ Equal(crypto.PrivateKey) bool }); !ok || !k.Equal(cert.PrivateKey) {
		t.Error("another private key than OpenSSL finds")
	}
}

// TestPFXFromOpenSSL opens what OpenSSL writes with many algorithms.
func TestPFXFromOpenSSL(t *testing.T) {
	f := newFamily(t)
	keyFile := writeFile(t, "key.pem", keyPEM(t, f.leaf))
	// The order is such that a chain must be put right.
	input := certPEM(f.leaf, f.root, f.inter)
	for _, args := range []string{
		"",
		"-legacy",
		"-descert -legacy",
		"-keypbe NONE -certpbe NONE",
		"-keypbe NONE -certpbe NONE -nomac",
		"-nomac",
		"-nomaciter -noiter -legacy",
		"-iter 300000",
		"-certpbe AES-128-CBC -keypbe AES-192-CBC -macalg sha1",
		"-certpbe DES-EDE3-CBC -keypbe AES-256-CBC -macalg sha224",
		"-certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-2DES -macalg sha384 -legacy",
		"-certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES -macalg sha512 -legacy",
	} {
		for _, password := range []string{"secret", "", "pässwörd 世界 🔑"} {
			t.Run(args+" "+password, func(t *testing.T) {
				export := append([]string{"pkcs12", "-export", "-inkey", keyFile, "-passout", "pass:" + password}, strings.Fields(args)...)
				data := openssl(t, input, export...)
				cert, err := PFX(data, Options{Password: password})
				if err != nil {
					t.Fatal(err)
				}
				usable(t, cert, 2)
				if _, err = PFX(data, Options{Password: "wrong"}); err == nil != strings.Contains(args, "NONE -nomac") {
					t.Errorf("with a wrong password: %v", err)
				}
			})
		}
	}
}

func TestPFXUnsupported(t *testing.T) {
	f := newFamily(t)
	keyFile := writeFile(t, "key.pem", keyPEM(t, f.leaf))
	for args, want := range map[string]string{
		"-keypbe PBE-SHA1-RC4-128 -legacy": "unsupported encryption: PBE-SHA1-RC4-128 (1.2.840.113549.1.12.1.1)",
		"-macalg md5 -legacy":              "unsupported MAC: MD5 (1.2.840.113549.2.5)",
		"-certpbe CAMELLIA-256-CBC":        "unsupported encryption: Camellia-256-CBC",
		"-macalg sha3-256":                 "unsupported MAC: SHA3-256",
	} {
		export := append([]string{"pkcs12", "-export", "-inkey", keyFile, "-passout", "pass:secret"}, strings.Fields(args)...)
		_, err := PFX(openssl(t, certPEM(f.leaf), export...), Options{Password: "secret"})
		wantError(t, err, want)
	}
}

// TestPFXAsTheLibraryWritesIt opens the files of all encoders of go-pkcs12.
func TestPFXAsTheLibraryWritesIt(t *testing.T) {
	f := newFamily(t)
	cas := []*x509.Certificate{f.root.cert, f.inter.cert}
	for name, encoder := range map[string]*pkcs12.Encoder{
		"LegacyRC2":  pkcs12.LegacyRC2,
		"LegacyDES":  pkcs12.LegacyDES,
		"Modern2023": pkcs12.Modern2023,
		"Modern2026": pkcs12.Modern2026,
	} {
		for _, password := range []string{"", "secret", "Ünïcode 世界"} {
			data, err := encoder.Encode(f.leaf.key, f.leaf.cert, cas, password)
			if err != nil {
				t.Fatal(err)
			}
			for form, data := range map[string][]byte{"DER": data, "BER": toBER(data), "followed by more": append(data, "\n\n"...)} {
				cert, err := PFX(data, Options{Password: password})
				if err != nil {
					t.Errorf("%s with %q in %s: %v", name, password, form, err)
					continue
				}
				usable(t, cert, 2)
			}
		}
	}
}

func TestPFXInBER(t *testing.T) {
	f := newFamily(t)
	entries := sequence(plainKeyBag(t, f.leaf, ""), certBag(f.leaf, ""), certBag(f.inter, ""))
	safe := sequence(sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(toBER(entries)))))
	data := sequence(number(3), sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(toBER(safe)))))
	cert, err := PFX(toBER(data), Options{})
	if err != nil {
		t.Fatal(err)
	}
	usable(t, cert, 2)
	for i := range data {
		if _, err := PFX(toBER(data)[:i], Options{}); err == nil {
			t.Fatalf("%d bytes of the file open", i)
		}
	}
}

func TestPFXChoice(t *testing.T) {
	f := newFamily(t)
	other := issue(t, "other.example.com", f.inter, newKey(t), year)
	renewed := issue(t, "www.example.com", f.inter, f.leaf.key, 2*year)
	stray := issue(t, "stray.example.com", nil, newKey(t), year)
	thumb := func(id *identity) string { return Thumbprint(id.cert.Raw) }
	key := func(id *identity, local string) []byte { return plainKeyBag(t, id, local) }

	for _, tc := range []struct {
		name       string
		entries    [][]byte
		thumbprint string
		want       *identity
		err        string
	}{
		{"nothing", nil, "", nil, "neither a certificate nor a private key"},
		{"no key", [][]byte{certBag(f.leaf, "")}, "", nil, "holds no private key"},
		{"no certificate", [][]byte{key(f.leaf, "")}, "", nil, "but no certificate"},
		{"another key", [][]byte{key(other, ""), certBag(f.leaf, "")}, "", nil, "does not match any certificate"},
		{"leaf last", [][]byte{certBag(f.root, ""), certBag(f.inter, ""), key(f.leaf, ""), certBag(f.leaf, "")}, "", f.leaf, ""},
		{"twice the same", [][]byte{certBag(f.leaf, ""), certBag(f.leaf, "1"), key(f.leaf, "1"), key(f.leaf, "1")}, "", f.leaf, ""},
		{"renewed", [][]byte{certBag(f.leaf, ""), certBag(renewed, ""), key(f.leaf, "")}, "", renewed, ""},
		{"renewed, named", [][]byte{certBag(renewed, ""), certBag(f.leaf, "1"), key(f.leaf, "1")}, "", f.leaf, ""},
		{"renewed, thumbprint", [][]byte{certBag(renewed, "1"), certBag(f.leaf, ""), key(f.leaf, "1")}, thumb(f.leaf), f.leaf, ""},
		{
			"several, named",
			[][]byte{key(f.leaf, "1"), key(other, "2"), certBag(f.leaf, "1"), certBag(other, "2")},
			"", nil,
			"by its thumbprint: " + thumb(f.leaf) + ` ("www.example.com", until ` + f.leaf.cert.NotAfter.Format("2006-01-02") + "), " + thumb(other),
		},
		{"several, unnamed", [][]byte{key(f.leaf, ""), key(other, ""), certBag(f.leaf, ""), certBag(other, "")}, "", nil, thumb(other)},
		{"several, wrongly named", [][]byte{key(f.leaf, "2"), key(other, "1"), certBag(f.leaf, "1"), certBag(other, "2")}, thumb(other), other, ""},
		{"several, first", [][]byte{key(f.leaf, "1"), key(other, "2"), certBag(f.leaf, "1"), certBag(other, "2")}, thumb(f.leaf), f.leaf, ""},
		{"several, second", [][]byte{key(f.leaf, ""), key(other, ""), certBag(f.leaf, ""), certBag(other, "")}, thumb(other), other, ""},
		{"one of two keys has a certificate", [][]byte{key(stray, ""), key(other, ""), certBag(other, "")}, "", other, ""},
		{"self-signed", [][]byte{key(stray, ""), certBag(stray, ""), certBag(f.root, "")}, "", stray, ""},
		{"thumbprint not there", [][]byte{key(f.leaf, ""), certBag(f.leaf, "")}, thumb(other), nil, "no certificate with the thumbprint " + thumb(other) + ", only: " + thumb(f.leaf)},
		{"thumbprint of an issuer", [][]byte{key(f.leaf, ""), certBag(f.leaf, ""), certBag(f.inter, "")}, thumb(f.inter), nil, "no private key for the certificate"},
		{"bad thumbprint", [][]byte{key(f.leaf, ""), certBag(f.leaf, "")}, "12 34", nil, "40 hexadecimal digits"},
		{"entries in entries", [][]byte{bag(oidSafeContentsBag, sequence(key(f.leaf, ""), certBag(f.leaf, "")), "")}, "", f.leaf, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, err := PFX(makePFX(dataInfo(tc.entries...)), Options{Thumbprint: tc.thumbprint})
			if tc.err != "" {
				wantError(t, err, tc.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !cert.Leaf.Equal(tc.want.cert) {
				t.Errorf("got %s until %s", cert.Leaf.Subject, cert.Leaf.NotAfter)
			}
			usable(t, cert, len(cert.Certificate))
		})
	}
}

func TestPFXNotOne(t *testing.T) {
	f := newFamily(t)
	good := makePFX(dataInfo(plainKeyBag(t, f.leaf, ""), certBag(f.leaf, "")))
	key := sequence(number(0), sequence(objectID("1.2.840.10040.4.1")), octets(nil))
	for _, tc := range []struct {
		name, err string
		data      []byte
	}{
		{"empty", "the file is empty", nil},
		{"PEM", "use the certificate source pem", certPEM(f.leaf)},
		{"base64", "decode it first", []byte("MIIKYgIBAzCCChgGCSqGSIb3DQEHAaCCCgkEggoFMIIKATCCBMwGCSqGSIb3")},
		{"encoded", "decode it first", []byte(base64.StdEncoding.EncodeToString(good))},
		{"cut off", fmt.Sprintf("ends after 100 of %d bytes", len(good)), good[:100]},
		{"text", "the file is damaged", []byte("hello")},
		{"certificate", "not a PFX file", f.leaf.cert.Raw},
		{"signed", "by a signature instead of a password", sequence(number(3), sequence(objectID(oidSignedData), tagged(contextTag0.Constructed(), octets(nil))))},
		{"enveloped", "with a public key instead of a password", makePFX(sequence(objectID(oidEnvelopedData), tagged(contextTag0.Constructed(), sequence())))},
		{"large", "larger than 4 MiB", make([]byte, MaxFileSize+1)},
		{"DSA", "unsupported private key: DSA", makePFX(dataInfo(bag(oidKeyBag, key, ""), certBag(f.leaf, "")))},
		{"broken certificate", "certificate " + Thumbprint([]byte("0\x00")), makePFX(dataInfo(plainKeyBag(t, f.leaf, ""),
			bag(oidCertBag, sequence(objectID(oidX509Certificate), tagged(contextTag0.Constructed(), octets([]byte("0\x00")))), "")))},
		{"large key", "larger than RSA with 16384 bits", makePFX(dataInfo(bag(oidKeyBag, sequence(octets(make([]byte, 20_000))), ""), certBag(f.leaf, "")))},
		{"deep", "the file is damaged", bytes.Repeat([]byte{0x30, 0x80}, 100_000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := PFX(tc.data, Options{})
			wantError(t, err, tc.err)
		})
	}
}

// encrypt encrypts with 3DES. It says that the key took more iterations than
// it did if they are too many for a test.
func encrypt(t testing.TB, plain []byte, password string, iterations int64) (alg, data []byte) {
	t.Helper()
	salt, w, bmp := []byte("saltsalt"), &work{left: maxWork}, secrets(password)[0].bmp
	taken := min(iterations, 200_000)
	key, err1 := pkcs12Key(sha1.New, keyForCipher, bmp, salt, taken, 24, w)
	iv, err2 := pkcs12Key(sha1.New, keyForIV, bmp, salt, taken, 8, w)
	block, err3 := des.NewTripleDESCipher(key)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	padding := 8 - len(plain)%8
	data = append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)
	return sequence(objectID("1.2.840.113549.1.12.1.3"), sequence(octets(salt), number(iterations))), data
}

func shroudedKeyBag(t testing.TB, id *identity, password, localKeyID string, iterations int64) []byte {
	t.Helper()
	alg, data := encrypt(t, pkcs8(t, id.key), password, iterations)
	return bag(oidShroudedKeyBag, sequence(alg, octets(data)), localKeyID)
}

func encryptedInfo(t testing.TB, password string, iterations int64, entries ...[]byte) []byte {
	t.Helper()
	alg, data := encrypt(t, sequence(entries...), password, iterations)
	return sequence(objectID(oidEncryptedData), tagged(contextTag0.Constructed(),
		sequence(number(0), sequence(objectID(oidData), alg, tagged(contextTag0, data)))))
}

// TestPFXIterations gives files that would keep a core busy for minutes.
func TestPFXIterations(t *testing.T) {
	f := newFamily(t)
	const many = 2_000_000_000
	pbkdf2 := func(iterations, length int64, prf string) []byte {
		var keyLength []byte
		if length != 0 {
			keyLength = number(length)
		}
		return sequence(objectID(oidPBKDF2), sequence(octets([]byte("salt")), number(iterations), keyLength, sequence(objectID(prf))))
	}
	scrypt := func(n, r, p int64) []byte {
		return sequence(objectID(oidScrypt), sequence(octets([]byte("salt")), number(n), number(r), number(p), number(32)))
	}
	pbes2 := func(kdf []byte) []byte {
		alg := sequence(objectID(oidPBES2), sequence(kdf, sequence(objectID("2.16.840.1.101.3.4.1.42"), octets(make([]byte, 16)))))
		return makePFX(dataInfo(bag(oidShroudedKeyBag, sequence(alg, octets(make([]byte, 160))), ""), certBag(f.leaf, "")))
	}
	withMAC := func(alg []byte, iterations int64) []byte {
		mac := sequence(sequence(alg, octets(make([]byte, 20))), octets([]byte("salt")), number(iterations))
		return sequence(number(3), sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(sequence()))), mac)
	}
	pbmac1 := func(kdf []byte) []byte {
		return withMAC(sequence(objectID(oidPBMAC1), sequence(kdf, sequence(objectID("1.2.840.113549.2.9")))), 1)
	}
	sha := sequence(objectID("1.3.14.3.2.26"))
	const hmac512 = "1.2.840.113549.2.11"
	manyKeys := [][]byte{certBag(f.leaf, "")}
	slow := shroudedKeyBag(t, f.root, "", "", 200_000)
	for range maxKeys {
		manyKeys = append(manyKeys, slow)
	}
	for _, tc := range []struct {
		name, err string
		data      []byte
	}{
		{"MAC", "more iterations", withMAC(sha, many)},
		{"MAC, 0", "the number of iterations", withMAC(sha, 0)},
		{"MAC, negative", "the number of iterations", withMAC(sha, -5)},
		{"PBMAC1", "more iterations", pbmac1(pbkdf2(many, 32, hmac512))},
		{"PBMAC1, no length", "the length of a derived key", pbmac1(pbkdf2(1, 0, hmac512))},
		{"PBMAC1, short", "the length of a derived key", pbmac1(pbkdf2(1, 1, hmac512))},
		{"PBMAC1, long", "the length of a derived key", pbmac1(pbkdf2(1, many, hmac512))},
		{"PBMAC1, scrypt", "memory", pbmac1(scrypt(1<<40, 8, 1))},
		{"contents", "more iterations", makePFX(encryptedInfo(t, "", many, certBag(f.leaf, "")))},
		{"key", "more iterations", makePFX(dataInfo(shroudedKeyBag(t, f.leaf, "", "", many), certBag(f.leaf, "")))},
		{"key in encrypted contents", "more iterations", makePFX(encryptedInfo(t, "", 1, shroudedKeyBag(t, f.leaf, "", "", many), certBag(f.leaf, "")))},
		{"many keys", "more iterations", makePFX(dataInfo(manyKeys...))},
		{"too many keys", "more than 1000 certificates or 100 private keys", makePFX(dataInfo(append(manyKeys, slow)...))},
		{"PBKDF2", "more iterations", pbes2(pbkdf2(many, 0, hmac512))},
		{"PBKDF2, length", "the length of a derived key", pbes2(pbkdf2(1, many, hmac512))},
		{"PBKDF2, unknown", "unsupported pseudo-random function: HMAC-SHA512/256", pbes2(pbkdf2(1, 0, "1.2.840.113549.2.13"))},
		{"KDF, unknown", "unsupported key derivation: 1.2.3", pbes2(sequence(objectID("1.2.3")))},
		{"scrypt, memory", "more than 64 MiB", pbes2(scrypt(1<<30, 8, 1))},
		{"scrypt, blocks", "more than 64 MiB", pbes2(scrypt(2, 1<<30, 1))},
		{"scrypt, parallel", "more than 64 MiB", pbes2(scrypt(2, 1, 1<<60))},
		{"scrypt, overflow", "more than 64 MiB", pbes2(scrypt(1<<62, 1<<62, 1<<62))},
		{"scrypt, time", "more iterations", pbes2(scrypt(1<<14, 8, 1000))},
		{"scrypt, n", "the key derivation", pbes2(scrypt(1000, 8, 1))},
		{"scrypt, zero", "the key derivation", pbes2(scrypt(0, 0, 0))},
		{"scrypt, negative", "the key derivation", pbes2(scrypt(-16, -8, -1))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			_, err := PFX(tc.data, Options{})
			wantError(t, err, tc.err)
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestPFXOtherPassword has a key with a password of its own, as Java allows.
func TestPFXOtherPassword(t *testing.T) {
	f := newFamily(t)
	safe := sequence(encryptedInfo(t, "store", 1, certBag(f.leaf, "")), dataInfo(shroudedKeyBag(t, f.leaf, "key", "", 1)))
	m := mac{alg: algorithm{oid: "1.3.14.3.2.26"}, salt: []byte("salt"), iterations: 1}
	digest, err := m.compute(safe, secrets("store")[0], &work{left: maxWork})
	if err != nil {
		t.Fatal(err)
	}
	data := sequence(number(3), sequence(objectID(oidData), tagged(contextTag0.Constructed(), octets(safe))),
		sequence(sequence(sequence(objectID(m.alg.oid), tagged(asn1.NULL)), octets(digest)), octets(m.salt)))
	_, err = PFX(data, Options{Password: "store"})
	wantError(t, err, "another password than the file itself")
	_, err = PFX(data, Options{Password: "key"})
	wantError(t, err, "wrong password")
}

// TestPFXSeveralWithoutDecryption lists certificates of a file with more keys
// than could be decrypted, as a Java key store may have.
func TestPFXSeveralWithoutDecryption(t *testing.T) {
	f := newFamily(t)
	var entries [][]byte
	var last *identity
	slowAlg, _ := encrypt(t, nil, "", 1_000_000)
	for i := range 60 {
		last = issue(t, fmt.Sprintf("site%d.example.com", i), f.inter, newKey(t), year)
		name := fmt.Sprint(i)
		entries = append(entries, certBag(last, name), bag(oidShroudedKeyBag, sequence(slowAlg, octets(pkcs8(t, last.key))), name))
	}
	_, err := PFX(makePFX(dataInfo(entries...)), Options{})
	wantError(t, err, "by its thumbprint")
	wantError(t, err, "and 40 more")
	entries[len(entries)-1] = shroudedKeyBag(t, last, "", "59", 1)
	cert, err := PFX(makePFX(dataInfo(entries...)), Options{Thumbprint: Thumbprint(last.cert.Raw)})
	if err != nil {
		t.Fatal(err)
	}
	usable(t, cert, 1)
}

// TestErrorsKeepSecrets looks for passwords in errors.
func TestErrorsKeepSecrets(t *testing.T) {
	f := newFamily(t)
	const password = "tell-nobody"
	data, err := pkcs12.Modern2023.Encode(f.leaf.key, f.leaf.cert, nil, "another")
	if err != nil {
		t.Fatal(err)
	}
	inputs := [][]byte{data, data[:50], []byte("x"), makePFX(), makePFX(encryptedInfo(t, "another", 1, certBag(f.leaf, "")))}
	for _, data := range inputs {
		_, err := PFX(data, Options{Password: password})
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("error: %v", err)
		}
		_, err = PEM(data, data, password)
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("error: %v", err)
		}
	}
}

func TestThumbprint(t *testing.T) {
	const want = "71CB4E2B02738AD44F8B382C93BD17BA665F9914"
	for _, s := range []string{want, strings.ToLower(want), spaced(want), " \ufeff71:CB:4E:2B:02:73:8A:D4:4F:8B:38:2C:93:BD:17:BA:66:5F:99:14\u200f"} {
		if got, err := ParseThumbprint(s); err != nil || got != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{" ", "71", want + "00", "Z" + want[1:]} {
		if _, err := ParseThumbprint(s); err == nil {
			t.Errorf("%q is a thumbprint", s)
		}
	}
}

// TestPFXEveryByte changes each byte of files that no MAC protects.
func TestPFXEveryByte(t *testing.T) {
	f := newFamily(t)
	plain := makePFX(dataInfo(plainKeyBag(t, f.leaf, "1"), certBag(f.leaf, "1"), certBag(f.inter, "")))
	encrypted := makePFX(dataInfo(shroudedKeyBag(t, f.leaf, "", "1", 1)), encryptedInfo(t, "", 1, certBag(f.leaf, "1")))
	for _, data := range [][]byte{plain, toBER(plain), encrypted, toBER(encrypted)} {
		for i := range data {
			was := data[i]
			for _, b := range []byte{0, 1, 0x7f, 0x80, 0x84, 0xff, was + 1, was ^ constructed, was ^ 0x80} {
				data[i] = b
				if cert, err := PFX(data, Options{}); err == nil {
					sound(t, cert)
				}
			}
			data[i] = was
		}
	}
}
