package jsondoc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestCheckNames: what is refused is named, with the way out; below the fields that are named
// any names and values may be, and no field twice.
func TestCheckNames(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":1,"server_bindings":[":80:a"],"site_vars":{"a":"null","b":"\"c\""}}`:     "",
		`{"routes":[{"handle":[{"Handler":"x","body":null}]}],"name":"{\"name\":null"}`: "",
		`[{"name":"a"},{"name":"b","more":{"name":"c"}}]`:                               "",
		"{\"name\":\"a\"}\n{\"name\":\"b\"}":                                            "",
		`{"ServerBindings":[]}`:                                                         `"ServerBindings" is no field: names are in lower case, such as "server_bindings"`,
		`{"a":{"Site-Name":1}}`:                                                         `"Site-Name" is no field: names are in lower case`,
		`{"name":"a","id":1,"name":"b"}`:                                                `"name" is there twice: remove one of them`,
		`{"name":"a","id":{"name":1},"n\u0061me":"b"}`:                                  `"name" is there twice: remove one of them`,
		`{"routes":[{"X":1,"Y":[{"X":1}],"X":2}]}`:                                      `"X" is there twice: remove one of them`,
		`{"name":"a" , "require_ssl" : null }`:                                          `"require_ssl" is null, which is nothing: leave it out, or give it a value`,
		`{"bindings":["a",null]}`:                                                       `"bindings" is null, which is nothing: leave it out, or give it a value`,
		`{"a":{"routes":{"b":null}}}`:                                                   `"b" is null, which is nothing: leave it out, or give it a value`,
		`{"routes":null}`:                                                               `"routes" is null, which is nothing: leave it out, or give it a value`,
	} {
		if got := fmt.Sprint(CheckNames([]byte(text), "routes")); got != want && (want != "" || got != "<nil>") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestCheckManyNames: names of an object are compared, however many they are, and it does not
// take the square of their number: that would be many minutes here.
func TestCheckManyNames(t *testing.T) {
	for _, n := range []int{fewNames - 1, fewNames, fewNames + 1, 300_000} {
		var text strings.Builder
		text.WriteString(`{"a":{`)
		for i := range n {
			fmt.Fprintf(&text, `"n%d":{"n":1},`, i)
		}
		for last, want := range map[string]string{
			`"n":1}}`:          "<nil>",
			`"n0":1}}`:         `"n0" is there twice: remove one of them`,
			`"n":1},"a":null}`: `"a" is there twice: remove one of them`,
		} {
			if got := fmt.Sprint(CheckNames([]byte(text.String() + last))); got != want {
				t.Errorf("%d names and %s: %s, want %s", n, last, got, want)
			}
		}
	}
}

// FuzzCheckNames: of objects it refuses what the decoder of documents refuses, and it ends
// with whatever is no JSON.
func FuzzCheckNames(f *testing.F) {
	f.Add(`{"a":{"b":[1,{"c":"\\"}]},"routes":{"B":1}}`)
	f.Add(`{"a`)
	f.Add(`{"\`)
	f.Add(`]"`)
	f.Fuzz(func(t *testing.T, text string) {
		got := CheckSiteNames([]byte(text))
		if !json.Valid([]byte(text)) || !strings.HasPrefix(strings.TrimSpace(text), "{") || strings.Contains(text, "null") {
			return
		}
		_, want := newOnceDecoder([]byte(text), maxAnyDepth).only(false)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, the decoder says %v", text, got, want)
		}
	})
}

func BenchmarkCheckNames(b *testing.B) {
	line := []byte(`{"id":1000,"name":"Shop of customer 1000","server_bindings":[":80:www.customer1000.example.com",":80:customer1000.example.com"],"secure_bindings":[":443:www.customer1000.example.com"],"certificate":"wildcard","site_vars":{"root":"/srv/customers/1000"}}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckSiteNames(line); err != nil {
			b.Fatal(err)
		}
	}
}
