package iishttp

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// refuseFile answers what became of looking for a file.
func refuseFile(r *http.Request, err error) error {
	switch {
	case errors.Is(err, fs.ErrInvalid):
		return refuse(r, http.StatusBadRequest, 0, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return refuse(r, http.StatusNotFound, 0, "no such file")
	case errors.Is(err, fs.ErrPermission):
		return refuse(r, http.StatusForbidden, 0, "the file or its folder cannot be read")
	}
	return refuse(r, http.StatusInternalServerError, 0, err.Error())
}

// isErrorPage reports whether the request has failed already and this is about
// the page for that, which is sent whatever was asked for, as file_server does.
func isErrorPage(r *http.Request) bool {
	_, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	return failed
}

// isRead reports whether the method is one that files are sent for.
func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || isErrorPage(r)
}

// refuseMethod answers a method that files do not have.
func refuseMethod(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	return refuse(r, http.StatusMethodNotAllowed, 0, "method that files do not have")
}

// answerOptions answers as IIS's OPTIONSVerbHandler, which does not look whether
// there is a file.
func answerOptions(w http.ResponseWriter) error {
	const methods = "OPTIONS, TRACE, GET, HEAD, POST"
	w.Header().Set("Allow", methods)
	w.Header().Set("Public", methods)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// redirectToFolder redirects to the path of a folder, which ends in a slash and
// begins with one only.
func redirectToFolder(w http.ResponseWriter, r *http.Request, path string) error {
	if !isRead(r) {
		return refuseMethod(w, r)
	}
	to := url.URL{Path: path, RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusMovedPermanently)
	return nil
}

// joinPath makes a path of names.
func joinPath(names []string, folder bool) string {
	path := "/" + strings.Join(names, "/")
	if folder && len(names) > 0 {
		path += "/"
	}
	return path
}

// setPath changes the path of the request's URL.
func setPath(r *http.Request, path string) {
	if r.URL.Path == path {
		return
	}
	r.URL.Path, r.URL.RawPath = path, ""
	r.RequestURI = r.URL.RequestURI()
}

// caddyRoot is the folder that a root names for a request, as file_server has it.
func caddyRoot(r *http.Request, root string) string {
	if !strings.Contains(root, "{") {
		return root
	}
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).ReplaceAll(root, ".")
}

// noSourceFS names the file system noSource to Caddy.
const noSourceFS = "iis_no_source"

var errNoSource = errors.New("a script's source is not sent: no handler behind iis_content_types has taken it")

// noSource is the machine's file system without the content of files, and without listings of
// folders. Matchers can still ask for files, also by patterns.
type noSource struct{}

// Open implements fs.FS.
func (noSource) Open(name string) (fs.File, error) {
	info, err := os.Stat(name)
	return noSourceFile{name, info}, err
}

// noSourceFile has the methods that file_server relies on in a file and in a
// folder.
type noSourceFile struct {
	name string
	info fs.FileInfo
}

func (f noSourceFile) Stat() (fs.FileInfo, error)   { return f.info, nil }
func (noSourceFile) Read([]byte) (int, error)       { return 0, errNoSource }
func (noSourceFile) Seek(int64, int) (int64, error) { return 0, errNoSource }
func (noSourceFile) Close() error                   { return nil }

// ReadDir lists a folder for fs.Glob alone, which asks for all entries: a listing of file_server
// asks for so many.
func (f noSourceFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n < 0 {
		return os.ReadDir(f.name)
	}
	return nil, fs.ErrNotExist
}

// passScript passes on a request for a script. If the handler that is to run
// it does not take it, file_server must not send the source: it gets a file
// system that does not give it, and answers 500.
func (a answer) passScript(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	caddyhttp.SetVar(r.Context(), ScriptVar, cmp.Or(a.name, "true"))
	before := caddyhttp.GetVar(r.Context(), "fs")
	caddyhttp.SetVar(r.Context(), "fs", noSourceFS)
	// A page about an error is a file.
	defer caddyhttp.SetVar(r.Context(), "fs", before)
	return next.ServeHTTP(w, r)
}

// headerChange is a change of headers that can be undone.
type headerChange struct {
	header http.Header
	before []headerValues
}

type headerValues struct {
	name   string
	values []string
}

func (h *headerChange) set(name, value string) {
	h.before = append(h.before, headerValues{name, h.header[name]})
	h.header.Set(name, value)
}

func (h *headerChange) undo() {
	for _, was := range h.before {
		if was.values == nil {
			h.header.Del(was.name)
		} else {
			h.header[was.name] = was.values
		}
	}
}

// Interface guards
var (
	_ fs.FS          = noSource{}
	_ fs.ReadDirFile = noSourceFile{}
	_ io.ReadSeeker  = noSourceFile{}
)
