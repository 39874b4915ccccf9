// Package jsondoc has the rules for JSON that people and programs send: one reading of each
// text, merge patches, and errors in plain words.
package jsondoc

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// MaxDocument bounds a row, and what is sent for one.
const MaxDocument = 64 << 10

// TooLargeError is the error of a document that no row takes.
type TooLargeError struct {
	size   int
	spaced bool // as PostgreSQL prints it
}

// Error implements error.
func (e TooLargeError) Error() string {
	how := ""
	if e.spaced {
		how = " with a space behind each comma and colon"
	}
	return fmt.Sprintf("it has %d bytes%s, and %d are allowed", e.size, how, MaxDocument)
}

// CheckSize refuses a canonical document that no row takes. Whatever keeps it, it is measured
// as PostgreSQL does, which prints it with spaces.
func CheckSize(canonical []byte) error {
	size, quoted := len(canonical), false
	for i := 0; i < len(canonical); i++ {
		switch c := canonical[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && (c == ',' || c == ':'):
			size++
		}
	}
	if size > MaxDocument {
		return TooLargeError{size, true}
	}
	return nil
}

// Canonical brings a document into the form in which rows are compared:
// sorted keys, no space, plain numbers. It refuses what two readers could read differently,
// and what some sources cannot keep.
func Canonical(raw []byte) (json.RawMessage, error) {
	canonical, err := canonicalPatch(raw)
	if err != nil {
		return nil, err
	}
	return canonical, CheckSiteNames(canonical)
}

// canonicalPatch does that with a patch, in which null removes.
func canonicalPatch(raw []byte) (json.RawMessage, error) {
	if len(raw) > MaxDocument {
		return nil, TooLargeError{len(raw), false}
	}
	decoder := newOnceDecoder(raw, maxDepth)
	decoder.isRow = true
	value, err := decoder.only(false)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("a JSON object is expected")
	}
	if _, ok := object["id"]; ok {
		return nil, errors.New("the id is no part of the site: it stands in the path, or beside the site")
	}
	canonical, err := sites.CanonicalObject(object)
	if err != nil {
		return nil, err
	}
	return canonical, CheckSize(canonical)
}

// How deep objects and lists may be in each other: in a row, and in what an administrator
// configures, which encoding/json bounds.
const (
	maxDepth    = 100
	maxAnyDepth = 10000
)

// maxNumber is how many characters a number of a row may have. PostgreSQL takes 16,383
// digits behind a point.
const maxNumber = 1000

// anyNamesBelow are the fields of a document in which names may be any: those of headers
// and placeholders. What stands there is compared with the fields that are known, letter by
// letter.
var anyNamesBelow = []string{"routes", "errors"}

// onceDecoder decodes values in which no key is there twice.
type onceDecoder struct {
	*json.Decoder
	maxDepth int
	isRow    bool // texts and numbers are such as every source can keep: PostgreSQL has no text with U+0000
}

func newOnceDecoder(raw []byte, maxDepth int) onceDecoder {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return onceDecoder{Decoder: decoder, maxDepth: maxDepth}
}

// only decodes the one value that there is.
func (d onceDecoder) only(anyNames bool) (any, error) {
	value, err := d.value(0, anyNames)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the JSON")
	}
	return value, nil
}

func (d onceDecoder) value(depth int, anyNames bool) (any, error) {
	if depth == d.maxDepth {
		return nil, fmt.Errorf("objects and lists are in each other more than %d deep", d.maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, syntaxError(err)
	}
	switch token {
	case json.Delim('{'):
		object := make(map[string]any)
		for d.More() {
			token, err := d.Token()
			if err != nil {
				return nil, syntaxError(err)
			}
			key := token.(string) // nothing else can stand here
			if err := d.keeps(key); err != nil {
				return nil, err
			}
			if _, twice := object[key]; twice {
				return nil, twiceError(key)
			}
			if !anyNames && !isFieldName(key) {
				return nil, noFieldError(key)
			}
			free := anyNames || depth == 0 && slices.Contains(anyNamesBelow, key)
			if object[key], err = d.value(depth+1, free); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return object, syntaxError(err)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			item, err := d.value(depth+1, anyNames)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = d.Token()
		return list, syntaxError(err)
	}
	return token, d.keeps(token)
}

// keeps refuses a text, the name of a field, or a number that a row cannot have.
func (d onceDecoder) keeps(token json.Token) error {
	if number, _ := token.(json.Number); d.isRow && len(number) > maxNumber {
		return fmt.Errorf("a number has %d characters, and %d are allowed", len(number), maxNumber)
	}
	if text, _ := token.(string); d.isRow && strings.ContainsRune(text, 0) {
		return fmt.Errorf("%q has the character U+0000, which no text of a site may have", text)
	}
	return nil
}

func syntaxError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return Plain(err)
}

// Merge applies a patch to a document (RFC 7396).
func Merge(document, patch []byte) ([]byte, error) {
	var target map[string]any
	if err := unmarshalNumbers(document, &target); err != nil {
		return nil, err
	}
	canonical, err := canonicalPatch(patch)
	if err != nil {
		return nil, err
	}
	var changes map[string]any
	if err := unmarshalNumbers(canonical, &changes); err != nil {
		return nil, err
	}
	return sites.CanonicalObject(merged(target, changes)) // also as long as that: json.Marshal writes & as \u0026
}

func merged(target, changes map[string]any) map[string]any {
	if target == nil {
		target = make(map[string]any)
	}
	for key, value := range changes {
		switch value := value.(type) {
		case nil:
			delete(target, key)
		case map[string]any:
			inner, _ := target[key].(map[string]any)
			target[key] = merged(inner, value)
		default:
			target[key] = value
		}
	}
	return target
}

// MergeAny applies a patch to a document as Merge does, whatever names and sizes they have.
func MergeAny(document, patch []byte) ([]byte, error) {
	var target map[string]any
	if err := unmarshalNumbers(document, &target); err != nil {
		return nil, err
	}
	value, err := newOnceDecoder(patch, maxAnyDepth).only(true)
	if err != nil {
		return nil, err
	}
	changes, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New(`expected a JSON object, {"...": ...}`)
	}
	return json.Marshal(merged(target, changes))
}

// Difference is the patch that makes one object into another one, as far as a patch can: it
// removes what is null. Values that are the same stay as they are.
func Difference(from, to map[string]any, same func(a, b any) bool) map[string]any {
	patch := make(map[string]any)
	for key := range from {
		if _, ok := to[key]; !ok {
			patch[key] = nil
		}
	}
	for key, value := range to {
		before, there := from[key]
		outer, isObject := before.(map[string]any)
		inner, isToo := value.(map[string]any)
		switch {
		case there && same(before, value):
		case isObject && isToo:
			patch[key] = Difference(outer, inner, same)
		default:
			patch[key] = value
		}
	}
	return patch
}

// CheckFields refuses what encoding/json would read in its own way: fields that are there
// twice, and names that are not letter by letter those of the fields of what is decoded.
func CheckFields(raw []byte, into any) error {
	value, err := newOnceDecoder(raw, maxAnyDepth).only(true)
	if err != nil {
		return err
	}
	return checkFields(value, reflect.TypeOf(into), "")
}

func checkFields(value any, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil // it has rules of its own
	}
	object, _ := value.(map[string]any)
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		list, _ := value.([]any)
		for i, item := range list {
			if err := checkFields(item, t.Elem(), fmt.Sprintf("%s/%d", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if err := checkFields(object[name], t.Elem(), path+"/"+name); err != nil {
				return err
			}
		}
	case reflect.Struct:
		fields := fieldTypes(t)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			field, known := fields[name]
			if !known {
				return unknownFieldError(strings.TrimPrefix(path, "/"), name, slices.Sorted(maps.Keys(fields)))
			}
			if err := checkFields(object[name], field, path+"/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func unknownFieldError(path, name string, known []string) error {
	err := fmt.Errorf("unknown field %q%s", name, meant(name, known))
	if path != "" {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return err
}

// fieldTypes are the types of the fields of a struct, by their names in JSON.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && name != "-" && (name != "" || !field.Anonymous) {
			fields[cmp.Or(name, field.Name)] = field.Type
		}
	}
	return fields
}

func unmarshalNumbers(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Plain says what is wrong with JSON to people who do not program.
func Plain(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field == "":
		return fmt.Errorf("a JSON object is expected, not %s", withArticle(mismatch.Value))
	case errors.As(err, &mismatch):
		return fmt.Errorf("field %q is %s: expected %s", jsonField(mismatch.Field), withArticle(mismatch.Value), expectation(mismatch.Type))
	case errors.As(err, new(base64.CorruptInputError)):
		return fmt.Errorf("a text is not in base64: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON object does not end on this line")
	case strings.HasSuffix(err.Error(), "in string escape code"):
		return fmt.Errorf(`%w: expected \\ for each backslash of a path`, err)
	case strings.HasSuffix(err.Error(), "looking for beginning of value"):
		return fmt.Errorf(`%w: expected a JSON value, such as {"name": "Shop"}`, err)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// PlainFor is Plain for an error of decoding a value, and guesses which field was meant by
// an unknown one.
func PlainFor(err error, value any) error {
	unknown := unknownField.FindStringSubmatch(err.Error())
	if unknown == nil {
		return Plain(err)
	}
	return fmt.Errorf("unknown field %q%s", unknown[1], meant(unknown[1], fieldsOf(reflect.TypeOf(value), make(map[reflect.Type]bool))))
}

// meant asks which field was meant by an unknown name, or lists what there is.
func meant(name string, known []string) string {
	if ours := namesOfIIS[name]; slices.Contains(known, ours) {
		return fmt.Sprintf(" (did you mean %q?)", ours)
	}
	if hint := near.Hint(name, known); hint != "" {
		return hint
	}
	return ": " + near.Expected(known)
}

// namesOfIIS are the fields by what IIS calls them in its configuration, as far as their
// names are not near.
var namesOfIIS = map[string]string{
	"bindingInformation": "binding", "sslFlags": "flags", "certificateHash": "certificate",
	"serverAutoStart": "autostart", "ServerComment": "name",
}

var unknownField = regexp.MustCompile(`^json: unknown field "([^"]*)"`)

// fieldsOf lists the names that fields of a type and of its parts have in JSON, as far as
// they are of this project.
func fieldsOf(t reflect.Type, seen map[reflect.Type]bool) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldsOf(t.Elem(), seen)
	case reflect.Struct:
	default:
		return nil
	}
	if seen[t] || !strings.Contains(t.PkgPath(), "caddy-iis") {
		return nil
	}
	seen[t] = true
	var names []string
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
		names = append(names, fieldsOf(field.Type, seen)...)
	}
	return names
}

// withArticle names what JSON has, as encoding/json calls it: string, number, number 1.5,
// bool, array or object.
func withArticle(value string) string {
	switch kind, rest, _ := strings.Cut(value, " "); kind {
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "an object"
	default:
		return strings.TrimSpace("a " + kind + " " + rest)
	}
}

// expectation says what a Go type is in JSON.
func expectation(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return expectation(t.Elem())
	case reflect.String:
		return `a text in quotes, "..."`
	case reflect.Bool:
		return "true or false, without quotes"
	case reflect.Slice, reflect.Array:
		switch t.Elem().Kind() {
		case reflect.String:
			return `a list of texts, ["..."]`
		case reflect.Uint8: // as encoding/json has bytes
			return `a text in base64 in quotes, "..."`
		}
		return "a list, [...]"
	case reflect.Map, reflect.Struct:
		return `an object, {"...": ...}`
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return fmt.Sprintf("a whole number from 0 to %d, without quotes", uint64(math.MaxUint64)>>(64-t.Bits()))
	default:
		return "a number, without quotes"
	}
}

// jsonField leaves out of a path what is no field, but a type of this package in
// which fields are defined.
func jsonField(path string) string {
	names := slices.DeleteFunc(strings.Split(path, "."), func(name string) bool {
		return name != "" && 'A' <= name[0] && name[0] <= 'Z'
	})
	return strings.Join(names, ".")
}
