package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/config"
)

// hostileTexts have what Caddy's lexer, its replacements, JSON and this project give a
// meaning.
var hostileTexts = []string{
	"", " ", "{", "}", "{}", "{$HOME}", "{$HOME:x}", "{$", "a{$b", `\{$HOME}`, "{env.HOME}", "{path}", "{query.x}", "{args[0]}", "{block}",
	"import", "(x)", "@x", "@", "*", "/x", "-", "!x", "+x", ">x", "?x", "<x", "~x", "`", `"`, `\`, `\"`, "`\\\"", "a\nb", "a\r\nb", "<<EOF", "<<EOF\nx\nEOF",
	"#x", "a #b", "\x00", "\x1b[31m", "\u0085", "\u2028", "\ufeffx", "münchen", "日本", "off", "json", "iis_json", "a{", "null", "0", "on", "redirect",
}

func hostileText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(hostileTexts), rapid.StringMatching("[{}$\"`\\\\<#@*/ a-c:.?()|^+\\[\\]\n\r\té\u2028-]{0,12}"), rapid.String())
}

// oddValues are what JSON may have where another value is usual.
var oddValues = []string{"null", "{}", "[]", "1.50", "1e30", "-0", "12345678901234567890", "false", "true", `[null]`, `{"a":null}`, `{"":{"{$HOME}":[{"y":null}]}}`, strings.Repeat("[", 300) + strings.Repeat("]", 300)}

// place is a value in JSON, or the name of a field.
type place struct {
	path string
	name bool
	set  func(any)
}

// placesOf are all values below a value of JSON, and the names of fields.
func placesOf(value any, path string) (places []place) {
	switch value := value.(type) {
	case []any:
		for i, item := range value {
			at := fmt.Sprint(path, "/", i)
			places = append(places, place{path: at, set: func(v any) { value[i] = v }})
			places = append(places, placesOf(item, at)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			at := path + "/" + name
			places = append(places, place{path: at, set: func(v any) { value[name] = v }})
			places = append(places, place{path: at, name: true, set: func(v any) {
				item := value[name]
				delete(value, name)
				value[v.(string)] = item
			}})
			places = append(places, placesOf(value[name], at)...)
		}
	}
	return places
}

// decoded is JSON with its numbers as they are written.
func decoded(t rapid.TB, text string) (value any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// adaptFile adapts the Caddyfile of a test or an example.
func adaptFile(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(content), separator)
	raw, err := adapt(input + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// goodApps are apps to begin with: those of the good Caddyfiles of testdata, by their names.
func goodApps(t *testing.T) map[string]string {
	t.Helper()
	t.Setenv("CADDY_IIS_TEST_SITE", "17")
	t.Setenv("CADDY_IIS_TEST_DOMAIN", "example.com")
	files, err := filepath.Glob("testdata/caddyfile/good_*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	apps := make(map[string]string)
	for _, file := range files {
		if app := string(appOf(t, adaptFile(t, file))); app != "{}" {
			apps[filepath.Base(file)] = app
		}
	}
	return apps
}

// filled is a value of a type with something in each field, as far as its JSON says what.
func filled(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`{"text":"x","list":["y"]}`))
	case depth == 0 && kind == reflect.Slice:
		v.Set(reflect.MakeSlice(t, 0, 0))
	case kind == reflect.Pointer && depth == 0:
		v.Set(reflect.New(t.Elem()))
	case depth == 0:
	case kind == reflect.String:
		v.SetString("x")
	case kind == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(2)
	case v.CanUint():
		v.SetUint(2)
	case kind == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem(), depth-1))
	case kind == reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem(), depth-1)))
	case kind == reflect.Map && t.Key().Kind() == reflect.String:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(reflect.ValueOf("7").Convert(t.Key()), filled(t.Elem(), depth-1))
	case kind == reflect.Struct:
		for field := range t.Fields() {
			if field.IsExported() && field.Tag.Get("json") != "-" {
				v.FieldByIndex(field.Index).Set(filled(field.Type, depth-1))
			}
		}
	}
	return v
}

// filledApps are apps with something in each field: of the app itself, and of each module of
// this project that an app may have.
func filledApps(t *testing.T) map[string]string {
	t.Helper()
	apps := make(map[string]string)
	for id, module := range ownModules(t) {
		raw, err := json.Marshal(filled(reflect.PointerTo(module), 7).Interface())
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		for namespace, of := range moduleForms {
			if name, ok := strings.CutPrefix(id, namespace); ok {
				fields := strings.TrimRight(","+strings.TrimSuffix(strings.TrimPrefix(string(raw), "{"), "}"), ",")
				apps[id] = strings.NewReplacer("NAME", name, "FIELDS", fields, "VALUE", string(raw)).Replace(of.form)
			}
		}
	}
	raw, err := json.Marshal(filled(reflect.TypeFor[*config.App](), 7).Interface())
	if err != nil {
		t.Fatal(err)
	}
	apps["iis"] = string(raw)
	return apps
}

// TestConfigOfHostileTexts: whatever texts, names and values a configuration has, as a
// Caddyfile it is the same, unless it has null where no Caddyfile can.
func TestConfigOfHostileTexts(t *testing.T) {
	t.Setenv("HOME", "not what was meant } {")
	apps := goodApps(t)
	maps.Copy(apps, filledApps(t))
	names := slices.Sorted(maps.Keys(apps))
	rapid.Check(t, func(t *rapid.T) {
		value := decoded(t, apps[rapid.SampledFrom(names).Draw(t, "app")])
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			p := rapid.SampledFrom(placesOf(value, "")).Draw(t, "place")
			var set any = hostileText().Draw(t, "text")
			if !p.name && rapid.Bool().Draw(t, "odd") {
				set = decoded(t, rapid.SampledFrom(oddValues).Draw(t, "value"))
			}
			p.set(set)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(raw, new(config.App)) != nil {
			return // no configuration
		}
		_, err = tryRoundTrip(t, fmt.Appendf(nil, `{"apps":{"iis":%s}}`, raw))
		nature, ok := errors.AsType[config.InexpressibleError](err)
		if err != nil && !ok {
			t.Fatal(err)
		}
		if ok && !strings.Contains(string(raw), "null") {
			t.Fatalf("%q is refused as null in %s", nature.Nulls, raw)
		}
	})
}

// TestConfigOfFilled: each app with something in each field is one from which the property
// begins.
func TestConfigOfFilled(t *testing.T) {
	apps := filledApps(t)
	for id, app := range apps {
		roundTrip(t, fmt.Appendf(nil, `{"apps":{"iis":%s}}`, app))
		if !strings.Contains(app, `"x"`) && !slices.Contains([]string{"http.handlers.iis_url", "http.handlers.iis_ready"}, id) {
			t.Errorf("%s has no text: %s", id, app)
		}
	}
}

// moduleForms are how an app has modules, by their namespaces.
var moduleForms = map[string]struct {
	form string // of an app
	name string // the field with the module's name; none if the name is the field itself
}{
	"http.handlers.":    {`{"sites":{"7":{"routes":[{"handle":[{"handler":"NAME"FIELDS}]}]}}}`, "handler"},
	"http.matchers.":    {`{"sites":{"7":{"routes":[{"match":[{"NAME":VALUE}],"handle":[{"handler":"static_response"}]}]}}}`, ""},
	"iis.certificates.": {`{"certificates":{"c":{"source":"NAME"FIELDS}}}`, "source"},
	"iis.stores.":       {`{"stores":{"s":{"store":"NAME"FIELDS}}}`, "store"},
	"iis.sites.":        {`{"sites_from":[{"source":"NAME"FIELDS}]}`, "source"},
}

// withoutWords are fields that no Caddyfile comes to.
var withoutWords = []string{"certsel.PEM/poll", "certsel.PFX/poll", "config.Site/site_vars"}

// TestConfigHasWriters: the app and each module of this project that it may have are in good
// Caddyfiles of testdata with all of their fields, and so in the round trip, and the modules
// are written in words.
func TestConfigHasWriters(t *testing.T) {
	texts := make(map[string]string)
	var apps []any
	for file, app := range goodApps(t) {
		texts[file] = roundTrip(t, fmt.Appendf(nil, `{"apps":{"iis":%s}}`, app)).text
		apps = append(apps, decoded(t, app))
	}
	ofType := make(map[reflect.Type][]any)
	sortByType(reflect.TypeFor[config.App](), apps, ofType)
	modules := 0
	for id, kind := range ownModules(t) {
		for namespace, of := range moduleForms {
			name, ok := strings.CutPrefix(id, namespace)
			if !ok {
				continue
			}
			modules++
			found := modulesIn(apps, of.name, name)
			if len(found) == 0 {
				t.Errorf("%s is in no good Caddyfile of testdata/caddyfile", id)
			}
			sortByType(kind, found, ofType)
			for file, text := range texts {
				if strings.Contains(text, fmt.Sprintf(`"%s": "%s"`, of.name, name)) || strings.Contains(text, `"module": "`) || strings.Contains(text, `"via": "`) {
					t.Errorf("%s: %s is written as JSON:\n%s", file, id, text)
				}
			}
		}
	}
	if modules < 18 {
		t.Errorf("only %d modules", modules)
	}
	for kind, values := range ofType {
		for name := range fieldsOf(kind) {
			has := func(value any) bool { return value.(map[string]any)[name] != nil }
			if !slices.ContainsFunc(values, has) && !slices.Contains(withoutWords, kind.String()+"/"+name) {
				t.Errorf("no good Caddyfile of testdata/caddyfile comes to the field %s of %s", name, kind)
			}
		}
	}
}

// modulesIn are the modules of a name in values of JSON: those that have it in a field, or
// as the name of a field.
func modulesIn(values []any, field, name string) (found []any) {
	for _, value := range values {
		switch value := value.(type) {
		case []any:
			found = append(found, modulesIn(value, field, name)...)
		case map[string]any:
			if inner, ok := value[name]; ok && field == "" {
				found = append(found, inner)
			}
			if field != "" && value[field] == name {
				found = append(found, value)
			}
			found = append(found, modulesIn(slices.Collect(maps.Values(value)), field, name)...)
		}
	}
	return found
}

// sortByType sorts values of JSON, and what they have, by the types of this project that
// they are decoded into.
func sortByType(t reflect.Type, values []any, into map[reflect.Type][]any) {
	for ; t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map; t = t.Elem() {
		if t.Kind() != reflect.Pointer {
			values = itemsOf(values)
		}
	}
	if _, ours := folderOf(t.PkgPath()); !ours || t.Kind() != reflect.Struct {
		return
	}
	into[t] = slices.Clip(into[t]) // a type that nothing is of is known as well
	for _, value := range values {
		if _, ok := value.(map[string]any); ok {
			into[t] = append(into[t], value)
		}
	}
	for name, kind := range fieldsOf(t) {
		var inner []any
		for _, value := range values {
			if object, ok := value.(map[string]any); ok && object[name] != nil {
				inner = append(inner, object[name])
			}
		}
		sortByType(kind, inner, into)
	}
}

// fieldsOf are the fields of a type, by their names in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); field.IsExported() && name != "-" && name != "" {
			fields[name] = field.Type
		}
	}
	return fields
}

// itemsOf are the items of lists and the values of objects.
func itemsOf(values []any) (items []any) {
	for _, value := range values {
		switch value := value.(type) {
		case []any:
			items = append(items, value...)
		case map[string]any:
			items = slices.AppendSeq(items, maps.Values(value))
		}
	}
	return items
}

// TestConfigRefusesNull: what no Caddyfile can say is named, with the way out, and is no fault
// to report.
func TestConfigRefusesNull(t *testing.T) {
	for app, paths := range map[string]string{
		`{"endpoints":{"10.0.0.5:443":null}}`: "endpoints/10.0.0.5:443",
		`{"sites":{"1":null}}`:                "sites/1",
		`{"certificates":{"c":{"source":"pem","files":null,"a":{"b":[{"c":null}],"d":null}}}}`: "certificates/c/a/d, certificates/c/files",
		`{"certificates":{"c":null},"stores":{"s":{"store":"x","y":{"z":null}}}}`:              "certificates/c, stores/s/y/z",
	} {
		code, _, said := configCommand(t, app)
		want := "Error: no Caddyfile can say null, which the configuration has in " + paths + ": remove it there, or keep the configuration as JSON\n"
		if code != 1 || said != want {
			t.Errorf("%s: exit code %d, %s, want %s", app, code, said, want)
		}
	}
}

// TestConfigReadsAsCaddy: of what JSON has twice it writes what Caddy serves.
func TestConfigReadsAsCaddy(t *testing.T) {
	for app, want := range map[string]string{
		`{"sites":{"1":{"name":"one"}},"sites":{"2":{"name":"two"}}}`: `{"sites":{"2":{"name":"two"}}}`,
		`{"drain":1000000000,"drain":2000000000,"log_sni":true}`:      `{"drain":2000000000,"log_sni":true}`,
	} {
		code, out, said := configCommand(t, app)
		if code != 0 || !reflect.DeepEqual(decoded(t, string(appOf(t, []byte(out)))), decoded(t, want)) {
			t.Errorf("%s: exit code %d, %s%s; want %s", app, code, out, said, want)
		}
	}
}

func configCommand(t *testing.T, app string) (code int, out, said string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(file, []byte(`{"apps":{"iis":`+app+`}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = caddyiis.RunCommand(&stdout, &stderr, "config", "--json", "--config", file)
	return code, stdout.String(), stderr.String()
}
