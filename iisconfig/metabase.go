package iisconfig

import (
	"strings"
)

// metabase is the tree of nodes of IIS 6, as MetaBase.xml or adsutil show it.
type metabase struct {
	nodes map[string]*mbNode // by location in lower case
	order []*mbNode
}

// mbNode is a node with the properties that are set at it.
type mbNode struct {
	location string // "/LM/W3SVC/1/ROOT"
	keyType  string // "IIsWebServer"
	props    map[string]mbProp
	source   Source
}

// mbProp is a property: a text, or a list whose items may have lines of their own.
type mbProp struct {
	name  string
	value string
	items []mbItem
	line  int
}

type mbItem struct {
	value string
	line  int
}

func newMetabase() *metabase { return &metabase{nodes: make(map[string]*mbNode)} }

// node returns the node of a location and makes it if need be.
func (m *metabase) node(location, keyType string, src Source) *mbNode {
	location = "/" + strings.Trim(slashes(location), "/")
	key := strings.ToLower(location)
	n := m.nodes[key]
	if n == nil {
		n = &mbNode{location: location, keyType: keyType, props: make(map[string]mbProp), source: src}
		m.nodes[key] = n
		m.order = append(m.order, n)
	}
	if n.keyType == "" {
		n.keyType = keyType
	}
	return n
}

func (n *mbNode) set(p mbProp) { n.props[strings.ToLower(p.name)] = p }

func (n *mbNode) str(name string) string {
	if n == nil {
		return ""
	}
	return n.props[strings.ToLower(name)].value
}

// up returns a property of the node or of the nearest node above it that has it.
func (m *metabase) up(n *mbNode, name string) string {
	name = strings.ToLower(name)
	for location := strings.ToLower(n.location); location != ""; {
		if at := m.nodes[location]; at != nil {
			if p, ok := at.props[name]; ok {
				return p.value
			}
		}
		location = location[:max(strings.LastIndexByte(location, '/'), 0)]
	}
	return ""
}

// metabaseIDs are properties that may stand as Custom elements with their number only
// (iiscnfg.h of the Windows SDK; AzEnable is MD_ENABLE_URL_AUTHORIZATION there).
var metabaseIDs = map[string]string{
	"1015": "ServerComment", "1016": "ServerState", "1017": "ServerAutoStart", "1023": "ServerBindings", "2021": "SecureBindings",
	"2041": "FilterPath", "2103": "AppRoot", "2168": "WebSvcExtRestrictionList", "3001": "Path", "3002": "UNCUserName",
	"4000": "LogType", "4001": "LogFileDirectory", "4003": "LogFilePeriod", "4013": "LogExtFileFlags",
	"5506": "SSLCertHash", "5511": "SSLStoreName",
	"6000": "AuthFlags", "6001": "Realm", "6004": "HttpCustomHeaders", "6005": "DirBrowseFlags", "6006": "DefaultDoc", "6008": "HttpErrors",
	"6011": "HttpRedirect", "6014": "ScriptMaps", "6015": "MimeMap", "6016": "AccessFlags", "6019": "IPSecurity", "6030": "AccessSSLFlags",
	"6048": "AzEnable", "9021": "AppPoolIdentityType", "9027": "AppPoolState", "9028": "AppPoolAutoStart", "9101": "AppPoolId",
}

// metabase reads MetaBase.xml of IIS 6.
func (b *builder) metabase(name string, text []byte) error {
	x := b.reader(name, text)
	m := newMetabase()
	var node func(el *element) error
	node = func(el *element) error {
		if el.name == "configuration" || el.name == "MBProperty" {
			return x.each(node)
		}
		location, ok := el.lookup("Location")
		if !ok {
			b.rep.warn(CodeUnknown, Source{File: name, Line: el.line}, "", "the node %s has no Location", el.name)
			return x.skip()
		}
		if !wanted(location) {
			return x.skip()
		}
		n := m.node(location, el.name, Source{File: name, Line: el.line})
		for _, a := range el.attrs {
			if a.name != "Location" {
				n.set(mbProp{name: a.name, value: a.value, line: a.line})
			}
		}
		return x.each(func(kid *element) error {
			b.custom(n, kid)
			return x.skip()
		})
	}
	if err := x.each(node); err != nil {
		return err
	}
	b.convert(m, Metabase)
	return nil
}

// wanted reports whether a location may say something about web sites.
func wanted(location string) bool {
	l := strings.ToLower(location)
	return under(l, "/lm/w3svc") || under(l, "/lm/mimemap") || under(l, "/lm/msftpsvc") ||
		under(l, "/lm/smtpsvc") || under(l, "/lm/nntpsvc")
}

// custom reads a child element of a node: a property that the schema does not have at
// that kind of node.
func (b *builder) custom(n *mbNode, el *element) {
	name, id := el.str("Name"), el.str("ID")
	if known := metabaseIDs[id]; known != "" {
		name = known
	}
	if el.name != "Custom" || name == "" {
		name = "with the number " + id
	}
	if _, ok := n.props[strings.ToLower(name)]; !ok {
		n.set(mbProp{name: name, value: el.str("Value"), line: el.line})
	}
}

// list returns the items of a MULTISZ property. In the XML they are in one attribute,
// with line ends and tabs between them, which some exports turn into blanks: so an item
// starts where its first word looks like one, and all words are items if starts is nil.
func (p mbProp) list(starts func(word string) bool) []mbItem {
	if p.items != nil {
		return p.items
	}
	var out []mbItem
	line := p.line
	for rest := p.value; ; {
		trimmed := strings.TrimLeft(rest, " \t\r\n")
		gap := rest[:len(rest)-len(trimmed)]
		line += strings.Count(gap, "\n")
		if trimmed == "" {
			return out
		}
		end := strings.IndexAny(trimmed, " \t\r\n")
		if end < 0 {
			end = len(trimmed)
		}
		word := trimmed[:end]
		if starts == nil || starts(word) || len(out) == 0 {
			out = append(out, mbItem{value: word, line: line})
		} else {
			out[len(out)-1].value += gap + word
		}
		rest = trimmed[end:]
	}
}
