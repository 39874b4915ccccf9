package sites

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Canonical brings a JSON object into the form in which documents are compared, which is
// the same whatever has kept them: keys sorted, no space, and each number written in the one
// way that has no exponent and no zeros that say nothing. A database may write 1e2 as 100,
// and take 1.0 for what is there if that is 1.
func Canonical(raw []byte) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	return CanonicalObject(object)
}

// CanonicalObject writes an object in that form. Its numbers are [json.Number].
func CanonicalObject(object map[string]any) (json.RawMessage, error) {
	plain, err := withPlainNumbers(object)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plain); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}

// withPlainNumbers writes the numbers of a value plainly, in place where they are in others.
func withPlainNumbers(value any) (_ any, err error) {
	switch value := value.(type) {
	case json.Number:
		return plainNumber(string(value))
	case map[string]any:
		for key, item := range value {
			if value[key], err = withPlainNumbers(item); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, item := range value {
			if value[i], err = withPlainNumbers(item); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// maxExponent bounds the exponents of numbers, which are written out as zeros: that of a
// number with which programs calculate is about 300.
const maxExponent = 400

var errExponent = errors.New("the exponent of a number is beyond " + strconv.Itoa(maxExponent))

// plainNumber writes a number of JSON without an exponent, and without zeros that say
// nothing.
func plainNumber(text string) (json.Number, error) {
	if !strings.ContainsAny(text, ".eE") && text != "-0" {
		return json.Number(text), nil
	}
	magnitude, negative := strings.CutPrefix(text, "-")
	exponent := 0
	if at := strings.IndexAny(magnitude, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(magnitude[at+1:]); err != nil || max(exponent, -exponent) > maxExponent {
			return "", errExponent
		}
		magnitude = magnitude[:at]
	}
	whole, fraction, _ := strings.Cut(magnitude, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	point := len(digits) - len(fraction) + exponent // so many digits are before it
	digits = strings.TrimRight(digits, "0")
	switch {
	case digits == "":
		return "0", nil
	case point <= 0:
		digits = "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		digits += strings.Repeat("0", point-len(digits))
	default:
		digits = digits[:point] + "." + digits[point:]
	}
	if negative {
		digits = "-" + digits
	}
	return json.Number(digits), nil
}
