package iishttp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// ContentHandler is an entry of IIS's section handlers: it has a request that its path, its verbs
// and what is at the path fit. The first entry that fits has the request.
type ContentHandler struct {
	// What the entry does: "files", as iis_content_types itself; a status such as "404" or
	// "403.14", which refuses; or the name by which a handler behind this one knows that the
	// request is its own, by the matcher vars iis_script <name>. Such a request is passed on as
	// those of Scripts are.
	Answer string `json:"answer"`

	// The path: see the path of IIS's handlers. * is every path.
	Path string `json:"path"`

	// The verbs, in capital letters. Default: all.
	Verbs []string `json:"verbs,omitempty"`

	// What must be there, in the folder that is served: "file", "directory" or "either". A path
	// with path info is that of its script. Default: nothing.
	Resource string `json:"resource,omitempty"`

	does     answer
	paths    *handlerPaths
	exact    string // matches the path without path info; empty if there is none
	anything bool   // every path
}

// answer is what a request gets.
type answer struct {
	kind        int
	name        string // of a handler behind this one
	status, sub int
}

// The kinds of answers.
const (
	answerFiles = iota
	answerScript
	answerRefusal
)

var (
	reAnswerStatus = regexp.MustCompile(`^([45][0-9]{2})(?:\.([0-9]{1,3}))?$`)
	reAnswerName   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	reVerb         = regexp.MustCompile(`^[A-Z][A-Z0-9_-]*$`)
)

// provision compiles the entry.
func (h *ContentHandler) provision() (err error) {
	status := reAnswerStatus.FindStringSubmatch(h.Answer)
	switch {
	case h.Answer == "files":
	case status != nil:
		h.does.kind = answerRefusal
		h.does.status, _ = strconv.Atoi(status[1])
		h.does.sub, _ = strconv.Atoi("0" + status[2])
	case reAnswerName.MatchString(h.Answer):
		h.does = answer{kind: answerScript, name: h.Answer}
	default:
		return fmt.Errorf("%q is no answer: expected files, a status such as 404 or 403.14, or the name of a handler behind, in small letters", h.Answer)
	}
	for _, verb := range h.Verbs {
		if !reVerb.MatchString(verb) {
			return fmt.Errorf("%q is no verb: expected one in capital letters, such as GET", verb)
		}
	}
	if !slices.Contains([]string{"", "file", "directory", "either"}, h.Resource) {
		return fmt.Errorf("resource %q is unknown: expected file, directory or either", h.Resource)
	}
	if h.anything = h.Path == "*"; h.anything {
		return nil
	}
	h.paths, err = newHandlerPaths([]string{h.Path})
	if err != nil {
		return err
	}
	if !strings.HasSuffix(h.Path, "*") && h.Path != "*." {
		h.exact = winpath.Fold(h.Path)
		if !strings.HasPrefix(h.Path, "/") && !strings.HasPrefix(h.Path, "*.") {
			h.exact = "*/" + h.exact
		}
	}
	return nil
}

// target is what a request is for.
type target struct {
	method string
	names  []string // of the path
	folder bool     // it ends in a slash
	folded string   // the path

	root   string
	prefix int  // how many of the names are the prefix
	inside bool // the path is in the virtual directory

	looked bool // for what is there
	name   string
	info   fs.FileInfo
	err    error
}

// find looks for what is there, once.
func (t *target) find() (name string, info fs.FileInfo, err error) {
	if !t.looked {
		t.looked = true
		t.name, t.info, t.err = winpath.Find(t.root, t.names[t.prefix:], t.folder)
	}
	return t.name, t.info, t.err
}

// fits tells whether an entry has a request. An error says that nobody can tell what is there.
func (h *ContentHandler) fits(t *target) (bool, error) {
	switch {
	case h.Verbs != nil && !slices.Contains(h.Verbs, t.method), !h.anything && !h.paths.fit(t.folded):
		return false, nil
	case h.Resource == "":
		return true, nil
	case !t.inside:
		return false, nil
	}
	_, info, err := t.find()
	if there, err := h.isThere(info, err); there || err != nil || h.exact == "" || h.Resource == "directory" {
		return there, err
	}
	for i := t.prefix + 1; i < len(t.names); i++ { // the rest is path info
		if !wildcardFits(h.exact, winpath.Fold(joinPath(t.names[:i], false))) {
			continue
		}
		_, info, err := winpath.Find(t.root, t.names[t.prefix:i], false)
		if there, err := h.isThere(info, err); err != nil || there && !info.IsDir() {
			return there, err
		}
	}
	return false, nil
}

// isThere tells whether what was found, or not, is what must be there.
func (h *ContentHandler) isThere(info fs.FileInfo, err error) (bool, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return h.Resource == "either" || info.IsDir() == (h.Resource == "directory"), nil
}

// handlerOf tells what answers a request: the first entry that fits; what none has, or one of
// files has, may be closed or a script.
func (c *ContentTypes) handlerOf(t *target) (answer, error) {
	for i := range c.Handlers {
		h := &c.Handlers[i]
		fits, err := h.fits(t)
		if err != nil {
			return answer{}, err
		}
		if !fits {
			continue
		}
		if h.does.kind != answerFiles {
			return h.does, nil
		}
		break
	}
	switch {
	case c.closed.fit(t.folded):
		return answer{kind: answerRefusal, status: http.StatusNotFound, sub: 4}, nil
	case c.scripts.fit(t.folded):
		return answer{kind: answerScript}, nil
	}
	return answer{}, nil
}

// targetOf is what a request is for.
func (c *ContentTypes) targetOf(r *http.Request, names []string, folder bool) *target {
	t := &target{method: r.Method, names: names, folder: folder, prefix: len(c.prefix), inside: c.inside(names)}
	if isErrorPage(r) {
		t.method = http.MethodGet
	}
	if len(c.Handlers)+len(c.Closed)+len(c.Scripts) > 0 {
		t.folded = winpath.Fold(joinPath(names, folder))
	}
	if t.inside {
		t.root = caddyRoot(r, c.Root)
	}
	return t
}

// inside tells whether a path is in the virtual directory.
func (c *ContentTypes) inside(names []string) bool {
	if len(names) < len(c.prefix) {
		return false
	}
	for i, name := range c.prefix {
		if winpath.Fold(names[i]) != name {
			return false
		}
	}
	return true
}
