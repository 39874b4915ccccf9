package jsondoc_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
)

// TestMergePatchExamples: those of RFC 7396, appendix A, in which document and patch
// are objects. Other patches would replace a site by something else, and are refused.
func TestMergePatchExamples(t *testing.T) {
	for _, c := range []struct{ document, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		if got, err := jsondoc.Merge([]byte(c.document), []byte(c.patch)); err != nil || string(got) != c.want {
			t.Errorf("%s with %s: got %s, %v, want %s", c.document, c.patch, got, err, c.want)
		}
	}
	large := `{"a":"` + strings.Repeat("&", 60_000) + `"}` // json.Marshal would write six bytes for each
	if merged, err := jsondoc.Merge([]byte(large), []byte(`{"b":1}`)); err != nil || len(merged) > jsondoc.MaxDocument {
		t.Errorf("%d bytes, %v", len(merged), err)
	}
	for _, patch := range []string{`["c"]`, `null`, `"bar"`, `1`, ``, `{"a":1}{}`, `{"a":1,"a":2}`, `{"id":7}`} {
		if got, err := jsondoc.Merge([]byte(`{"a":"foo"}`), []byte(patch)); err == nil {
			t.Errorf("the patch %s: got %s", patch, got)
		}
	}
}

// TestCanonicalDocumentLimits: what would not be read alike, or is too much, is refused.
func TestCanonicalDocumentLimits(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for text, ok := range map[string]bool{
		deep(99): true, deep(100): false, deep(30_000): false,
		`{"a":"` + strings.Repeat("x", 64<<10-9) + `"}`:          true,
		`{"a":"` + strings.Repeat("x", 64<<10-8) + `"}`:          false, // with a space behind the colon, as PostgreSQL prints it
		`{"a":"` + strings.Repeat(`,:\"`, 16<<10-3) + `"}`:       true,  // with those that are in texts
		`{"a":"` + strings.Repeat("x", 64<<10-19) + `\\","b":1}`: true,
		`{"a":"` + strings.Repeat("x", 64<<10-18) + `\\","b":1}`: false,
		`{"a":[` + strings.Repeat("1,", 21_840) + `1]}`:          true,
		`{"a":[` + strings.Repeat("1,", 21_845) + `1]}`:          false,
		`{"a":"` + strings.Repeat("\u2028", 20_000) + `"}`:       false, // written it is longer
		`{"a":1e400}`: true, `{"a":[1e401]}`: false, `{"a":1e-2000000000}`: false,
		`{"a":0.` + strings.Repeat("0", 997) + `1}`: true, `{"a":[0.` + strings.Repeat("0", 998) + `1]}`: false,
		`{"A":1}`: false, `{"a":{"ſ":1}}`: false, `{"":1}`: false,
		`{"a":"x\u0000"}`: false, `{"a":["\u0000"]}`: false, `{"routes":[{"\u0000":1}]}`: false, `{"a":"x\\u0000\u0001"}`: true,
	} {
		if _, err := jsondoc.Canonical([]byte(text)); (err == nil) != ok {
			t.Errorf("%.40s (%d bytes): %v", text, len(text), err)
		}
	}
}

func decodedNumbers(t *testing.T, raw []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return value
}

// sameValue compares numbers by what they are worth.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		x, _ := new(big.Rat).SetString(a.String())
		y, ok := b.(json.Number)
		if !ok || x == nil {
			return false
		}
		z, ok := new(big.Rat).SetString(y.String())
		return ok && x.Cmp(z) == 0
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, sameValue)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	}
	return a == b
}

// FuzzCanonicalDocument: a canonical document says what encoding/json reads in the
// original, is the canonical form of itself, and whatever is not JSON is refused.
func FuzzCanonicalDocument(f *testing.F) {
	for _, seed := range []string{`{}`, `{"b":1.50,"a":[null,true,"<&>\u2028"],"c":{"d":1e400}}`, `{"a":1,"a":2}`, `{"A":1}`, `{"id":1}`, `[]`, `{"a":`, "{\"a\":\"\xff\"}", `{} x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		canonical, err := jsondoc.Canonical(raw)
		if err != nil {
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("%q is no JSON, and is accepted", raw)
		}
		if !sameValue(decodedNumbers(t, canonical), decodedNumbers(t, raw)) {
			t.Errorf("%q became %q", raw, canonical)
		}
		again, err := jsondoc.Canonical(canonical)
		if err != nil || !bytes.Equal(again, canonical) {
			t.Errorf("%q is canonical, and then %q, %v", canonical, again, err)
		}
	})
}

// rfc7396 is the algorithm as section 2 of the RFC writes it.
func rfc7396(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result := make(map[string]any)
	if object, ok := target.(map[string]any); ok {
		maps.Copy(result, object)
	}
	for name, value := range changes {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = rfc7396(result[name], value)
		}
	}
	return result
}

// FuzzMergePatch compares with the algorithm of the RFC.
func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":"c"},"d":[1]}`), []byte(`{"a":{"b":null,"e":{"f":null}},"d":{"g":1}}`))
	f.Add([]byte(`{"a":1}`), []byte(`{"a":{"b":null}}`))
	f.Add([]byte(`{}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		row, err := jsondoc.Canonical(document)
		if err != nil {
			return
		}
		got, err := jsondoc.Merge(row, patch)
		if err != nil {
			return
		}
		if want := rfc7396(decodedNumbers(t, row), decodedNumbers(t, patch)); !reflect.DeepEqual(decodedNumbers(t, got), want) {
			t.Errorf("%s with %s: got %s, want %v", row, patch, got, want)
		}
	})
}

// TestPlain: a message says what is there and what is expected.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		`{"flags":70000}`: `field "flags" is a number 70000: expected a whole number from 0 to 65535, without quotes`,
		`{"flags":-1}`:    `field "flags" is a number -1: expected a whole number from 0 to 65535, without quotes`,
		`{"id":"7"}`:      `field "id" is a text: expected a whole number from 0 to 4294967295, without quotes`,
		`{"big":"7"}`:     `field "big" is a text: expected a whole number from 0 to 18446744073709551615, without quotes`,
		`{"pfx":7}`:       `field "pfx" is a number: expected a text in base64 in quotes, "..."`,
		`{"pfx":"?"}`:     `a text is not in base64: illegal base64 data at input byte 0`,
		`{"names":"x"}`:   `field "names" is a text: expected a list of texts, ["..."]`,
		`7`:               `a JSON object is expected, not a number`,
	} {
		var into struct {
			Flags uint16   `json:"flags"`
			ID    *uint32  `json:"id"`
			Big   uint64   `json:"big"`
			PFX   []byte   `json:"pfx"`
			Names []string `json:"names"`
		}
		err := json.Unmarshal([]byte(text), &into)
		if err == nil {
			t.Errorf("%s is accepted", text)
		} else if got := jsondoc.Plain(err).Error(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestCheckFields: names count letter by letter, at any depth, and are there once.
func TestCheckFields(t *testing.T) {
	type inner struct {
		Name string `json:"name"`
	}
	type outer struct {
		inner
		Named map[string]*inner `json:"named"`
		List  []inner           `json:"list"`
		Free  json.RawMessage   `json:"free"`
		Bare  int
	}
	for text, want := range map[string]string{
		`{"name":"a","named":{"Any":{"name":"b"}},"list":[{"name":"c"}],"free":{"Name":1},"Bare":1}`: "",
		`null`:                         "",
		`{"Name":"a"}`:                 `unknown field "Name" (did you mean "name"?)`,
		`{"named":{"x":{"NAME":"a"}}}`: `named/x: unknown field "NAME" (did you mean "name"?)`,
		`{"list":[{},{"nam":"a"}]}`:    `list/1: unknown field "nam" (did you mean "name"?)`,
		`{"bare":1}`:                   `unknown field "bare" (did you mean "Bare"?)`,
		`{"free":{"a":{"b":1,"b":2}}}`: `"b" is there twice: remove one of them`,
		`{} {}`:                        "there is more behind the JSON",
	} {
		said := ""
		if err := jsondoc.CheckFields([]byte(text), new(outer)); err != nil {
			said = err.Error()
		}
		if said != want {
			t.Errorf("%s: %q, want %q", text, said, want)
		}
	}
}
