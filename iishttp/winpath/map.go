package winpath

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is a folder that a site serves: its root, or a virtual directory.
type Folder struct {
	// The path of the URL under which it is served, such as / or /app.
	URL string

	// The folder on this machine.
	Local string

	// The folder on the machine with IIS, such as C:\inetpub\wwwroot. Rules
	// see this form in REQUEST_FILENAME. Empty: Local with backslashes.
	Windows string
}

// Map maps paths of URLs, and of Windows, to files. It is safe for concurrent
// use.
type Map struct {
	byURL     []mappedFolder // longest path first
	byWindows []mappedFolder // longest path first
}

type mappedFolder struct {
	local   string
	windows string   // without a separator at its end
	url     []string // folded
	text    []string // names of windows, folded
	network bool     // windows begins with two separators
}

// Kind is what stands at a path.
type Kind int

// What may stand at a path.
const (
	Missing   Kind = iota // nothing
	File                  // a regular file
	Directory             // a folder
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Directory:
		return "directory"
	}
	return "missing"
}

// New makes a Map. The longest path that a path lies under decides; of folders
// with the same one, the first.
func New(folders []Folder) *Map {
	m := &Map{}
	for _, f := range folders {
		if f.Windows == "" {
			f.Windows = strings.ReplaceAll(filepath.Clean(f.Local), "/", `\`)
		}
		mapped := mappedFolder{local: f.Local, windows: strings.TrimRight(f.Windows, `/\`), network: isNetwork(f.Windows)}
		var err error
		if mapped.url, _, err = Segments(f.URL); err != nil {
			continue // no request has such a path
		}
		mapped.url = foldAll(mapped.url)
		if mapped.text, _, err = Segments(f.Windows); err == nil {
			mapped.text = foldAll(mapped.text)
			m.byWindows = append(m.byWindows, mapped)
		}
		m.byURL = append(m.byURL, mapped)
	}
	slices.SortStableFunc(m.byURL, func(a, b mappedFolder) int { return len(b.url) - len(a.url) })
	slices.SortStableFunc(m.byWindows, func(a, b mappedFolder) int { return len(b.text) - len(a.text) })
	return m
}

// Physical returns the Windows form of the file for the path of a URL (decoded,
// without query), such as C:\inetpub\wwwroot\a\b.html: what IIS has in
// REQUEST_FILENAME. A slash at the path's end stays, as a backslash. It is not
// ok if the path lies in no folder or cannot be a file's on Windows.
func (m *Map) Physical(urlPath string) (text string, ok bool) {
	names, folder, err := Segments(urlPath)
	if err != nil {
		return "", false
	}
	f, below, ok := underURL(m.byURL, names)
	if !ok {
		return "", false
	}
	text = strings.Join(append([]string{f.windows}, below...), `\`)
	if folder || len(below) == 0 && (text == "" || strings.HasSuffix(text, ":")) {
		text += `\` // also for the root of a drive
	}
	return text, true
}

// Stat tells what stands at a Windows path, as Physical makes them: a slash
// counts as a backslash, case does not. A path that ends in one is never a
// file, nor is what stands behind a file's name (index.php\x).
//
// An error means that there is no answer, which is neither yes nor no: a path
// outside the folders, one with reserved characters, a device's name, a name that Windows
// would read in another way (dot or blank at the end, short names) unless it
// is there exactly so, a folder that cannot be read, a pipe or a socket. It
// wraps fs.ErrInvalid if the path itself is the reason.
func (m *Map) Stat(physical string) (Kind, error) {
	names, folder, err := Segments(physical)
	if err != nil {
		return Missing, noAnswer(physical, fs.ErrInvalid, err)
	}
	f, below, ok := underWindows(m.byWindows, names, isNetwork(physical))
	if !ok {
		return Missing, noAnswer(physical, fs.ErrInvalid, errOutside)
	}
	_, info, err := find(f.local, below)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if slices.ContainsFunc(below, literalOnly) {
			return Missing, noAnswer(physical, fs.ErrInvalid, errReserved)
		}
		return Missing, nil
	case err != nil:
		return Missing, noAnswer(physical, err, nil)
	case info.IsDir():
		return Directory, nil
	case folder:
		return Missing, nil
	case !info.Mode().IsRegular():
		return Missing, noAnswer(physical, errSpecial, nil)
	}
	return File, nil
}

// Resolve returns the file or folder for the path of a URL (decoded, without
// query), spelled as it is on this machine. Errors are those of Segments and
// Find; a path that lies in no folder does not exist.
func (m *Map) Resolve(urlPath string) (local string, info fs.FileInfo, err error) {
	names, folder, err := Segments(urlPath)
	if err != nil {
		return "", nil, err
	}
	f, below, ok := underURL(m.byURL, names)
	if !ok {
		return "", nil, fs.ErrNotExist
	}
	name, info, err := Find(f.local, below, folder)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(f.local, filepath.FromSlash(name)), info, nil
}

var (
	errOutside = errors.New("outside the site's folders")
	errSpecial = errors.New("neither a file nor a folder")
)

// noAnswer makes an error of Stat.
func noAnswer(physical string, kind, reason error) error {
	if len(physical) > 200 {
		physical = physical[:200] + "..."
	}
	if reason == nil {
		return fmt.Errorf("no answer about %q: %w", physical, kind)
	}
	return fmt.Errorf("no answer about %q: %w: %w", physical, kind, reason)
}

// isNetwork reports whether a Windows path begins with the name of a server.
func isNetwork(path string) bool {
	return len(path) > 1 && strings.ContainsRune(`/\`, rune(path[0])) && strings.ContainsRune(`/\`, rune(path[1]))
}

func underURL(folders []mappedFolder, names []string) (f mappedFolder, below []string, ok bool) {
	for _, f := range folders {
		if hasPrefix(names, f.url) {
			return f, names[len(f.url):], true
		}
	}
	return mappedFolder{}, nil, false
}

func underWindows(folders []mappedFolder, names []string, network bool) (f mappedFolder, below []string, ok bool) {
	for _, f := range folders {
		if f.network == network && hasPrefix(names, f.text) {
			return f, names[len(f.text):], true
		}
	}
	return mappedFolder{}, nil, false
}

// hasPrefix reports whether names begin with those of a folded prefix.
func hasPrefix(names, prefix []string) bool {
	if len(names) < len(prefix) {
		return false
	}
	for i, name := range prefix {
		if Fold(names[i]) != name {
			return false
		}
	}
	return true
}

func foldAll(names []string) []string {
	folded := make([]string, len(names))
	for i, name := range names {
		folded[i] = Fold(name)
	}
	return folded
}
