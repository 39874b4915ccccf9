package iisconfig

import (
	"fmt"
	"path"
	"strings"
)

// builder puts the model together from all files.
type builder struct {
	opts   Options
	items  []item
	rep    *reporter
	server Server

	byID         map[uint32]*Site
	byName       map[string]*Site // lower case; the first one of a name
	poolByName   map[string]*ApplicationPool
	appIndex     map[appKey]*Application // of IIS 6
	indexed      *Site                   // whose bindings are in bindingIndex
	bindingIndex map[string]*Binding

	whole string          // the file that is a whole applicationHost.config
	used  map[string]bool // files that a configSource has read
	// locks say whether files below may have a section: by section, then by path in lower
	// case.
	locks      map[string]map[string][]lock
	itemLocks  map[string]map[string][]itemLock // likewise
	declares   bool                             // some section of system.webServer is declared
	toldOf     map[string]bool                  // sections that are not
	hostOnly   map[string]bool                  // sections that no web.config may have at all
	guarded    map[string]map[string]bool       // by section, configuration paths that the server protects by it
	total      int64                            // bytes that were read
	serverRoot scope
	placed     []placement
	iis6       *metabase // nodes of all adsutil outputs
	urlScan    *urlScan
	appcmd     appcmdObjects
	others     []*item // files of no known kind that were found in a folder
	settled    bool
	// folderIndex is made when the first web.config is read, after all sites.
	folderIndex *folderIndex
	// ownNames are what configSections of a web.config declare outside of all groups, by its
	// configuration path in lower case.
	ownNames map[string]map[string]bool
	webRead  map[webPlace]webFile // by the path in lower case
}

// placement is a layer that waits until all sites are known.
type placement struct {
	owner  *Site  // nil if only the name is known
	site   string // "" for the whole server, unless there is an owner
	path   string
	layer  *layer
	source Source
}

func newBuilder(opts Options, items []item) *builder {
	return &builder{
		opts: opts, items: items, rep: newReporter(opts.MaxFindings),
		byID: make(map[uint32]*Site), byName: make(map[string]*Site), poolByName: make(map[string]*ApplicationPool),
		appIndex: make(map[appKey]*Application), used: make(map[string]bool), locks: make(map[string]map[string][]lock),
		hostOnly: make(map[string]bool), guarded: make(map[string]map[string]bool), toldOf: make(map[string]bool),
		webRead: make(map[webPlace]webFile), ownNames: make(map[string]map[string]bool), itemLocks: make(map[string]map[string][]itemLock),
		iis6: newMetabase(),
	}
}

// listed notes a file that is not read: certificates, old copies, and files of no known
// kind. One that was given by name and is XML may be of no known kind because it is not
// well-formed.
func (b *builder) listed(it *item) error {
	switch {
	case b.used[it.name]:
	case it.otherConfig():
		b.others = append(b.others, it)
	case it.kind.read() && b.tenants(it):
		b.rep.warn(CodeRefused, Source{File: it.name}, "name the file if it is one of the server",
			"it looks like the %s of a server, but it is in the folder of a site; it is not read", it.kind)
	case it.kind.read():
		b.rep.info(CodeIgnored, Source{File: it.name}, "a former configuration that IIS has kept is not read")
	case it.kind != Unknown:
		b.server.CertificateFiles = append(b.server.CertificateFiles, CertificateFile{Name: it.name, Kind: it.kind, Size: it.size})
	case it.walked:
		b.others = append(b.others, it)
	default:
		if err := b.wellFormed(it); err != nil {
			return err
		}
		b.rep.warn(CodeUnrecognised, Source{File: it.name},
			"give applicationHost.config, MetaBase.xml, web.config, certificates, or the output of netsh, appcmd or adsutil",
			"the content is of no kind that is known here")
	}
	return nil
}

func (b *builder) wellFormed(it *item) error {
	data, err := it.read()
	if err != nil {
		return &Error{File: it.name, Err: err}
	}
	text, _ := decode(data)
	xml, ok := xmlPart(text)
	if !ok {
		return nil
	}
	x := newXMLReader(it.name, xml, b.opts)
	return x.each(func(*element) error { return x.skip() })
}

func (b *builder) file(it *item, data []byte) error {
	text, encoding := decode(data)
	b.server.Inputs = append(b.server.Inputs, Input{Name: it.name, Kind: it.kind, Encoding: encoding})
	if encoding == encodingLegacy {
		b.rep.info(CodeEncoding, Source{File: it.name}, "the file is neither UTF-8 nor UTF-16; it is read as Windows-1252, so letters that are not ASCII may be wrong")
	}
	switch it.kind {
	case URLScan:
		b.readURLScan(it.name, text)
	case ApplicationHost, Redirection:
		return b.applicationHost(it.name, it.kind, text)
	case Metabase:
		return b.metabase(it.name, text)
	case Appcmd:
		if xml, ok := xmlPart(text); ok {
			return b.appcmdXML(it.name, xml)
		}
		b.appcmdText(it.name, text)
	case Adsutil:
		b.adsutil(it.name, text)
	case Netsh:
		b.netsh(it.name, text)
	case IPListen:
		b.ipListen(it.name, text)
	case Registry:
		b.registry(it.name, text)
	case WebConfig:
		b.webConfig(it, text)
	}
	return nil
}

// reader returns an XML reader that reports stray text and can read the file that a
// configSource names.
func (b *builder) reader(name string, text []byte) *xmlReader {
	x := newXMLReader(name, text, b.opts)
	x.text = func(line int, s string) {
		b.rep.warn(CodeUnknown, Source{File: name, Line: line}, "", "the text %q is not understood", s)
	}
	x.load = func(el *element, source string) *element { return b.loadSource(el, source) }
	return x
}

// loadSource reads the root element of the file that configSource names.
func (b *builder) loadSource(el *element, name string) *element {
	src := Source{File: el.file, Line: el.line}
	it := b.sibling(el.file, name)
	if it == nil {
		b.rep.warn(CodeElsewhere, src, "copy that file to the same place and import again",
			"the section %s is in the file %s, which is not here", el.name, name)
		return nil
	}
	data, err := it.read()
	if err == nil {
		err = b.charge(len(data))
	}
	if err == nil {
		text, _ := decode(data)
		x := b.reader(it.name, text)
		x.load = nil // IIS allows no chain of them
		var root *element
		err = x.each(func(found *element) error {
			root = found
			return x.tree(found)
		})
		if err == nil && root != nil && root.name == el.name {
			b.used[it.name] = true
			return root
		}
		if err == nil {
			err = fmt.Errorf("%s: the root element is not %s", it.name, el.name)
		}
	}
	b.rep.error(CodeElsewhere, src, "", "the section %s is in the file %s, which cannot be read: %v", el.name, name, err)
	return nil
}

// charge counts bytes that are read against the bound of all files together.
func (b *builder) charge(n int) error {
	b.total += int64(n)
	if b.total > b.opts.MaxTotal {
		return fmt.Errorf("with it, the files are larger than %d bytes together", b.opts.MaxTotal)
	}
	return nil
}

// under reports whether the path p is dir or below it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// joinScope makes the configuration path of a path of a site.
func joinScope(site, urlPath string) string {
	if p := strings.Trim(path.Clean("/"+slashes(urlPath)), "/"); p != "" {
		return site + "/" + p
	}
	return site
}
