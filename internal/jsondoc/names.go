package jsondoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// isFieldName tells whether a name has the form of those of fields: encoding/json takes Name
// for name as well, and another reader may not.
func isFieldName[T string | []byte](name T) bool {
	for i, n := 0, len(name); i < n; i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(name) > 0
}

func twiceError(name string) error {
	return fmt.Errorf("%q is there twice: remove one of them", name)
}

func noFieldError(name string) error {
	if meant := lowerCase(name); isFieldName(meant) {
		return fmt.Errorf("%q is no field: names are in lower case, such as %q", name, meant)
	}
	return fmt.Errorf("%q is no field: names are in lower case", name)
}

// nullError is for what encoding/json takes for a field that is not there: who wrote it may
// have wanted something else.
func nullError(name string) error {
	return fmt.Errorf("%q is null, which is nothing: leave it out, or give it a value", name)
}

// lowerCase writes the name of a property of IIS or of Go as that of a field, such as
// ServerBindings.
func lowerCase(name string) string {
	var sb strings.Builder
	before := '_'
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			sb.WriteByte('_')
		}
		sb.WriteRune(unicode.ToLower(r))
		before = r
	}
	return sb.String()
}

// level is an object or a list that has begun.
type level struct {
	object, free bool
	objects      int // among these and those around it
	names        int // of those around it
}

// fewNames is how many names of an object are compared with each other as they come. Those of
// an object with more are compared in order when it ends: nobody can make that take long.
const fewNames = 32

// CheckNames refuses in JSON that has been decoded what encoding/json has read in its own way:
// names in another case, fields that are there twice or null. Below the fields anyBelow of
// outermost objects names may be any, and values null. It decodes nothing: there may be very
// many such texts.
func CheckNames(raw []byte, anyBelow ...string) error {
	open := make([]level, 0, 8)
	names := make([][]byte, 0, 16) // of the objects that have begun
	var name []byte                // of the value
	top, isName := level{}, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '{', '[':
			next := level{object: c == '{', free: top.free || top.object && top.objects == 1 && slices.Contains(anyBelow, string(name)), objects: top.objects, names: len(names)}
			if isName = next.object; isName {
				next.objects++
			}
			open, top = append(open, top), next
		case '}', ']':
			if len(open) == 0 {
				return nil // no JSON
			}
			if twice := twiceAmong(names[top.names:]); twice != nil {
				return twiceError(string(twice))
			}
			names, isName = names[:top.names], false
			open, top = open[:len(open)-1], open[len(open)-1]
		case ',':
			isName = top.object
		case ':':
			isName = false
		case 'n':
			if len(open) > 0 && !top.free {
				return nullError(string(name))
			}
			i += len("null") - 1
		case '"':
			text := quoted(raw[i:])
			i += len(text) - 1
			if !isName || len(text) == 1 {
				continue
			}
			if name = text[1 : len(text)-1]; bytes.IndexByte(name, '\\') >= 0 {
				var plain string
				if err := json.Unmarshal(text, &plain); err != nil {
					return err
				}
				name = []byte(plain)
			}
			if len(names)-top.names < fewNames && slices.ContainsFunc(names[top.names:], func(other []byte) bool { return bytes.Equal(name, other) }) {
				return twiceError(string(name))
			}
			if !top.free && !isFieldName(name) {
				return noFieldError(string(name))
			}
			names = append(names, name)
		}
	}
	return nil
}

// twiceAmong finds a name that is there twice among more than fewNames, which it sorts.
func twiceAmong(names [][]byte) []byte {
	if len(names) <= fewNames {
		return nil
	}
	slices.SortFunc(names, bytes.Compare)
	for i, name := range names[1:] {
		if bytes.Equal(name, names[i]) {
			return name
		}
	}
	return nil
}

// CheckSiteNames is CheckNames for a site.
func CheckSiteNames(raw []byte) error { return CheckNames(raw, anyNamesBelow...) }

// quoted is the text in quotes with which JSON begins.
func quoted(raw []byte) []byte {
	for end := 1; end < len(raw); {
		n := bytes.IndexByte(raw[end:], '"')
		if n < 0 {
			break
		}
		backslash := bytes.IndexByte(raw[end:end+n], '\\')
		if backslash < 0 {
			return raw[:end+n+1]
		}
		end += backslash + 2
	}
	return raw
}
