package winpath

import (
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of HTTP.sys for the path of a URL: it refuses more segments, and
// longer ones (in characters).
const (
	maxSegments = 255
	maxSegment  = 260
)

// nameError says that a name cannot be a file's on Windows. It is a kind of
// fs.ErrNotExist, unless the whole path is unusable.
type nameError struct {
	reason   string
	unusable bool // fs.ErrInvalid
}

func (e nameError) Error() string { return e.reason }

func (e nameError) Is(target error) bool {
	if e.unusable {
		return target == fs.ErrInvalid
	}
	return target == fs.ErrNotExist
}

var (
	errCharacter = nameError{"path with control characters, or not in UTF-8", true}
	errTooLong   = nameError{"path with too many or too long segments", false}
	errReserved  = nameError{"name that Windows reads in another way", false}
)

// Fold returns the form of a name by which names are compared without regard
// to case. Two names with one form are also equal to strings.EqualFold and
// after strings.ToLower, so that no matcher in front that compares like these
// can be passed by another spelling: K (U+212A) is not k here, nor ſ (U+017F) s.
// That is also how NTFS, whose table works on single characters, sees these.
func Fold(s string) string {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf && (s[i] < 'A' || s[i] > 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for _, r := range s[i:] {
		b.WriteRune(foldRune(r))
	}
	return b.String()
}

func foldRune(r rune) rune {
	lower := unicode.ToLower(r)
	if r >= utf8.RuneSelf && (lower < utf8.RuneSelf || unicode.ToUpper(r) < utf8.RuneSelf) {
		return r
	}
	return lower
}

// Segments splits a path into its names, resolving "." and "..", which never
// lead out of the root. folder reports whether the path ends as a folder's
// does. An error wraps fs.ErrInvalid if no file on Windows can have the path
// (control characters, bytes that are not UTF-8) and fs.ErrNotExist if it is
// longer than HTTP.sys lets through.
func Segments(path string) (names []string, folder bool, err error) {
	if !usable(path) {
		return nil, false, errCharacter
	}
	names = make([]string, 0, 8)
	for rest, more := path, true; more; {
		var name string
		if i := strings.IndexAny(rest, `/\`); i >= 0 {
			name, rest = rest[:i], rest[i+1:]
		} else {
			name, more = rest, false
		}
		folder = false
		switch name {
		case "", ".":
			folder = true
		case "..":
			folder = true
			names = names[:max(0, len(names)-1)]
		default:
			if len(names) == maxSegments || utf8.RuneCountInString(name) > maxSegment {
				return nil, false, errTooLong
			}
			names = append(names, name)
		}
	}
	return names, folder, nil
}

// usable reports whether s has nothing that HTTP.sys refuses in a path.
func usable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r >= 0x7F && r < 0xA0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// literalOnly reports whether Windows might open another file than the one
// with this name, or none because the name cannot exist there. See "Naming
// Files, Paths, and Namespaces" of the Windows documentation.
func literalOnly(name string) bool {
	if name == "" {
		return false
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		return true
	}
	if strings.ContainsAny(name, `<>:"|?*`) {
		return true
	}
	base, extension, _ := strings.Cut(name, ".")
	return isShortName(base, extension) || isDevice(base)
}

// isShortName reports whether a name has the form of one that the file system
// makes for programs of the time before long names: at most 8 characters
// that end in ~ and a number, and an extension of at most 3.
func isShortName(base, extension string) bool {
	tilde := strings.LastIndexByte(base, '~')
	if tilde < 0 || tilde == len(base)-1 || utf8.RuneCountInString(base) > 8 || utf8.RuneCountInString(extension) > 3 {
		return false
	}
	return strings.Trim(base[tilde+1:], "0123456789") == ""
}

// isDevice reports whether a name, without its extension, is a device's.
func isDevice(base string) bool {
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	number, isPort := strings.CutPrefix(base, "COM")
	if !isPort {
		number, isPort = strings.CutPrefix(base, "LPT")
	}
	return isPort && utf8.RuneCountInString(number) == 1 && strings.Contains("0123456789¹²³", number)
}
