package certfile

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// PKCS #12 allows BER, and some programs write it: indefinite lengths, and
// octet strings in pieces. Files have a few hundred elements, nested less than
// ten levels deep in each of their layers.
const (
	maxElements = 100_000
	maxDepth    = 24
)

// toDER returns the first element of data in DER. Bytes behind the element are
// ignored.
func toDER(data []byte) ([]byte, error) {
	r := berReader{left: maxElements}
	e, _, err := r.read(data, maxDepth)
	if err != nil {
		return nil, err
	}
	return e.append(make([]byte, 0, e.encodedSize())), nil
}

// element is a BER element: a tag with either bytes or other elements.
type element struct {
	tag      byte
	content  []byte    // primitive
	children []element // constructed
	size     int       // of the content in DER
}

const (
	constructed            = 0x20
	constructedOctetString = byte(asn1.OCTET_STRING) | constructed
	indefinite             = -1
)

type berReader struct {
	left int // elements that may still come
}

func (r *berReader) read(in []byte, depth int) (e element, rest []byte, err error) {
	length, header, ok := readHeader(in)
	if r.left--; !ok || depth == 0 || r.left < 0 {
		return element{}, nil, errDamaged
	}
	e.tag, in = in[0], in[header:]
	if length != indefinite {
		if length > len(in) {
			return element{}, nil, errDamaged
		}
		in, rest = in[:length], in[length:]
	}
	if e.tag&constructed == 0 {
		e.content, e.size = in, len(in)
		return e, rest, nil
	}
	for len(in) > 0 {
		if length == indefinite && len(in) >= 2 && in[0] == 0 && in[1] == 0 { // end of contents
			return e.close(), in[2:], nil
		}
		var child element
		if child, in, err = r.read(in, depth-1); err != nil {
			return element{}, nil, err
		}
		e.children = append(e.children, child)
	}
	if length == indefinite {
		return element{}, nil, errDamaged
	}
	return e.close(), rest, nil
}

// readHeader reads the length of the element that data begins with, and how
// many bytes its tag and length take.
func readHeader(data []byte) (length, header int, ok bool) {
	const highTag, longForm = 0x1f, 0x80
	if len(data) < 2 || data[0]&highTag == highTag {
		return 0, 0, false
	}
	first := data[1]
	if first < longForm {
		return int(first), 2, true
	}
	size := int(first &^ longForm)
	if size == 0 {
		return indefinite, 2, data[0]&constructed != 0
	}
	if size > 4 || len(data) < 2+size {
		return 0, 0, false
	}
	for _, digit := range data[2 : 2+size] {
		if length > MaxFileSize {
			return 0, 0, false
		}
		length = length<<8 | int(digit)
	}
	return length, 2 + size, true
}

// close completes a constructed element. An octet string becomes one piece.
func (e element) close() element {
	if e.tag == constructedOctetString {
		e.tag = byte(asn1.OCTET_STRING)
		for _, child := range e.children {
			e.content = append(e.content, child.content...)
		}
		e.children, e.size = nil, len(e.content)
		return e
	}
	for _, child := range e.children {
		e.size += child.encodedSize()
	}
	return e
}

func (e element) append(out []byte) []byte {
	out = appendHeader(out, e.tag, e.size)
	out = append(out, e.content...)
	for _, child := range e.children {
		out = child.append(out)
	}
	return out
}

// encodedSize is the size in DER with the header.
func (e element) encodedSize() int {
	var buf [6]byte
	return len(appendHeader(buf[:0], e.tag, e.size)) + e.size
}

func appendHeader(out []byte, tag byte, length int) []byte {
	out = append(out, tag)
	if length < 0x80 {
		return append(out, byte(length))
	}
	var buf [4]byte
	binary.BigEndian.PutUint32(buf[:], uint32(length))
	digits := bytes.TrimLeft(buf[:], "\x00")
	out = append(out, 0x80|byte(len(digits)))
	return append(out, digits...)
}

// readOctets reads an octet string with an implicit tag, which toDER does not
// recognise, and which may thus be in pieces still.
func readOctets(s *cryptobyte.String, out *[]byte, tag asn1.Tag) bool {
	if s.PeekASN1Tag(tag) {
		return s.ReadASN1Bytes(out, tag)
	}
	var pieces cryptobyte.String
	if !s.ReadASN1(&pieces, tag.Constructed()) {
		return false
	}
	*out = nil
	for !pieces.Empty() {
		var piece cryptobyte.String
		if !pieces.ReadASN1(&piece, asn1.OCTET_STRING) {
			return false
		}
		*out = append(*out, piece...)
	}
	return true
}
