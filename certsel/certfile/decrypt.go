package certfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	encodingasn1 "encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// algorithm is an AlgorithmIdentifier.
type algorithm struct {
	oid    string
	params cryptobyte.String
}

func readAlgorithm(s *cryptobyte.String) (alg algorithm, ok bool) {
	var (
		seq cryptobyte.String
		oid encodingasn1.ObjectIdentifier
	)
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) {
		return algorithm{}, false
	}
	return algorithm{oid.String(), seq}, true
}

// unsupported is the error for an algorithm that cannot be used as kind.
func (a algorithm) unsupported(kind string) error {
	name := a.oid
	if known, ok := algorithmNames[a.oid]; ok {
		name = known + " (" + a.oid + ")"
	}
	return fmt.Errorf("unsupported %s: %s", kind, name)
}

const oidPBES2 = "1.2.840.113549.1.5.13"

// pkcs12Ciphers are the encryption schemes of PKCS #12 with keys by pkcs12Key.
var pkcs12Ciphers = map[string]blockCipher{
	"1.2.840.113549.1.12.1.3": {24, 8, des.NewTripleDESCipher},
	"1.2.840.113549.1.12.1.4": {16, 8, newTwoKeyTripleDES},
	"1.2.840.113549.1.12.1.5": {16, 8, newRC2},
	"1.2.840.113549.1.12.1.6": {5, 8, newRC2},
}

// pkcs5Ciphers are the encryption schemes of PBES2.
var pkcs5Ciphers = map[string]blockCipher{
	"1.2.840.113549.3.7":      {24, 8, des.NewTripleDESCipher},
	"2.16.840.1.101.3.4.1.2":  {16, 16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, 16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, 16, aes.NewCipher},
}

// blockCipher is a cipher for CBC mode.
type blockCipher struct {
	keySize, blockSize int
	create             func(key []byte) (cipher.Block, error)
}

func newTwoKeyTripleDES(key []byte) (cipher.Block, error) {
	return des.NewTripleDESCipher(append(key[:16:16], key[:8]...))
}

// decrypt decrypts what is encrypted with a password. The password is wrong,
// as far as can be told, if what comes out is no DER sequence.
func decrypt(alg algorithm, data []byte, pw secret, w *work) ([]byte, error) {
	var (
		c       blockCipher
		key, iv []byte
		err     error
	)
	if alg.oid == oidPBES2 {
		c, key, iv, err = pbes2(alg.params, pw.utf8, w)
	} else {
		c, key, iv, err = pkcs12PBE(alg, pw.bmp, w)
	}
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || len(data)%c.blockSize != 0 || len(iv) != c.blockSize {
		return nil, damaged("encrypted data")
	}
	block, err := c.create(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := plain[len(plain)-1]
	if padding == 0 || int(padding) > c.blockSize || !bytes.HasSuffix(plain, bytes.Repeat([]byte{padding}, int(padding))) {
		return nil, ErrPassword
	}
	plain = plain[:len(plain)-int(padding)]
	if len(plain) == 0 || plain[0] != byte(asn1.SEQUENCE) {
		return nil, ErrPassword
	}
	return plain, nil
}

func pkcs12PBE(alg algorithm, bmp []byte, w *work) (c blockCipher, key, iv []byte, err error) {
	c, ok := pkcs12Ciphers[alg.oid]
	if !ok {
		return c, nil, nil, alg.unsupported("encryption")
	}
	var (
		seq, salt  cryptobyte.String
		iterations int64
	)
	if !alg.params.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&salt, asn1.OCTET_STRING) || !seq.ReadASN1Integer(&iterations) {
		return c, nil, nil, damaged("the key derivation")
	}
	if key, err = pkcs12Key(sha1.New, keyForCipher, bmp, salt, iterations, c.keySize, w); err != nil {
		return c, nil, nil, err
	}
	iv, err = pkcs12Key(sha1.New, keyForIV, bmp, salt, iterations, c.blockSize, w)
	return c, key, iv, err
}

func pbes2(params cryptobyte.String, password string, w *work) (c blockCipher, key, iv []byte, err error) {
	var seq cryptobyte.String
	if !params.ReadASN1(&seq, asn1.SEQUENCE) {
		return c, nil, nil, damaged("the encryption scheme")
	}
	kdf, ok1 := readAlgorithm(&seq)
	scheme, ok2 := readAlgorithm(&seq)
	if !ok1 || !ok2 {
		return c, nil, nil, damaged("the encryption scheme")
	}
	c, ok := pkcs5Ciphers[scheme.oid]
	if !ok {
		return c, nil, nil, scheme.unsupported("encryption")
	}
	if !scheme.params.ReadASN1Bytes(&iv, asn1.OCTET_STRING) {
		return c, nil, nil, damaged("the encryption scheme")
	}
	key, err = pkcs5Key(kdf, password, c.keySize, w)
	return c, key, iv, err
}

// algorithmNames names algorithms that files in use have and that are not
// supported.
var algorithmNames = map[string]string{
	"1.2.840.113549.1.5.1":      "PBE-MD2-DES",
	"1.2.840.113549.1.5.3":      "PBE-MD5-DES",
	"1.2.840.113549.1.5.4":      "PBE-MD2-RC2-64",
	"1.2.840.113549.1.5.6":      "PBE-MD5-RC2-64",
	"1.2.840.113549.1.5.10":     "PBE-SHA1-DES",
	"1.2.840.113549.1.5.11":     "PBE-SHA1-RC2-64",
	"1.2.840.113549.1.12.1.1":   "PBE-SHA1-RC4-128",
	"1.2.840.113549.1.12.1.2":   "PBE-SHA1-RC4-40",
	"1.2.840.113549.2.5":        "MD5",
	"1.2.840.113549.2.12":       "HMAC-SHA512/224",
	"1.2.840.113549.2.13":       "HMAC-SHA512/256",
	"1.2.840.113549.3.2":        "RC2-CBC",
	"1.2.840.113549.3.4":        "RC4",
	"1.2.840.10040.4.1":         "DSA",
	"1.2.840.10046.2.1":         "Diffie-Hellman",
	"1.2.840.113549.1.1.10":     "RSA-PSS",
	"1.2.156.10197.1.104.2":     "SM4-CBC",
	"1.2.392.200011.61.1.1.1.2": "Camellia-128-CBC",
	"1.2.392.200011.61.1.1.1.4": "Camellia-256-CBC",
	"1.2.410.200004.1.4":        "SEED-CBC",
	"1.2.643.2.2.21":            "GOST 28147-89",
	"1.2.643.7.1.1.1.1":         "GOST R 34.10-2012 (256 bits)",
	"1.2.643.7.1.1.1.2":         "GOST R 34.10-2012 (512 bits)",
	"1.2.643.7.1.1.2.2":         "GOST R 34.11-2012 (256 bits)",
	"1.2.643.7.1.1.2.3":         "GOST R 34.11-2012 (512 bits)",
	"1.3.14.3.2.7":              "DES-CBC",
	"1.3.101.110":               "X25519",
	"1.3.101.111":               "X448",
	"1.3.101.113":               "Ed448",
	"2.16.840.1.101.3.4.1.6":    "AES-128-GCM",
	"2.16.840.1.101.3.4.1.26":   "AES-192-GCM",
	"2.16.840.1.101.3.4.1.46":   "AES-256-GCM",
	"2.16.840.1.101.3.4.2.5":    "SHA-512/224",
	"2.16.840.1.101.3.4.2.6":    "SHA-512/256",
	"2.16.840.1.101.3.4.2.8":    "SHA3-256",
	"2.16.840.1.101.3.4.2.9":    "SHA3-384",
	"2.16.840.1.101.3.4.2.10":   "SHA3-512",
	"2.16.840.1.101.3.4.3.17":   "ML-DSA-44",
	"2.16.840.1.101.3.4.3.18":   "ML-DSA-65",
	"2.16.840.1.101.3.4.3.19":   "ML-DSA-87",
}
