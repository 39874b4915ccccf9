package caddyiis_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// moduleDocs looks at what Caddy's site makes of the comments of modules: a text for the
// module, and one for each field of its JSON, also below it.
type moduleDocs struct {
	*testing.T
	packages map[string]map[string]*ast.TypeSpec // of a folder, by name
	comments map[*ast.TypeSpec]string
	seen     map[reflect.Type]bool
	fields   int
}

const ourModule = "github.com/caddy-iis/caddy-iis"

// folderOf is the folder of a package of this project, and its own.
func folderOf(pkg string) (folder string, ours bool) {
	below, ours := strings.CutPrefix(pkg+"/", ourModule+"/")
	return path.Join(".", below), ours
}

// ownModules are the types of the modules of this project, by the names of the modules.
func ownModules(t *testing.T) map[string]reflect.Type {
	t.Helper()
	modules := make(map[string]reflect.Type)
	for _, id := range caddy.Modules() {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		kind := reflect.TypeOf(info.New())
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		// The modules of tests are in packages whose names end otherwise.
		if folder, ours := folderOf(kind.PkgPath()); ours && folder != "internal/testserver" {
			modules[id] = kind
		}
	}
	return modules
}

// read reads the types of a folder.
func (d *moduleDocs) read(folder string) map[string]*ast.TypeSpec {
	d.Helper()
	if types, ok := d.packages[folder]; ok {
		return types
	}
	types := make(map[string]*ast.TypeSpec)
	d.packages[folder] = types
	files, err := fs.Glob(os.DirFS(folder), "*.go")
	if err != nil {
		d.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Join(folder, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			d.Fatal(err)
		}
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					types[spec.Name.Name] = spec
					d.comments[spec] = general.Doc.Text() + spec.Doc.Text()
				}
			}
		}
	}
	return types
}

// saysDefault is what a comment on a number or a duration says: what it is if nothing is
// written, or that it must be.
var saysDefault = regexp.MustCompile(`(?i)\bdefaults?\b|\brequired\b|\bexactly one\b`)

// check looks at a type and, below it, at those of its fields.
func (d *moduleDocs) check(t reflect.Type, where string) {
	d.Helper()
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		d.check(t.Elem(), where)
		return
	case reflect.Struct:
	default:
		return
	}
	folder, ours := folderOf(t.PkgPath())
	if !ours || d.seen[t] {
		return
	}
	d.seen[t] = true
	name, _, _ := strings.Cut(t.Name(), "[")
	spec := d.read(folder)[name]
	if spec == nil {
		d.Errorf("%s: the type %s is not in %s", where, name, folder)
		return
	}
	if ast.IsExported(name) && !strings.HasPrefix(d.comments[spec], name+" ") {
		d.Errorf("%s: %s.%s has no comment that begins with its name", where, folder, name)
	}
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return // one that is defined by another
	}
	texts := make(map[string]string)
	for _, field := range structure.Fields.List {
		for _, ident := range field.Names {
			texts[ident.Name] = field.Doc.Text() + field.Comment.Text()
		}
	}
	for field := range t.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || key == "-" || key == "" && !field.Anonymous {
			continue
		}
		place := strings.TrimSuffix(where+"."+key, ".")
		if !field.Anonymous {
			d.fields++
			d.checkField(field.Type, texts[field.Name], place+" ("+folder+"."+name+"."+field.Name+")")
		}
		d.check(field.Type, place)
	}
}

// checkField looks at the comment on a field.
func (d *moduleDocs) checkField(t reflect.Type, text, place string) {
	d.Helper()
	if len(strings.Fields(text)) < 2 {
		d.Errorf("%s has no comment", place)
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float64:
		if !saysDefault.MatchString(text) {
			d.Errorf("%s is a number, and its comment says no default: %q", place, text)
		}
	}
	if t == reflect.TypeFor[time.Duration]() {
		d.Errorf("%s is in nanoseconds in JSON: take caddy.Duration", place)
	}
}

// TestModulesAreDocumented: Caddy's site has a text for each module of this project and
// for each field of its JSON; those of numbers and durations say what they are when
// nothing is written.
func TestModulesAreDocumented(t *testing.T) {
	d := &moduleDocs{
		T: t, packages: make(map[string]map[string]*ast.TypeSpec),
		comments: make(map[*ast.TypeSpec]string), seen: make(map[reflect.Type]bool),
	}
	modules := ownModules(t)
	for id, kind := range modules {
		folder, _ := folderOf(kind.PkgPath())
		if text := d.comments[d.read(folder)[kind.Name()]]; len(strings.Fields(text)) < 8 {
			t.Errorf("the module %s says little of itself: %q", id, text)
		}
		d.check(kind, id)
	}
	if len(modules) < 20 || d.fields < 200 {
		t.Errorf("only %d modules with %d fields were found", len(modules), d.fields)
	}
}
