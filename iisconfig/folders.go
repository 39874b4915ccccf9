package iisconfig

import (
	"path"
	"strings"
)

// Folder says which folder here a folder of the IIS server is.
type Folder struct{ From, To string }

// windowsFolders are the variables that IIS writes into paths, as they are on nearly
// every server.
var windowsFolders = map[string]string{
	"systemdrive": "C:", "windir": "C:/Windows", "systemroot": "C:/Windows",
	"programfiles": "C:/Program Files", "programdata": "C:/ProgramData",
}

// CleanFolder writes a folder of the IIS server in one form: with slashes and none at
// the end, without the prefix \\?\, with the usual folder for a variable such as
// %SystemDrive% at its beginning. The root of a drive is "C:", a share "//server/share".
// It is empty for what is no folder.
func CleanFolder(p string) string {
	// What is taken off may have hidden more of the same; no folder needs it often.
	for range 8 {
		clean := cleanFolderOnce(p)
		if clean == p {
			return p
		}
		p = clean
	}
	return ""
}

func cleanFolderOnce(p string) string {
	p = slashes(strings.TrimSpace(p))
	for _, prefix := range []string{"//?/", "//./"} {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		p = rest
		if share, ok := cutPrefixFold(rest, "UNC/"); ok {
			p = "//" + share
		}
	}
	if name, rest, ok := strings.Cut(strings.TrimPrefix(p, "%"), "%"); ok && strings.HasPrefix(p, "%") {
		if folder := windowsFolders[strings.ToLower(name)]; folder != "" {
			p = folder + rest
		}
	}
	host, isShare := strings.CutPrefix(p, "//")
	switch {
	case p == "":
		return ""
	case !isShare:
		return strings.TrimSuffix(path.Clean(p), "/")
	}
	if host = strings.Trim(path.Clean("/"+host), "/"); host == "" {
		return ""
	}
	return "//" + host
}

// FolderBelow returns what a clean folder has behind another one that it is in, with a
// leading slash; nothing if they are the same. Windows compares names without case.
func FolderBelow(folder, dir string) (rest string, ok bool) {
	rest, ok = cutPrefixFold(folder, dir)
	if !ok || dir == "" || rest != "" && rest[0] != '/' {
		return "", false
	}
	return rest, true
}

// Translate finds the folder here of one of the server, by the longest match. Without
// one, it returns the folder in its clean form.
func Translate(folders []Folder, physical string) (here string, ok bool) {
	p, longest := CleanFolder(physical), -1
	here = p
	if len(p) == 2 && p[1] == ':' {
		here = p + "/" // without it, Windows takes the current folder of the drive
	}
	for _, f := range folders {
		from := CleanFolder(f.From)
		rest, below := FolderBelow(p, from)
		if !below || len(from) <= longest {
			continue
		}
		longest = len(from)
		if here = strings.TrimRight(f.To, "/") + rest; here == "" {
			here = "/"
		}
	}
	return here, longest >= 0
}
