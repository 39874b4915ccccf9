package iishttp

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// siteVarPrefix begins the placeholders that have another value in each site. Others in
// the text of a folder, which a client could choose, are none.
const siteVarPrefix = "{iis.vars."

var siteVar = regexp.MustCompile(regexp.QuoteMeta(siteVarPrefix) + `([a-z][a-z0-9_]*)\}`)

// varyingFolders are folders with variables of sites, and what has become of them for sites
// that were asked for. Which sites there are is not known: they come and go.
type varyingFolders struct {
	folders []winpath.Folder
	names   []string // of the variables

	files atomic.Pointer[knownFiles]
}

// knownFiles are the files of some sites, by the values of their variables.
type knownFiles struct {
	bySite sync.Map // of *siteFiles
	count  atomic.Int32
}

// maxKnownFiles bounds of how many sites the files are kept. Then it begins anew, so that
// those of sites that are gone are not kept for ever.
const maxKnownFiles = 4096

func newVaryingFolders(folders []winpath.Folder) *varyingFolders {
	v := &varyingFolders{folders: folders}
	for _, f := range folders {
		for _, m := range slices.Concat(siteVar.FindAllString(f.Local, -1), siteVar.FindAllString(f.Windows, -1)) {
			if name := m[1 : len(m)-1]; !slices.Contains(v.names, name) {
				v.names = append(v.names, name)
			}
		}
	}
	v.files.Store(new(knownFiles))
	return v
}

// of returns the files of the site of a request.
func (v *varyingFolders) of(repl *caddy.Replacer) *siteFiles {
	values := make([]string, 0, 8)
	for _, name := range v.names {
		values = append(values, v.value(repl, name))
	}
	key := strings.Join(values, "\x00") // no value has this
	known := v.files.Load()
	if files, ok := known.bySite.Load(key); ok {
		return files.(*siteFiles)
	}
	files := v.make(slices.Clone(values))
	if known.count.Add(1) > maxKnownFiles {
		next := new(knownFiles)
		v.files.CompareAndSwap(known, next)
		known = v.files.Load()
	}
	known.bySite.Store(key, files)
	return files
}

// value is that of a variable, or its placeholder, if it is of no site: no folder has this
// name.
func (*varyingFolders) value(repl *caddy.Replacer, name string) string {
	if value, ok := repl.GetString(name); ok {
		return value
	}
	return "{" + name + "}"
}

// make replaces variables of sites, and nothing else that may be in a text.
func (v *varyingFolders) make(values []string) *siteFiles {
	folders := slices.Clone(v.folders)
	fill := func(text string) string {
		return siteVar.ReplaceAllStringFunc(text, func(placeholder string) string {
			return values[slices.Index(v.names, placeholder[1:len(placeholder)-1])]
		})
	}
	for i := range folders {
		folders[i].Local, folders[i].Windows = fill(folders[i].Local), fill(folders[i].Windows)
	}
	return &siteFiles{winpath.New(folders)}
}

// varyingFiles are the files of the site of a request, where a template serves many. Most
// rules do not ask for them.
type varyingFiles struct {
	folders *varyingFolders
	repl    *caddy.Replacer
	files   *siteFiles
}

func (f *varyingFiles) of() *siteFiles {
	if f.files == nil {
		f.files = f.folders.of(f.repl)
	}
	return f.files
}

// Physical implements rewrite.Files.
func (f *varyingFiles) Physical(urlPath string) (string, bool) { return f.of().Physical(urlPath) }

// Is implements rewrite.Files.
func (f *varyingFiles) Is(physical string) (file, directory bool, err error) {
	return f.of().Is(physical)
}

// Interface guard
var _ rewrite.Files = (*varyingFiles)(nil)
