package iisconfig

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

var (
	reAdsutilProp = regexp.MustCompile(`^(\S.*?)\s*: {1,2}\((STRING|EXPANDSZ|INTEGER|BOOLEAN|LIST|MimeMap|Variant\(\)|String|Long|Boolean)\)\s*(.*)$`)
	reAdsutilList = regexp.MustCompile(`^\((\d+) Items?\)$`)
	reAdsutilItem = regexp.MustCompile(`^\s*"(.*)"\s*$`)
	reAdsutilKid  = regexp.MustCompile(`^\[(/?[^\]]+)\]$`)
	reAdsutilCmd  = regexp.MustCompile(`(?i)adsutil(?:\.vbs)?"?\s+(?:-s:\S+\s+)?(ENUM|ENUM_ALL|ENUMALL|GET|SET)\s+"?([^"\s]+)`)
	reSetItems    = regexp.MustCompile(`"([^"]*)"`)
)

// adsutilReader reads the output of "adsutil.vbs ENUM" and "GET".
type adsutilReader struct {
	b     *builder
	name  string
	lines []string
	at    int // index of the next line
	node  *mbNode
	// commanded says that the command line has named the node.
	commanded bool
	// pending are properties of a node whose path is not known yet.
	pending []mbProp
	start   int // the line of the first pending one
}

// adsutil reads one output or several after another. The output of ENUM does not name
// its node: the command line does, if it was copied too, or the node's children, or
// the name of the file.
func (b *builder) adsutil(name string, text []byte) {
	r := &adsutilReader{b: b, name: name, lines: strings.Split(string(text), "\n")}
	for r.at < len(r.lines) {
		line := strings.TrimRight(r.lines[r.at], " \t")
		r.at++
		r.line(line)
	}
	r.flush()
}

func (r *adsutilReader) src() Source { return Source{File: r.name, Line: r.at} }

func (r *adsutilReader) line(line string) {
	if m := reAdsutilCmd.FindStringSubmatch(line); m != nil {
		r.flush()
		where := strings.Trim(slashes(m[2]), "/")
		if cmd := strings.ToUpper(m[1]); cmd == "GET" || cmd == "SET" {
			where = path.Dir(where)
		}
		r.open(where)
		r.commanded = true
		return
	}
	if m := reAdsutilProp.FindStringSubmatch(line); m != nil {
		r.property(m)
		return
	}
	if m := reAdsutilKid.FindStringSubmatch(line); m != nil {
		r.child(m[1])
		return
	}
	r.other(line)
}

// open starts a node by its path, such as "w3svc/1/ROOT".
func (r *adsutilReader) open(where string) {
	r.node = r.b.iis6.node("/LM/"+strings.Trim(where, "/"), "", r.src())
}

// child reads a line such as "[/w3svc/1/ROOT]". Properties after it are those of the
// child (ENUM_ALL), those before it are its parent's.
func (r *adsutilReader) child(where string) {
	where = strings.Trim(where, "/")
	if r.node == nil && r.pending != nil {
		r.open(path.Dir(where))
		r.flush()
	}
	r.open(where)
	r.commanded = false
}

func (r *adsutilReader) property(m []string) {
	p := mbProp{name: m[1], line: r.at}
	switch rest := strings.TrimSpace(m[3]); {
	case m[2] == "LIST" || m[2] == "Variant()" || m[2] == "MimeMap":
		p.items = r.items(rest)
	case len(rest) >= 2 && rest[0] == '"' && rest[len(rest)-1] == '"':
		p.value = rest[1 : len(rest)-1]
	default:
		p.value = rest
	}
	// ENUM begins with KeyType: a second one is the next node, unless a line or a command
	// has named that already.
	if strings.EqualFold(p.name, "KeyType") {
		known := r.node != nil && len(r.node.props) == 0
		if !known && (r.node != nil || r.pending != nil) {
			r.flush()
		}
		if known && !r.commanded && !fits(r.node.location, p.value) {
			r.node = nil // the children of one output, then another output
		}
	}
	if r.node == nil {
		if r.pending == nil {
			r.start = r.at
		}
		r.pending = append(r.pending, p)
		return
	}
	r.node.set(p)
	if strings.EqualFold(p.name, "KeyType") {
		r.node.keyType = p.value
	}
}

// fits reports whether a node may be of a type.
func fits(location, keyType string) bool {
	id, p, ok := siteOf(location)
	isSite := ok && id != 0 && p == ""
	return strings.EqualFold(keyType, "IIsWebServer") == isSite
}

// items reads the items of a list: on the same line as SET prints them, or one on each
// line after their number.
func (r *adsutilReader) items(rest string) []mbItem {
	out := []mbItem{}
	m := reAdsutilList.FindStringSubmatch(rest)
	if m == nil {
		for _, q := range reSetItems.FindAllStringSubmatch(rest, -1) {
			out = append(out, mbItem{value: q[1], line: r.at})
		}
		return out
	}
	n, _ := strconv.Atoi(m[1])
	for ; n > 0 && r.at < len(r.lines); n-- {
		item := reAdsutilItem.FindStringSubmatch(r.lines[r.at])
		if item == nil {
			r.b.rep.warn(CodeBadValue, r.src(), "", "a list says that it has %s, and has fewer", strings.Trim(rest, "()"))
			break
		}
		r.at++
		out = append(out, mbItem{value: item[1], line: r.at})
	}
	return out
}

// adsutilNoise are lines that say nothing about the server.
var adsutilNoise = []string{
	"Microsoft (R) Windows Script Host", "Copyright (C) Microsoft", "Continuing...", "DataType:", "ErrNumber:",
}

func (r *adsutilReader) other(line string) {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "":
		return
	case strings.Contains(trimmed, "is not set at this node."):
		r.b.rep.info(CodeIgnored, r.src(), "%s", shorten(trimmed))
		return
	case strings.HasPrefix(trimmed, "Error"), strings.HasPrefix(trimmed, "The path requested"),
		strings.HasPrefix(trimmed, "Access is denied"), strings.HasPrefix(trimmed, "Command not recognized"):
		r.b.rep.warn(CodeUnknown, r.src(), "run the command again", "adsutil has failed: %s", shorten(trimmed))
		return
	}
	for _, n := range adsutilNoise {
		if strings.HasPrefix(trimmed, n) {
			return
		}
	}
	if strings.Contains(trimmed, ">") { // another command
		r.flush()
		r.node = nil
		return
	}
	r.b.rep.warn(CodeUnknown, r.src(), "", "the line %q is not understood", shorten(trimmed))
}

// ofSite reports whether pending properties may be those of a site: those of a folder or a
// file of it are not for the whole of it.
func (r *adsutilReader) ofSite() bool {
	for _, p := range r.pending {
		if strings.EqualFold(p.name, "KeyType") {
			return strings.EqualFold(p.value, "IIsWebServer")
		}
	}
	return true
}

var reNumber = regexp.MustCompile(`\d+`)

// flush gives pending properties to the node that is known now, or to the site whose
// number the file's name has.
func (r *adsutilReader) flush() {
	if r.pending == nil {
		r.node = nil
		return
	}
	if r.node == nil {
		src := Source{File: r.name, Line: r.start}
		numbers := reNumber.FindAllString(path.Base(slashes(r.name)), -1)
		if numbers == nil || !r.ofSite() {
			r.b.rep.error(CodeNoSite, src, "copy the command line too, such as: cscript adsutil.vbs ENUM W3SVC/1",
				"the output does not say which node it is of")
			r.pending = nil
			return
		}
		id := numbers[len(numbers)-1] // "w3svc-4.txt"
		r.b.rep.info(CodeNoSite, src, "the output does not say which site it is of; the name of the file has the number %s", id)
		r.node = r.b.iis6.node("/LM/W3SVC/"+id, "", src)
	}
	for _, p := range r.pending {
		r.node.set(p)
		if strings.EqualFold(p.name, "KeyType") {
			r.node.keyType = p.value
		}
	}
	r.pending, r.node = nil, nil
}
