package centralstore

import "strings"

// Bounds of host names, from the DNS.
const (
	maxName  = 253
	maxLabel = 63
)

// host is a server name, checked and in lower case. It is made on the stack.
type host struct {
	name   [maxName]byte
	wild   [maxName]byte
	length int
	dot    int  // index of the first dot, or length
	device bool // the first label is a device in Windows
}

// parse checks a server name and takes it over. Names consist of labels of
// letters, digits, hyphens and underscores, so that no file outside the store
// can be named, whatever the operating system.
func (h *host) parse(name string) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	label := 0
	h.length, h.dot = len(name), len(name)
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.':
			if label == 0 {
				return false
			}
			h.dot = min(h.dot, i)
			label = -1
		default:
			return false
		}
		h.name[i] = c
		if label++; label > maxLabel {
			return false
		}
	}
	h.device = isDevice(h.name[:h.dot])
	return label > 0
}

// exact returns the stem of the files for the host itself, nil if it can have
// none: Windows takes con.example.com.pfx for the console.
func (h *host) exact() []byte {
	if h.device {
		return nil
	}
	return h.name[:h.length]
}

// wildcard returns the stem of the files for the wildcard that covers the
// host, nil if there is none.
func (h *host) wildcard() []byte {
	if h.dot == h.length {
		return nil
	}
	h.wild[0] = '_'
	n := copy(h.wild[1:], h.name[h.dot:h.length])
	return h.wild[:1+n]
}

// isDevice reports whether a lower-case label is the name of a device. It is
// asked on all operating systems: stores move from one to the other.
func isDevice(label []byte) bool {
	switch len(label) {
	case 3:
		switch string(label) {
		case "con", "prn", "aux", "nul":
			return true
		}
	case 4:
		switch string(label[:3]) {
		case "com", "lpt":
			return label[3] >= '0' && label[3] <= '9'
		}
	}
	return false
}

// isWildcard reports whether a stem is that of a wildcard.
func isWildcard(stem string) bool { return strings.HasPrefix(stem, "_.") }
