package inspect

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/sites"
)

// The time that a question may wait for a revision.
const (
	defaultWait = 5 * time.Second
	maxWait     = time.Minute
)

// waitForRevision answers a question about a revision when this server serves it:
// whoever has changed a site on one server asks another one with the answer's revision.
func waitForRevision(app *serve.Instance, r *http.Request, q query) error {
	id, number, _ := strings.Cut(q.get("revision"), ":")
	revision, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return apiError(http.StatusBadRequest, "revision: %q is not the revision of an answer, <source>:<number>", q.get("revision"))
	}
	wait, err := q.wait()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	if app.WaitFor(ctx, id, revision) {
		return nil
	}
	return apiError(http.StatusServiceUnavailable, "revision %s is not served yet", q.get("revision"))
}

// wait is how long a question or a change may wait to be served.
func (q query) wait() (time.Duration, error) {
	text := q.get("wait")
	if text == "" {
		return defaultWait, nil
	}
	wait, err := caddy.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, apiError(http.StatusBadRequest, "wait: %q is not a duration up to %s", text, maxWait)
	}
	return wait, nil
}

// serveAccept takes a source as it is now, whatever that takes away.
func serveAccept(w http.ResponseWriter, r *http.Request, name string) error {
	if _, err := parseQuery(r, name, nil); err != nil {
		return err
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	for _, source := range app.Live {
		if source.Name != name {
			continue
		}
		return writeJSON(w, adminapi.Accepted{Source: name, Removed: source.Follower.Accept()})
	}
	return apiError(http.StatusNotFound, "there is no source %q", name)
}

// confirm makes sure that what is answered without a change is durable, also where somebody
// else has written it, who may know less.
func (q *writeRequest) confirm(writer sites.Writer) error {
	if writer == nil || q.write.DryRun {
		return nil
	}
	if _, err := writer.Write(sites.Transaction{}); err != nil {
		return live.Unavailable(err)
	}
	return nil
}

// isGone reports whether a change is refused since there is no such site.
func isGone(err error) bool {
	refused, ok := errors.AsType[*live.WriteError](err)
	return ok && refused.Code == live.CodeNotFound
}
