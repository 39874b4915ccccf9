package caddyiis_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/inspect"
	"github.com/caddy-iis/caddy-iis/sites"
)

// openAPI is what the tests look at in docs/openapi.json.
type openAPI struct {
	OpenAPI    string                                `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Parameters map[string]openAPIParameter `json:"parameters"`
		Responses  map[string]json.RawMessage  `json:"responses"`
		Schemas    map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
			Required   []string                   `json:"required"`
		} `json:"schemas"`
	} `json:"components"`
}

type openAPIParameter struct {
	Ref  string `json:"$ref"`
	Name string `json:"name"`
	In   string `json:"in"`
}

type openAPIOperation struct {
	Parameters []openAPIParameter         `json:"parameters"`
	Responses  map[string]json.RawMessage `json:"responses"`
}

func readOpenAPI(t *testing.T) (api openAPI, raw []byte) {
	t.Helper()
	raw, err := os.ReadFile("docs/openapi.json")
	if err == nil {
		err = json.Unmarshal(raw, &api)
	}
	if err != nil {
		t.Fatal(err)
	}
	return api, raw
}

// operation decodes what the file says of a method.
func (api *openAPI) operation(t *testing.T, path, method string) (op openAPIOperation) {
	t.Helper()
	if err := json.Unmarshal(api.Paths[path][strings.ToLower(method)], &op); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	for i, p := range op.Parameters {
		if p.Ref != "" {
			op.Parameters[i] = api.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
		}
	}
	return op
}

// TestOpenAPIRoutes: docs/openapi.json has the paths, methods and parameters of the
// code, and no others.
func TestOpenAPIRoutes(t *testing.T) {
	api, raw := readOpenAPI(t)
	if !strings.HasPrefix(api.OpenAPI, "3.1.") {
		t.Errorf("openapi: %q", api.OpenAPI)
	}
	routes := inspect.Methods()
	for path, methods := range api.Paths {
		known := routes[strings.TrimPrefix(path, adminapi.Base)]
		for name := range methods {
			if name != "parameters" && !slices.Contains(known, strings.ToUpper(name)) {
				t.Errorf("%s %s is in the file and not in the code", name, path)
			}
		}
	}
	for path, methods := range routes {
		for _, method := range methods {
			if method != http.MethodHead && api.Paths[adminapi.Base+path][strings.ToLower(method)] == nil {
				t.Errorf("%s %s is in the code and not in the file", method, path)
			}
		}
	}
	for path, want := range inspect.Parameters() {
		var got []string
		for _, p := range api.operation(t, adminapi.Base+path, http.MethodGet).Parameters {
			if p.In == "query" {
				got = append(got, p.Name)
			}
		}
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("GET %s: the file has parameters %v, the code %v", path, got, want)
		}
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(string(raw), -1) {
		_, parameter := api.Components.Parameters[m[2]]
		_, response := api.Components.Responses[m[2]]
		_, schema := api.Components.Schemas[m[2]]
		if !map[string]bool{"parameters": parameter, "responses": response, "schemas": schema}[m[1]] {
			t.Errorf("%s leads nowhere", m[0])
		}
	}
}

// TestOpenAPIAnswers: each documented method answers, with a status that the file has.
func TestOpenAPIAnswers(t *testing.T) {
	api, _ := readOpenAPI(t)
	_, word := keyFile(t)
	l := startLive(t, word, "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	bodies := map[string]string{
		"PUT /iis/sites/{id}": l.site("A2", "a.test"), "PATCH /iis/sites/{id}": `{"name":"A3"}`, "POST /iis/sites": l.site("C", "c.test"),
		"PUT /iis/certificates/{name}": certificateJSON(issue(t, 5, nil, "kept.test")),
		"POST /iis/changes":            `[{"op":"patch","id":11,"site":{"name":"B2"}}]`,
	}
	queries := map[string]string{"GET /iis/explain": "?local=127.0.0.1:1"}
	l.want(201, "PUT", "certificates/kept", bodies["PUT /iis/certificates/{name}"])
	methods := []string{"GET", "PUT", "PATCH", "POST", "DELETE"}
	for _, path := range slices.Sorted(maps.Keys(api.Paths)) {
		for _, method := range methods {
			at := strings.NewReplacer("sources/{name}", "sources/bolt", "{id}", "10", "{name}", "kept", "{revision}", "2").Replace(strings.TrimPrefix(path, adminapi.Base))
			if api.Paths[path][strings.ToLower(method)] == nil {
				if status := l.ask(method, at, "", nil); status != http.StatusMethodNotAllowed {
					t.Errorf("%s %s is not in the file: got %d, want 405", method, path, status)
				}
				continue
			}
			var status int
			if path == "/iis/events" {
				status = l.begins(at)
			} else {
				status = l.ask(method, at+queries[method+" "+path], bodies[method+" "+path], nil)
			}
			if op := api.operation(t, path, method); status >= 300 || op.Responses[strconv.Itoa(status)] == nil {
				t.Errorf("%s %s: %d, which the file does not have among %v", method, path, status, slices.Sorted(maps.Keys(op.Responses)))
			}
		}
	}
}

// begins returns the status of an answer that does not end by itself.
func (l *live) begins(path string) int {
	l.t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + l.AdminAddr() + adminapi.Base + path)
	if err != nil {
		l.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestOpenAPISchemas: the schemas have the fields of the types.
func TestOpenAPISchemas(t *testing.T) {
	api, _ := readOpenAPI(t)
	for name, of := range map[string]any{
		"Change": adminapi.Change{}, "Written": adminapi.Written{}, "WriteError": adminapi.WriteError{}, "OtherSite": adminapi.OtherSite{},
		"Site": adminapi.Site{}, "Serves": adminapi.Serves{}, "Refusal": adminapi.Refusal{}, "Accepted": adminapi.Accepted{}, "Binding": adminapi.Binding{}, "Finding": adminapi.Finding{}, "Source": adminapi.Source{},
		"NewCertificate": adminapi.NewCertificate{}, "Revision": sites.Revision{}, "Logged": sites.Logged{}, "Ready": adminapi.Ready{}, "Event": adminapi.Event{}, "EventChange": adminapi.EventChange{},
		"Endpoint": adminapi.Endpoint{}, "Socket": adminapi.Socket{}, "Default": adminapi.Default{}, "Certificate": adminapi.Certificate{},
		"Leaf": adminapi.Leaf{}, "UsedBy": adminapi.UsedBy{}, "Store": adminapi.Store{}, "Explanation": adminapi.Explanation{},
		"Handshake": adminapi.Handshake{}, "Request": adminapi.Request{}, "Step": adminapi.Step{}, "Problem": adminapi.Problem{},
		"SitePage": adminapi.Page[adminapi.Site]{}, "Document": config.Site{}, "DocumentBinding": config.SiteBinding{},
	} {
		schema := api.Components.Schemas[name]
		fields := jsonFields(reflect.TypeOf(of))
		if name == "Document" {
			for _, elsewhere := range []string{"site_vars"} { // are refused
				delete(fields, elsewhere)
			}
		}
		for field, want := range fields {
			if got := schema.Properties[field]; !strings.HasPrefix(jsonType(got), want.kind) {
				t.Errorf("%s.%s: the type is %s, but the file says %s", name, field, want.kind, got)
			}
		}
		if got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("%s: the file has %v, the type %v", name, got, want)
		}
		for field, known := range fields {
			if known.always != slices.Contains(schema.Required, field) {
				t.Errorf("%s.%s: always there: %v, but the file says otherwise", name, field, known.always)
			}
		}
	}
}

// jsonField is a field of a type as JSON has it.
type jsonField struct {
	always bool   // it is there
	kind   string // empty: any
}

// jsonFields returns the fields of a type by their names.
func jsonFields(of reflect.Type) map[string]jsonField {
	fields := make(map[string]jsonField)
	for f := range of.Fields() {
		tag, ok := f.Tag.Lookup("json")
		switch {
		case tag == "-": // is no field of the JSON
		case ok:
			name, options, _ := strings.Cut(tag, ",")
			fields[name] = jsonField{!strings.Contains(options, "omit"), jsonKind(f.Type)}
		case f.Anonymous:
			maps.Copy(fields, jsonFields(f.Type))
		}
	}
	return fields
}

// jsonKind is how JSON Schema calls what encoding/json makes of a type; bytes are a text in
// base64.
func jsonKind(t reflect.Type) string {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return ""
	}
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string base64"
		}
		return "array"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Int, reflect.Int64:
		return "integer"
	}
	return ""
}

// jsonType is what a schema says of the same.
func jsonType(schema json.RawMessage) string {
	var said struct{ Type, ContentEncoding string }
	_ = json.Unmarshal(schema, &said)
	return strings.TrimSpace(said.Type + " " + said.ContentEncoding)
}
