// Package cli is the caddy iis command without its flags: it asks the admin API
// of a running Caddy, changes its configuration, and writes for people or, with
// JSON, for programs.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// The exit codes that do not come from adsutil.vbs.
const (
	ExitOK       = 0
	ExitFailed   = 1 // it was refused, or it failed
	ExitUsage    = 2 // the command line is wrong
	ExitWarnings = 1 // check: there are warnings
	ExitErrors   = 2 // check: there are errors
	ExitDiffers  = 1 // verify: something is not as the configuration says, or not as on the other server
	ExitBroken   = 2 // verify: somebody gets an error, or nothing
	ExitNotAsked = 3 // check and verify: nothing could be found out
	ExitUnknown  = 4 // verify: what is not as expected cannot be judged
)

// Env is what a command works with.
type Env struct {
	Out, Err io.Writer

	// Width is that of the terminal, 0 if Out is none.
	Width int

	// Color tells whether Out understands colours.
	Color bool

	// Progress tells whether Err is a terminal.
	Progress bool

	// JSON asks for JSON instead of text.
	JSON bool

	// Client talks to the running Caddy.
	Client *adminapi.Client
}

// ExitError ends a command with an exit code.
type ExitError struct {
	Code int
	Err  error // nil if all has been said
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the reason.
func (e *ExitError) Unwrap() error { return e.Err }

// exit ends a command when all has been said.
func exit(code int) error {
	if code == ExitOK {
		return nil
	}
	return &ExitError{Code: code}
}

// printf writes to Out.
func (e *Env) printf(format string, args ...any) { fmt.Fprintf(e.Out, format, args...) }

// hint writes to Err, so that what a program reads from Out stays as it is.
func (e *Env) hint(format string, args ...any) { fmt.Fprintf(e.Err, format+"\n", args...) }

// json writes a value as JSON.
func (e *Env) json(value any) error {
	enc := json.NewEncoder(e.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// list is items as JSON has a list of none: [], not null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// collect gathers a list. The result is not nil, so that it is [] in JSON.
func collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	items := []T{}
	for item, err := range list {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// siteLabel names a site in messages: site 1 "Test".
func siteLabel(id uint32, name string) string {
	if name == "" {
		return fmt.Sprintf("site %d", id)
	}
	return fmt.Sprintf("site %d %q", id, name)
}

// FindSite finds a site by its id, by its metabase path or by its name.
func (e *Env) FindSite(ctx context.Context, text string) (adminapi.Site, error) {
	path := cleanPath(text)
	if prefix, rest, ok := strings.Cut(path, "/"); ok && strings.EqualFold(prefix, "w3svc") {
		path = rest
	}
	if id, err := strconv.ParseUint(path, 10, 32); err == nil {
		site, err := e.Client.Site(ctx, uint32(id))
		if adminapi.IsNotFound(err) && strings.Contains(err.Error(), "no site") {
			err = fmt.Errorf("%w: caddy iis list shows the sites", err)
		}
		return site, err
	}
	var found []adminapi.Site
	var names []string
	for site, err := range e.Client.Sites(ctx) {
		if err != nil {
			return adminapi.Site{}, err
		}
		names = append(names, site.Name)
		if strings.EqualFold(site.Name, text) {
			found = append(found, site)
		}
	}
	switch len(found) {
	case 0:
		return adminapi.Site{}, fmt.Errorf("there is no site named %q%s: caddy iis list shows the sites", text, near.Hint(text, names))
	case 1:
		site, err := e.Client.Site(ctx, found[0].ID) // with what lists leave out
		if err == nil && site.Source != found[0].Source {
			return found[0], nil // another source has the id too, and is served
		}
		return site, err
	}
	var ids []string
	for _, site := range found {
		ids = append(ids, strconv.FormatUint(uint64(site.ID), 10))
	}
	return adminapi.Site{}, fmt.Errorf("the sites %s are all named %q: name one by its id", strings.Join(ids, ", "), text)
}

// noSite explains ErrNoSite for a site that is served, but not configured
// where Caddy's configuration has the sites.
func noSite(err error, site adminapi.Site) error {
	switch {
	case !errors.Is(err, adminapi.ErrNoSite):
		return err
	case site.Source == adminapi.SourceSitesFile:
		return fmt.Errorf("%s is in the sites file: change it there", siteLabel(site.ID, site.Name))
	}
	return fmt.Errorf("%s is not in Caddy's configuration under apps.iis.sites any more: caddy iis list shows the sites", siteLabel(site.ID, site.Name))
}
