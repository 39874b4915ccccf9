package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
	"github.com/caddy-iis/caddy-iis/internal/directives"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/many"
)

// Count is how many handlers an app has, and how many of them a Caddyfile has as JSON.
type Count struct{ Handlers, AsJSON int }

// Caddyfile writes the global option iis that adapts to the same app. What no words say is
// in words that take JSON: iis_json, and json. The file is where the Caddyfile will be: file
// servers hide it.
func (a *App) Caddyfile(file string) ([]byte, Count, error) {
	w := newWriter(file)
	lines, err := w.app(a)
	if err != nil {
		return nil, Count{}, err
	}
	text, err := caddytext.Text([]*caddytext.Line{{Words: []string{"iis"}, Block: lines, Open: true}}, 1)
	if err != nil {
		return nil, Count{}, err
	}
	object, err := caddytext.Object(a)
	return []byte("{\n" + text + "}\n"), Count{directives.Count(object), directives.CountJSON(lines)}, err
}

// Differences names the fields in which two apps do not come to the same, as JSON has them.
func (a *App) Differences(other *App, file string) (paths []string) {
	one, err := caddytext.Object(a)
	two, errToo := caddytext.Object(other)
	if err != nil || errToo != nil {
		return []string{"JSON"}
	}
	newWriter(file).differences("", one, two, &paths)
	return paths
}

func (w *writer) differences(path string, a, b map[string]any, paths *[]string) {
	keys := make(map[string]bool)
	for _, object := range []map[string]any{a, b} {
		for key := range object {
			keys[key] = true
		}
	}
	for _, key := range sorted(keys) {
		one, isObject := a[key].(map[string]any)
		two, isToo := b[key].(map[string]any)
		_, has := a[key]
		_, hasToo := b[key]
		switch {
		case has == hasToo && w.same(a[key], b[key]): // null is not nothing
		case isObject && isToo:
			w.differences(path+key+"/", one, two, paths)
		default:
			*paths = append(*paths, path+key)
		}
	}
}

// writer writes parts of an iis block, each once it is sure that Caddy reads it.
type writer struct {
	file   string
	own    string // as file servers hide the file
	bodies map[string][]*caddytext.Line
}

func newWriter(file string) *writer {
	return &writer{file: file, own: hiddenName(file), bodies: make(map[string][]*caddytext.Line)}
}

// hiddenName is the name by which Caddy has file servers hide a Caddyfile.
func hiddenName(file string) string {
	file = filepath.Clean(file)
	if !strings.ContainsRune(file, filepath.Separator) {
		return "." + string(filepath.Separator) + file
	}
	return file
}

// app writes all of an app: its words, and as JSON what they do not say.
func (w *writer) app(a *App) ([]*caddytext.Line, error) {
	lines := w.accepted(a.lines(w), nil)
	read, err := w.read(lines)
	if err != nil {
		return nil, err
	}
	patch, nulls, err := w.missing(read, a)
	if err != nil {
		return nil, err
	}
	if len(nulls) > 0 {
		return nil, InexpressibleError{nulls}
	}
	if len(patch) > 0 {
		lines = append(lines, &caddytext.Line{Words: []string{"json"}, JSON: patch})
	}
	return lines, nil
}

// lines writes the words of an app.
func (a *App) lines(w *writer) (lines []*caddytext.Line) {
	if len(a.Listen) > 0 {
		lines = append(lines, caddytext.New(append([]string{"listen"}, a.Listen...)...))
	}
	for _, choice := range appChoices {
		if word := *choice.field(a); word != "" {
			lines = append(lines, caddytext.New(choice.word, word))
		}
	}
	if a.SubStatusHeader != nil {
		lines = append(lines, caddytext.New("substatus_header", onOff(*a.SubStatusHeader)))
	}
	if a.Drain != 0 {
		lines = append(lines, caddytext.New("drain", caddytext.DurationText(time.Duration(a.Drain))))
	}
	if a.DrainUpgraded != nil {
		lines = append(lines, caddytext.New("drain_upgraded", caddytext.DurationText(time.Duration(*a.DrainUpgraded))))
	}
	lines = append(lines, flagLines(map[string]bool{"log": a.AccessLog, "log_sni": a.LogSNI, "metrics": a.Metrics})...)
	lines = append(lines, a.W3CLog.lines()...)
	lines = append(lines, serverLines(a.Server)...)
	for _, name := range sorted(a.CertificatesRaw) {
		lines = append(lines, certificateLines(name, a.CertificatesRaw[name])...)
	}
	if a.CentralStore != nil {
		lines = append(lines, a.CentralStore.MarshalCaddyfile().Behind("central_store"))
	}
	for _, name := range sorted(a.StoresRaw) {
		lines = append(lines, moduleLines("iis.stores", "store", a.StoresRaw[name], "store", name)...)
	}
	for _, address := range sorted(a.Endpoints) {
		lines = append(lines, a.Endpoints[address].line(address))
	}
	if a.Defaults != nil {
		lines = append(lines, &caddytext.Line{Words: []string{"defaults"}, Block: w.shared(a.Defaults), Open: true})
	}
	for _, name := range sorted(a.Templates) {
		lines = append(lines, &caddytext.Line{Words: []string{"template", name}, Block: w.shared(a.Templates[name]), Open: true})
	}
	if a.SitesFile != "" {
		lines = append(lines, caddytext.New("sites_file", a.SitesFile))
	}
	for _, source := range a.SitesFromRaw {
		lines = append(lines, moduleLines("iis.sites", "source", source, "sites_from")...)
	}
	for _, id := range slices.SortedFunc(maps.Keys(a.Sites), byNumber) {
		lines = append(lines, w.site(id, a.Sites[id]))
	}
	return lines
}

// accepted are the lines that Caddy reads without an error, in the block of outer words. Of
// blocks that it refuses those lines are kept that it takes.
func (w *writer) accepted(lines []*caddytext.Line, outer []string) []*caddytext.Line {
	if _, err := w.read(inBlock(outer, lines)); err == nil {
		return lines
	}
	if len(lines) == 1 && len(lines[0].Block) == 0 {
		return nil
	}
	if len(lines) > 1 {
		half := len(lines) / 2
		kept := slices.Concat(w.accepted(lines[:half], outer), w.accepted(lines[half:], outer))
		if _, err := w.read(inBlock(outer, kept)); err == nil {
			return kept
		}
		return nil // each is right, but not all of them
	}
	l := *lines[0]
	if len(outer) > 0 {
		return nil
	}
	l.Block = w.accepted(l.Block, l.Words)
	if _, err := w.read(inBlock(outer, []*caddytext.Line{&l})); err != nil {
		return nil
	}
	return []*caddytext.Line{&l}
}

func inBlock(outer []string, lines []*caddytext.Line) []*caddytext.Line {
	if len(outer) == 0 {
		return lines
	}
	return []*caddytext.Line{{Words: outer, Block: lines, Open: true}}
}

// read has the words of an iis block read.
func (w *writer) read(lines []*caddytext.Line) (*App, error) {
	text, err := caddytext.Text([]*caddytext.Line{{Words: []string{"iis"}, Block: lines, Open: true}}, 1)
	if err != nil {
		return nil, err
	}
	blocks, err := caddyfile.Parse(w.file, []byte("{\n"+text+"}\n"))
	if err != nil {
		return nil, err
	}
	app := new(App)
	for _, segment := range blocks[0].Segments {
		if err := app.UnmarshalCaddyfile(caddyfile.NewDispenser(segment)); err != nil {
			return nil, err
		}
	}
	return app, nil
}

// missing is the merge patch that makes what was read into what was meant, and names the
// fields that none can set, since null removes by it.
func (w *writer) missing(read, meant *App) (patch map[string]any, nulls []string, err error) {
	from, err := caddytext.Object(read)
	if err != nil {
		return nil, nil, err
	}
	to, err := caddytext.Object(meant)
	if err != nil {
		return nil, nil, err
	}
	patch = jsondoc.Difference(from, to, func(a, b any) bool { return w.same(a, b) })
	return patch, nullsIn(patch, to, ""), nil
}

// nullsIn names the fields of a patch that are null in what it shall make.
func nullsIn(patch, meant map[string]any, path string) (names []string) {
	for _, name := range sorted(patch) {
		value, there := meant[name]
		inner, _ := patch[name].(map[string]any)
		object, _ := value.(map[string]any)
		if there && value == nil {
			names = append(names, path+name)
		}
		names = append(names, nullsIn(inner, object, path+name+"/")...)
	}
	return names
}

// InexpressibleError names what no Caddyfile can say.
type InexpressibleError struct{ Nulls []string }

// Error implements error.
func (e InexpressibleError) Error() string {
	return fmt.Sprintf("no Caddyfile can say null, which the configuration has in %s: remove it there, or keep the configuration as JSON", many.Names(e.Nulls))
}

// content writes the routes of a site, of a template or of the defaults as directives. Equal
// ones are written once.
func (w *writer) content(c *Content) []*caddytext.Line {
	if c.Routes == nil && c.Errors == nil {
		return nil
	}
	object, err := caddytext.Object(Content{Routes: c.Routes, Errors: c.Errors})
	key, keyErr := json.Marshal(object)
	if err != nil || keyErr != nil {
		return nil
	}
	lines, known := w.bodies[string(key)]
	if !known {
		writer := directives.Writer{Adapt: w.adapt, Same: w.same, Own: w.own}
		lines, _ = writer.Content(contentOf(object))
		w.bodies[string(key)] = lines
	}
	return lines
}

func contentOf(object map[string]any) directives.Content {
	routes, _ := object["routes"].([]any)
	errors, _ := object["errors"].(map[string]any)
	return directives.Content{Routes: routes, Errors: errors}
}

// adapt has Caddy read directives as those of a site.
func (w *writer) adapt(lines []*caddytext.Line) (directives.Content, error) {
	text, err := caddytext.Text(lines, 1)
	if err != nil {
		return directives.Content{}, err
	}
	blocks, err := caddyfile.Parse(w.file, []byte("http:// {\n"+text+"}\n"))
	if err != nil || len(blocks) != 1 {
		return directives.Content{}, fmt.Errorf("directives: %w", err)
	}
	content, err := newCaddyfileParser(new(App)).compile(blocks[0].Segments)
	if err != nil {
		return directives.Content{}, err
	}
	object, err := caddytext.Object(content)
	return contentOf(object), err
}

// same tells whether two values of JSON come to the same: they are equal, but for the
// numbers of groups of routes, and for the Caddyfile that file servers hide.
func (w *writer) same(a, b any) bool {
	return reflect.DeepEqual(w.canonical(a, make(map[string]string)), w.canonical(b, make(map[string]string)))
}

func (w *writer) canonical(value any, groups map[string]string) any {
	switch value := value.(type) {
	case []any:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = w.canonical(item, groups)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(value))
		for _, name := range sorted(value) {
			object[name] = w.canonical(value[name], groups)
		}
		if group, ok := object["group"].(string); ok && object["handle"] != nil && numbered(group) {
			if groups[group] == "" {
				groups[group] = fmt.Sprintf("group %d", len(groups))
			}
			object["group"] = groups[group]
		}
		if hide, ok := object["hide"].([]any); ok && object["handler"] == "file_server" {
			object["hide"] = slices.DeleteFunc(hide, func(file any) bool { return file == w.own })
			if len(object["hide"].([]any)) == 0 {
				delete(object, "hide")
			}
		}
		return object
	}
	return value
}

// numbered tells whether Caddy has given a group its name.
func numbered(group string) bool {
	digits, ok := strings.CutPrefix(group, "group")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// byNumber compares site ids.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// flagLines are the words for what is true.
func flagLines(words map[string]bool) (lines []*caddytext.Line) {
	for _, word := range sorted(words) {
		if words[word] {
			lines = append(lines, caddytext.New(word))
		}
	}
	return lines
}
