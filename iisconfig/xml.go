package iisconfig

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxAttributes bounds the attributes of one element. The largest that IIS writes
// is the service node of MetaBase.xml with about 150.
const maxAttributes = 1024

// xmlReader reads XML as a stream and stops at the bounds of its Options. It takes
// several root elements, which is how appcmd prints sites.
type xmlReader struct {
	name string
	data []byte
	opts Options
	dec  *xml.Decoder

	pos      int // how much of data the decoder has taken
	begin    int // where the current token starts
	line     int // the line of begin
	depth    int
	elements int

	// text is told about characters where no IIS file has any.
	text func(line int, s string)
	// load returns the root of another file, for configSource. It may be nil.
	load func(el *element, name string) *element
}

func newXMLReader(name string, data []byte, opts Options) *xmlReader {
	r := &xmlReader{name: name, data: data, opts: opts, line: 1}
	r.dec = xml.NewDecoder(r)
	// The bytes are UTF-8 by now, whatever the declaration says.
	r.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return r
}

// ReadByte feeds the decoder. Being an io.ByteReader, nothing is read ahead, and a
// token that grows too large ends before the decoder has it in memory.
func (r *xmlReader) ReadByte() (byte, error) {
	if r.pos >= len(r.data) {
		return 0, io.EOF
	}
	if r.pos-r.begin > r.opts.MaxToken {
		return 0, fmt.Errorf("an element, text or comment of more than %d bytes", r.opts.MaxToken)
	}
	c := r.data[r.pos]
	r.pos++
	return c, nil
}

// Read makes the xmlReader an io.Reader, which the decoder asks for and never uses.
func (r *xmlReader) Read([]byte) (int, error) { return 0, io.EOF }

func (r *xmlReader) fail(line int, format string, args ...any) error {
	return &Error{File: r.name, Line: line, Err: fmt.Errorf(format, args...)}
}

// next returns the next token. The error is io.EOF at the end of the document.
func (r *xmlReader) next() (xml.Token, error) {
	r.line, _ = r.dec.InputPos()
	r.begin = int(r.dec.InputOffset())
	tok, err := r.dec.Token()
	if err != nil {
		return nil, r.wrap(err)
	}
	switch t := tok.(type) {
	case xml.StartElement:
		r.elements++
		r.depth++
		switch {
		case r.elements > r.opts.MaxElements:
			return nil, r.fail(r.line, "more than %d elements", r.opts.MaxElements)
		case r.depth > r.opts.MaxDepth:
			return nil, r.fail(r.line, "elements nested more than %d deep", r.opts.MaxDepth)
		case len(t.Attr) > maxAttributes:
			return nil, r.fail(r.line, "an element with more than %d attributes", maxAttributes)
		}
	case xml.EndElement:
		r.depth--
	case xml.Directive:
		// IIS has none. Entities and external subsets come with them.
		return nil, r.fail(r.line, "a document type declaration, which no IIS file has; it is refused")
	}
	return tok, nil
}

func (r *xmlReader) wrap(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return &Error{File: r.name, Line: syntax.Line, Err: errors.New("not well-formed: " + strings.TrimPrefix(syntax.Msg, "xml: "))}
	}
	line, _ := r.dec.InputPos()
	return &Error{File: r.name, Line: line, Err: errors.New(strings.TrimPrefix(err.Error(), "xml: "))}
}

// each calls fn for every child of the element that was opened last, or for every
// root element. The function has to read the child to its end by each, tree or
// skip.
func (r *xmlReader) each(fn func(*element) error) error {
	for {
		tok, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil // the decoder has checked that nothing is open
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := fn(r.open(t)); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			r.sawText(t)
		}
	}
}

func (r *xmlReader) sawText(t []byte) {
	s := bytes.TrimSpace(t)
	if len(s) == 0 || r.text == nil {
		return
	}
	// The text may start lines below its token.
	lead := t[:bytes.IndexByte(t, s[0])]
	r.text(r.line+bytes.Count(lead, []byte{'\n'}), string(s[:min(len(s), 80)]))
}

// skip reads the element that was opened last to its end.
func (r *xmlReader) skip() error {
	for depth := r.depth; r.depth >= depth; {
		if _, err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// tree reads the element that was opened last with all that it contains.
func (r *xmlReader) tree(el *element) error {
	err := r.each(func(kid *element) error {
		el.kids = append(el.kids, kid)
		return r.tree(kid)
	})
	if err != nil {
		return err
	}
	if name, ok := el.lookup("configSource"); ok && r.load != nil {
		if other := r.load(el, name); other != nil {
			other.attrs = append(other.attrs, el.attrs...)
			*el = *other
		} else {
			el.missing = true
		}
	}
	return nil
}

func (r *xmlReader) open(t xml.StartElement) *element {
	el := &element{name: t.Name.Local, file: r.name, line: r.line}
	if len(t.Attr) == 0 {
		return el
	}
	el.attrs = make([]attribute, 0, len(t.Attr))
	lines := attributeLines(r.data[r.begin:r.dec.InputOffset()], r.line)
	for i, a := range t.Attr {
		name := a.Name.Local
		switch {
		case name == "xmlns" || a.Name.Space == "xmlns":
			continue
		case strings.Contains(a.Name.Space, "XML-Document-Transform") || a.Name.Space == "xdt":
			name = "xdt:" + name
		case a.Name.Space != "":
			name = a.Name.Space + ":" + name
		}
		line := r.line
		if i < len(lines) {
			line = lines[i]
		}
		el.attrs = append(el.attrs, attribute{name: name, value: a.Value, line: line})
	}
	return el
}

// attributeLines returns the line on which each attribute of the start tag has its
// name; nil if all are on the first line. The decoder has checked the syntax.
func attributeLines(tag []byte, line int) []int {
	if bytes.IndexByte(tag, '\n') < 0 {
		return nil
	}
	var lines []int
	var quote byte
	blank := false // the last character was white space
	inName := true // the element's own name comes first
	for _, c := range tag {
		if c == '\n' {
			line++
		}
		space := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
				inName, blank = false, true // a name may follow at once
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '=':
			inName = true // no name before the value's end
		case space:
			if inName && len(lines) == 0 {
				inName = false
			}
			blank = true
		case blank && !inName && c != '/' && c != '>':
			lines = append(lines, line)
			inName, blank = true, false
		default:
			blank = false
		}
	}
	return lines
}
