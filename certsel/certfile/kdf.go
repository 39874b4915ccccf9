package certfile

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/scrypt"
)

// secret is a password in the two forms in which algorithms take it.
type secret struct {
	utf8 string // PKCS #5
	bmp  []byte // PKCS #12: UTF-16 with a terminating zero
}

// secrets lists the forms in which programs have used a password. No password
// is the empty string to some and no bytes at all to others. Old versions of
// OpenSSL take each byte for a character.
func secrets(password string) []secret {
	list := []secret{{password, bmpString([]rune(password))}}
	if password == "" {
		return append(list, secret{})
	}
	var chars []rune
	ascii := true
	for _, b := range []byte(password) {
		chars = append(chars, rune(b))
		ascii = ascii && b < 0x80
	}
	if !ascii {
		list = append(list, secret{password, bmpString(chars)})
	}
	return list
}

func bmpString(chars []rune) []byte {
	units := utf16.Encode(chars)
	out := make([]byte, 0, 2*len(units)+2)
	for _, unit := range append(units, 0) {
		out = append(out, byte(unit>>8), byte(unit))
	}
	return out
}

// Purposes of keys derived by pkcs12Key (RFC 7292 appendix B.3).
const (
	keyForCipher = 1
	keyForIV     = 2
	keyForMAC    = 3
)

// pkcs12Key derives a key as RFC 7292 appendix B.2 says.
func pkcs12Key(newHash func() hash.Hash, purpose byte, bmp, salt []byte, iterations int64, size int, w *work) ([]byte, error) {
	h := newHash()
	blocks := (size + h.Size() - 1) / h.Size()
	if err := w.spend(iterations, blocks*hashCost(h)); err != nil {
		return nil, err
	}
	width := h.BlockSize()
	diversifier := fill([]byte{purpose}, width)
	input := append(fill(salt, width), fill(bmp, width)...)
	key := make([]byte, 0, blocks*h.Size())
	sum := make([]byte, 0, h.Size())
	for {
		h.Reset()
		h.Write(diversifier)
		h.Write(input)
		sum = h.Sum(sum[:0])
		for range iterations - 1 {
			h.Reset()
			h.Write(sum)
			sum = h.Sum(sum[:0])
		}
		if key = append(key, sum...); len(key) >= size {
			return key[:size], nil
		}
		addToBlocks(input, fill(sum, width)[:width])
	}
}

// fill repeats a pattern up to a multiple of width.
func fill(pattern []byte, width int) []byte {
	out := make([]byte, (len(pattern)+width-1)/width*width)
	for i := range out {
		out[i] = pattern[i%len(pattern)]
	}
	return out
}

// addToBlocks adds a big-endian number and one to each block of its width.
func addToBlocks(blocks, number []byte) {
	width := len(number)
	for ; len(blocks) >= width; blocks = blocks[width:] {
		carry := 1
		for i := width - 1; i >= 0; i-- {
			carry += int(blocks[i]) + int(number[i])
			blocks[i] = byte(carry)
			carry >>= 8
		}
	}
}

// digests are the hashes of PKCS #12 MACs.
var digests = map[string]func() hash.Hash{
	"1.3.14.3.2.26":          sha1.New,
	"2.16.840.1.101.3.4.2.1": sha256.New,
	"2.16.840.1.101.3.4.2.2": sha512.New384,
	"2.16.840.1.101.3.4.2.3": sha512.New,
	"2.16.840.1.101.3.4.2.4": sha256.New224,
}

// hmacs are the pseudo-random functions of PBKDF2 and PBMAC1.
var hmacs = map[string]func() hash.Hash{
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

const (
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	oidScrypt = "1.3.6.1.4.1.11591.4.11"
)

// pkcs5Key derives a key with PBKDF2 or scrypt. If the parameters name a key
// length, it must be the given size, unless that is 0.
func pkcs5Key(kdf algorithm, password string, size int, w *work) ([]byte, error) {
	switch kdf.oid {
	case oidPBKDF2:
		return pbkdf2Key(kdf.params, password, size, w)
	case oidScrypt:
		return scryptKey(kdf.params, password, size, w)
	default:
		return nil, kdf.unsupported("key derivation")
	}
}

func pbkdf2Key(params cryptobyte.String, password string, size int, w *work) ([]byte, error) {
	var (
		seq, salt  cryptobyte.String
		iterations int64
	)
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&salt, asn1.OCTET_STRING) || !seq.ReadASN1Integer(&iterations) {
		return nil, damaged("the key derivation")
	}
	size, ok := readKeyLength(&seq, size)
	if !ok {
		return nil, damaged("the length of a derived key")
	}
	newHash := sha1.New
	if !seq.Empty() {
		prf, ok := readAlgorithm(&seq)
		if !ok {
			return nil, damaged("the key derivation")
		}
		if newHash = hmacs[prf.oid]; newHash == nil {
			return nil, prf.unsupported("pseudo-random function")
		}
	}
	h := newHash()
	blocks := (size + h.Size() - 1) / h.Size()
	if err := w.spend(iterations, 2*blocks*hashCost(h)); err != nil {
		return nil, err
	}
	return pbkdf2.Key(newHash, password, salt, int(iterations), size)
}

// Lengths that a derived key may have (RFC 9579 section 6 and its security
// considerations): short MAC keys could be guessed.
const minMACKey, maxMACKey = 20, 64

// readKeyLength reads the length of a derived key, which must be size; if size
// is 0, it must be there.
func readKeyLength(s *cryptobyte.String, size int) (int, bool) {
	length := size
	if s.PeekASN1Tag(asn1.INTEGER) && !s.ReadASN1Integer(&length) {
		return 0, false
	}
	if size == 0 {
		return length, length >= minMACKey && length <= maxMACKey
	}
	return size, length == size
}

// maxScryptMemory is twice what OpenSSL allows itself for scrypt.
const maxScryptMemory = 64 << 20

func scryptKey(params cryptobyte.String, password string, size int, w *work) ([]byte, error) {
	var (
		seq, salt cryptobyte.String
		n, r, p   int64
	)
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&salt, asn1.OCTET_STRING) ||
		!seq.ReadASN1Integer(&n) || !seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&p) {
		return nil, damaged("the key derivation")
	}
	size, ok := readKeyLength(&seq, size)
	if !ok {
		return nil, damaged("the length of a derived key")
	}
	const most = maxScryptMemory / 128
	if n > most || r > most || p > most || (n+p)*r > most {
		return nil, fmt.Errorf("its scrypt parameters need more than %d MiB of memory", maxScryptMemory>>20)
	}
	if n < 2 || n&(n-1) != 0 || r < 1 || p < 1 {
		return nil, damaged("the key derivation")
	}
	if err := w.spend(n*r, 2*int(p)); err != nil {
		return nil, err
	}
	return scrypt.Key([]byte(password), salt, int(n), int(r), int(p), size)
}
