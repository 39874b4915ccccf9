package caddytext

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is how a value of JSON stands in a line.
type Kind int

// The kinds of values.
const (
	Value    Kind = iota // word <text>, of a text, a number or true
	List                 // word <texts...>
	Repeated             // word <text>, a line for each
	Flag                 // word
	Duration             // word <duration>
	Size                 // word <bytes>
	Pairs                // word <name> <text>, a line for each
	Entries              // <name> <text>, a line for each, without the word
	Block                // word and a block of fields, of an object
)

// Field is a word of a block, and where JSON has its value.
type Field struct {
	Word, Path string
	Kind       Kind
	Fields     []Field // of a Block
}

// Fields writes what JSON has of some fields, in their order.
func Fields(object map[string]any, fields []Field) (lines []*Line) {
	for _, f := range fields {
		if value, ok := At(object, f.Path); ok {
			lines = append(lines, f.lines(value)...)
		}
	}
	return lines
}

// FieldsOf writes fields of what JSON is made of.
func FieldsOf(value any, fields []Field) []*Line {
	object, err := Object(value)
	if err != nil {
		return nil
	}
	return Fields(object, fields)
}

// Object is a value as JSON has it, with numbers as they are written.
func Object(value any) (object map[string]any, err error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return object, decoder.Decode(&object)
}

// At returns what JSON has at a path: names with dots between them.
func At(object map[string]any, path string) (any, bool) {
	first, rest, deeper := strings.Cut(path, ".")
	value, ok := object[first]
	if !ok || !deeper {
		return value, ok
	}
	inner, _ := value.(map[string]any)
	return At(inner, rest)
}

func (f Field) lines(value any) (lines []*Line) {
	switch f.Kind {
	case Value:
		if text, ok := Word(value); ok {
			return []*Line{New(f.Word, text)}
		}
	case List:
		if list := Texts(value); len(list) > 0 {
			return []*Line{New(append([]string{f.Word}, list...)...)}
		}
	case Repeated:
		for _, text := range Texts(value) {
			lines = append(lines, New(f.Word, text))
		}
	case Flag:
		if on, _ := value.(bool); on {
			return []*Line{New(f.Word)}
		}
	case Duration:
		if d, ok := nanoseconds(value); ok {
			return []*Line{New(f.Word, DurationText(d))}
		}
	case Size:
		if n, ok := nanoseconds(value); ok {
			return []*Line{New(f.Word, SizeText(int64(n)))}
		}
	case Block:
		if object, ok := value.(map[string]any); ok {
			return []*Line{{Words: []string{f.Word}, Block: Fields(object, f.Fields), Open: true}}
		}
	case Pairs, Entries:
		object, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			for _, text := range Texts(object[name]) {
				l := New(name, text)
				if f.Kind == Pairs {
					l = l.Behind(f.Word)
				}
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// Word is a value of JSON as a word.
func Word(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// Texts are the words of a list, or of one text.
func Texts(value any) (texts []string) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, item := range list {
		if text, ok := Word(item); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func nanoseconds(value any) (time.Duration, bool) {
	number, _ := value.(json.Number)
	n, err := number.Int64()
	return time.Duration(n), err == nil
}

// DurationText writes a duration as Caddy reads it, without what is zero at its end: 90s, 1h.
func DurationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// SizeText writes a number of bytes as Caddy reads it: 20MiB, 1500.
func SizeText(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1e9, "GB"}, {1 << 20, "MiB"}, {1e6, "MB"}, {1 << 10, "KiB"}, {1e3, "KB"}} {
		if n > 0 && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}
