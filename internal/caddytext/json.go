package caddytext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// quoteJSON writes a value as JSON in backticks. What Caddy would replace in it is written
// as escapes of JSON, so that any value can be written.
func quoteJSON(b *strings.Builder, value any, depth int) error {
	b.WriteByte('`')
	if err := writeJSON(b, value, "\n"+strings.Repeat("\t", depth)); err != nil {
		return err
	}
	b.WriteByte('`')
	return nil
}

func writeJSON(b *strings.Builder, value any, newLine string) error {
	switch value := value.(type) {
	case []any:
		if len(value) == 0 || !slices.ContainsFunc(value, isNested) {
			return writeFlat(b, value)
		}
		b.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(newLine + "\t")
			if err := writeJSON(b, item, newLine+"\t"); err != nil {
				return err
			}
		}
		b.WriteString(newLine + "]")
	case map[string]any:
		if len(value) == 0 {
			b.WriteString("{}")
			return nil
		}
		b.WriteByte('{')
		for i, name := range slices.Sorted(maps.Keys(value)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(newLine + "\t")
			if err := writeScalar(b, name); err != nil {
				return err
			}
			b.WriteString(": ")
			if err := writeJSON(b, value[name], newLine+"\t"); err != nil {
				return err
			}
		}
		b.WriteString(newLine + "}")
	default:
		return writeScalar(b, value)
	}
	return nil
}

func isNested(value any) bool {
	switch value.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

// writeFlat writes a list of texts and numbers in one line.
func writeFlat(b *strings.Builder, list []any) error {
	b.WriteByte('[')
	for i, item := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := writeScalar(b, item); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

var shorthands = httpcaddyfile.NewShorthandReplacer()

func writeScalar(b *strings.Builder, value any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("%v is no value of JSON: %w", value, err)
	}
	encoded := strings.TrimSuffix(out.String(), "\n")
	if text, ok := value.(string); ok && replaced(text) {
		encoded = strings.ReplaceAll(encoded, "{", `\u007b`)
	}
	b.WriteString(strings.ReplaceAll(encoded, "`", `\u0060`))
	return nil
}

// replaced tells whether Caddy puts something else in the place of a text in a site.
func replaced(text string) bool {
	segment := caddyfile.Segment{{Text: text}}
	shorthands.ApplyToSegment(&segment)
	return segment[0].Text != text || strings.Contains(text, EnvVariable)
}
