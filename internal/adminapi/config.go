package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// App returns the configuration of the iis app as JSON.
func (c *Client) App(ctx context.Context) (json.RawMessage, error) {
	a, err := c.get(ctx, "/config/apps/iis")
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// Config returns the whole configuration as JSON.
func (c *Client) Config(ctx context.Context) (json.RawMessage, error) {
	a, err := c.get(ctx, "/config/")
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// sitesPath is where Caddy's configuration has the sites.
const sitesPath = "/config/apps/iis/sites"

func sitePath(id uint32) string { return sitesPath + "/" + strconv.FormatUint(uint64(id), 10) }

// The errors of changes.
var (
	// ErrNoSite tells that the configuration has no such site.
	ErrNoSite = errors.New("there is no such site")

	// ErrDone is for functions that change a site: there is nothing to do,
	// because somebody else has done it. If it is seen after a request whose
	// answer was lost, that somebody was the request.
	ErrDone = errors.New("nothing to do")

	// ErrChanged tells that a site is not any more what it was when it was read.
	ErrChanged = errors.New("somebody else has changed the site meanwhile")
)

// SiteConfig is the configuration of a site, with all that others have put
// there.
type SiteConfig struct {
	fields map[string]json.RawMessage
}

// SiteBinding is a binding in the form of IIS 7, with all of its settings.
type SiteBinding struct {
	Protocol    string
	Binding     string
	Flags       uint16
	Certificate string

	fields map[string]json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *SiteConfig) UnmarshalJSON(data []byte) error {
	s.fields = nil
	return json.Unmarshal(data, &s.fields)
}

// MarshalJSON implements json.Marshaler.
func (s SiteConfig) MarshalJSON() ([]byte, error) {
	if s.fields == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(s.fields)
}

// Has reports whether the site has a field.
func (s SiteConfig) Has(field string) bool {
	raw, ok := s.fields[field]
	return ok && string(raw) != "null"
}

// Get decodes a field. A field that is missing leaves the value as it is.
func (s SiteConfig) Get(field string, into any) error {
	raw, ok := s.fields[field]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s has an unexpected form in the configuration: %w", field, err)
	}
	return nil
}

// Set encodes a field.
func (s *SiteConfig) Set(field string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if s.fields == nil {
		s.fields = make(map[string]json.RawMessage)
	}
	s.fields[field] = raw
	return nil
}

// Delete removes a field.
func (s *SiteConfig) Delete(field string) { delete(s.fields, field) }

// Strings returns a list of texts.
func (s SiteConfig) Strings(field string) ([]string, error) {
	var list []string
	err := s.Get(field, &list)
	return list, err
}

// SetStrings sets a list of texts; an empty one is removed.
func (s *SiteConfig) SetStrings(field string, list []string) error {
	if len(list) == 0 {
		s.Delete(field)
		return nil
	}
	return s.Set(field, list)
}

// Bindings returns the bindings in the form of IIS 7.
func (s SiteConfig) Bindings() ([]SiteBinding, error) {
	var list []SiteBinding
	err := s.Get("bindings", &list)
	return list, err
}

// SetBindings sets them; an empty list is removed.
func (s *SiteConfig) SetBindings(list []SiteBinding) error {
	if len(list) == 0 {
		s.Delete("bindings")
		return nil
	}
	return s.Set("bindings", list)
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *SiteBinding) UnmarshalJSON(data []byte) error {
	b.fields = nil
	if err := json.Unmarshal(data, &b.fields); err != nil {
		return err
	}
	var known struct {
		Protocol    string `json:"protocol"`
		Binding     string `json:"binding"`
		Flags       uint16 `json:"flags"`
		Certificate string `json:"certificate"`
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	b.Protocol, b.Binding, b.Flags, b.Certificate = known.Protocol, known.Binding, known.Flags, known.Certificate
	return nil
}

// MarshalJSON implements json.Marshaler. It keeps what is not known here.
func (b SiteBinding) MarshalJSON() ([]byte, error) {
	fields := maps.Clone(b.fields)
	if fields == nil {
		fields = make(map[string]json.RawMessage)
	}
	put := func(name string, value any, empty bool) {
		if empty {
			delete(fields, name)
			return
		}
		fields[name], _ = json.Marshal(value) // texts and numbers only
	}
	put("protocol", b.Protocol, false)
	put("binding", b.Binding, false)
	put("flags", b.Flags, b.Flags == 0)
	put("certificate", b.Certificate, b.Certificate == "")
	return json.Marshal(fields)
}

// equal compares configurations, whatever the order of their fields.
func (s SiteConfig) equal(o SiteConfig) bool {
	x, errX := canonical(s)
	y, errY := canonical(o)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func canonical(s SiteConfig) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var val any
	if err := dec.Decode(&val); err != nil {
		return nil, err
	}
	return json.Marshal(val)
}

// clone makes a copy whose fields can be set without changing the original.
func (s SiteConfig) clone() SiteConfig { return SiteConfig{maps.Clone(s.fields)} }

// SiteConfig returns the configuration of a site. The error is ErrNoSite if
// there is none.
func (c *Client) SiteConfig(ctx context.Context, id uint32) (SiteConfig, error) {
	site, _, err := c.readSite(ctx, id)
	return site, err
}

// ReadSite returns the configuration of a site as SiteConfig does, and the entity tag
// by which ChangeSiteAt knows it again.
func (c *Client) ReadSite(ctx context.Context, id uint32) (SiteConfig, string, error) {
	site, at, err := c.readSite(ctx, id)
	return site, at.etag, err
}

// TrySite asks whether a change of a site would be accepted, and makes none. For a
// site of Caddy's configuration, which only a load judges, judged is false.
func (c *Client) TrySite(ctx context.Context, id uint32, change func(*SiteConfig) error) (judged bool, err error) {
	site, at, err := c.readSite(ctx, id)
	if err != nil {
		return false, err
	}
	if err := change(&site); err != nil {
		return false, err
	}
	if at.method != http.MethodPut {
		return false, nil
	}
	body, err := json.Marshal(site)
	if err != nil {
		return false, err
	}
	_, err = c.do(ctx, at.method, at.path+"?dry_run=1", at.etag, body)
	return true, err
}

// kept is where a site is kept.
type kept struct {
	path   string // that changes go to
	etag   string // of the site as it was read
	method string // that replaces it
}

// readSite returns the configuration of a site, and where it is kept: in a source of
// sites, or in Caddy's configuration, which is asked only for sites that no source has.
func (c *Client) readSite(ctx context.Context, id uint32) (SiteConfig, kept, error) {
	site, at, err := c.readRow(ctx, id)
	if !errors.Is(err, ErrNoSite) {
		return site, at, err
	}
	a, err := c.get(ctx, sitePath(id))
	if err = absent(err); err != nil {
		return SiteConfig{}, kept{}, err
	}
	if err := json.Unmarshal(a.body, &site); err != nil {
		return SiteConfig{}, kept{}, fmt.Errorf("site %d has an unexpected form in the configuration: %w", id, err)
	}
	if site.fields == nil {
		return SiteConfig{}, kept{}, ErrNoSite
	}
	return site, kept{sitePath(id), a.etag, http.MethodPatch}, nil
}

// absent turns Caddy's error for a path whose parents are missing into
// ErrNoSite.
func absent(err error) error {
	var said *Error
	if errors.As(err, &said) && said.Status == http.StatusBadRequest && strings.Contains(said.Message, "invalid traversal path") {
		return ErrNoSite
	}
	return err
}

// SiteIDs returns the ids of all configured sites in order.
func (c *Client) SiteIDs(ctx context.Context) ([]uint32, error) {
	var sites map[string]json.RawMessage
	a, err := c.get(ctx, sitesPath)
	if err = absent(err); err != nil && !errors.Is(err, ErrNoSite) {
		return nil, err
	}
	if err == nil {
		if err := json.Unmarshal(a.body, &sites); err != nil {
			return nil, fmt.Errorf("the sites have an unexpected form in the configuration: %w", err)
		}
	}
	var ids []uint32
	for key := range sites {
		if id, err := strconv.ParseUint(key, 10, 32); err == nil {
			ids = append(ids, uint32(id))
		}
	}
	sources, err := c.WritableSources(ctx)
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		for site, err := range c.Sites(ctx, "source", source.Name) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, site.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// ChangeSite changes the configuration of a site. The function is called with
// the present configuration; it is called again when somebody else has changed
// the site meanwhile, so that no change is lost. The change is in force when
// ChangeSite returns nil. A change to what the site is already is none.
func (c *Client) ChangeSite(ctx context.Context, id uint32, change func(*SiteConfig) error) error {
	return c.ChangeSiteAt(ctx, id, "", change)
}

// ChangeSiteAt is ChangeSite for somebody who has seen the site as ReadSite returned
// it, with this entity tag: if it is another one now, the error is ErrChanged and
// nothing is changed.
func (c *Client) ChangeSiteAt(ctx context.Context, id uint32, etag string, change func(*SiteConfig) error) error {
	return c.repeat(ctx, func(asked *SiteConfig) error {
		site, at, err := c.readSite(ctx, id)
		if err != nil {
			return err
		}
		if asked.fields != nil && site.equal(*asked) {
			return nil // the request whose answer was lost has done it
		}
		if etag != "" && etag != at.etag {
			return ErrChanged
		}
		wanted := site.clone()
		if err := change(&wanted); err != nil {
			return err
		}
		if wanted.equal(site) {
			return nil
		}
		*asked = wanted
		body, err := json.Marshal(wanted)
		if err != nil {
			return err
		}
		_, err = c.do(ctx, at.method, at.path, at.etag, body)
		return err
	})
}

// RemoveSite removes a site.
func (c *Client) RemoveSite(ctx context.Context, id uint32) error {
	return c.repeat(ctx, func(asked *SiteConfig) error {
		_, at, err := c.readSite(ctx, id)
		if errors.Is(err, ErrNoSite) && asked.fields != nil {
			return ErrDone
		}
		if err != nil {
			return err
		}
		asked.fields = map[string]json.RawMessage{}
		_, err = c.do(ctx, http.MethodDelete, at.path, at.etag, nil)
		return err
	})
}

// AddSite adds a site under an id that must be free. With id 0, it gets the
// one after the highest, or the lowest free one. It goes to the first source of sites that can be written;
// without one, or with routes, to Caddy's configuration. The id is returned.
func (c *Client) AddSite(ctx context.Context, id uint32, site SiteConfig) (uint32, error) {
	body, err := json.Marshal(site)
	if err != nil {
		return 0, err
	}
	if !site.Has("routes") {
		if sources, err := c.WritableSources(ctx); err != nil {
			return 0, err
		} else if len(sources) > 0 {
			return c.addRow(ctx, id, body)
		}
	}
	chosen := id
	err = c.repeat(ctx, func(asked *SiteConfig) error {
		if asked.fields != nil {
			if present, err := c.SiteConfig(ctx, chosen); err == nil && present.equal(site) {
				return nil
			}
		}
		if id == 0 {
			if chosen, err = c.freeID(ctx); err != nil {
				return err
			}
		}
		*asked = SiteConfig{map[string]json.RawMessage{}}
		_, err := c.do(ctx, http.MethodPut, sitePath(chosen), "", body)
		switch {
		case !hasStatus(err, http.StatusConflict):
			return err
		case id == 0:
			asked.fields = nil // somebody else took the id
			return errAgain
		}
		return fmt.Errorf("there is a site %d already: choose another id, or leave it out", id)
	})
	return chosen, err
}

func (c *Client) freeID(ctx context.Context) (uint32, error) {
	ids, err := c.SiteIDs(ctx)
	if err != nil {
		return 0, err
	}
	highest, taken := uint32(0), make(map[uint32]bool, len(ids))
	note := func(id uint32) { highest, taken[id] = max(highest, id), true }
	for _, id := range ids {
		note(id)
	}
	// Sites of sources have ids too, also those that do not serve.
	for site, err := range c.Sites(ctx) {
		if IsNotFound(err) {
			break // no app is configured, and nothing serves
		}
		if err != nil {
			return 0, err
		}
		note(site.ID)
	}
	return binding.FreeID(highest, func(id uint32) bool { return taken[id] }), nil
}

var errAgain = errors.New("somebody else was faster")

// repeat tries a change until it is made or refused. It is tried again when
// somebody else changed the configuration between reading and writing, and when
// the answer was lost because the admin endpoint was restarted. The function
// leaves in asked what it has asked the server for.
func (c *Client) repeat(ctx context.Context, try func(asked *SiteConfig) error) error {
	var asked SiteConfig
	lost := 0
	for attempt := 1; ; attempt++ {
		err := try(&asked)
		var interrupted *interruptedError
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrDone) && lost > 0:
			return nil
		case errors.As(err, &interrupted) && lost < maxAttempts:
			lost++
		case hasStatus(err, http.StatusPreconditionFailed), errors.Is(err, errAgain):
			asked = SiteConfig{}
		default:
			return err
		}
		if pauseErr := pause(ctx, attempt); pauseErr != nil {
			return fmt.Errorf("given up after %d attempts: %w", attempt, err)
		}
	}
}
