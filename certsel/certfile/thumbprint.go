package certfile

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
)

// Thumbprint returns the SHA-1 thumbprint of a DER certificate in the form
// that Windows uses in scripts: 40 upper-case hexadecimal digits.
func Thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// ParseThumbprint returns a thumbprint in the form of Thumbprint. Case is
// ignored, and so are blanks, colons and the invisible characters that copying
// from the certificate dialog of Windows brings along. No thumbprint remains
// none.
func ParseThumbprint(s string) (string, error) {
	digits := strings.Map(func(r rune) rune {
		if r == ':' || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, s)
	if digits == "" && s == "" {
		return "", nil
	}
	if sum, err := hex.DecodeString(digits); err != nil || len(sum) != sha1.Size {
		return "", fmt.Errorf("thumbprint %q: expected the SHA-1 thumbprint of a certificate, 40 hexadecimal digits", s)
	}
	return digits, nil
}
