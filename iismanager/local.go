package iismanager

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// Local serves the page to one browser on the same machine: to the first that comes with
// the token of its address.
//
// It is below a folder whose name nobody can guess. So the cookie that the browser then
// has goes to no other program of the machine: cookies know no ports, but paths.
type Local struct {
	page    *page
	folder  string // with a slash on both ends
	token   string
	session string
	used    atomic.Bool
}

// NewLocal returns a handler that asks and changes through a client.
func NewLocal(client *adminapi.Client, logger *zap.Logger, readOnly bool) *Local {
	return &Local{page: newPage(client, logger, readOnly), folder: "/" + rand.Text() + "/", token: rand.Text(), session: rand.Text()}
}

// Path is that of the address to open, which can be used once.
func (l *Local) Path() string { return l.folder + "?token=" + l.token }

// localCookie is the name of the cookie.
const localCookie = "iis_manager"

// ServeHTTP implements http.Handler.
func (l *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := claimOf(r, "", nil)
	who, ok := policy{}.admit(c)
	path, below := strings.CutPrefix(r.URL.Path, l.folder)
	// The name of the folder is not for the log.
	inside := r.Clone(r.Context())
	inside.URL.RawPath = ""
	if below {
		inside.URL.Path = "/" + path
	} else { // nor in a path that is almost right
		inside.URL.Path = strings.ReplaceAll(path, strings.Trim(l.folder, "/"), "...")
	}
	switch {
	case !ok:
		l.refuse(w, inside, policy{}.why(c))
		return
	case !below:
		l.refuse(w, inside, reasonUnknown)
		return
	case path == "" && r.Method == http.MethodGet && r.URL.Query().Has("token"): // HEAD must not use it up
		if !same(r.URL.Query().Get("token"), l.token) || l.used.Swap(true) {
			l.refuse(w, inside, reasonToken)
			return
		}
		protect(w.Header())
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // there is no TLS on loopback
			Name: localCookie, Value: l.session, Path: l.folder, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		w.Header().Set("Location", "./sites")
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	cookie, err := r.Cookie(localCookie)
	if err != nil || !same(cookie.Value, l.session) {
		l.refuse(w, inside, reasonUnknown)
		return
	}
	l.page.serve(w, inside, who)
}

// refuse refuses a request, and has the log tell of it.
func (l *Local) refuse(w http.ResponseWriter, r *http.Request, reason string) {
	l.page.refusals.note(r, visitor{}, reason)
	refuse(w)
}

// same compares secrets.
func same(x, y string) bool { return subtle.ConstantTimeCompare([]byte(x), []byte(y)) == 1 }

// Interface guards
var (
	_ http.Handler = (*Local)(nil)
)
