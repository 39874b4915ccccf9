package adminapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Sources returns the sources of sites. There are none where no iis app is configured.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	var page Page[Source]
	if err := c.GetJSON(ctx, Base+"sources", nil, &page); err != nil && !IsNotFound(err) {
		return nil, err
	}
	return page.Items, nil
}

// WritableSources returns those that can be written, or could if they were not damaged: what is
// for one of them goes nowhere else, and is answered with what is wrong with it.
func (c *Client) WritableSources(ctx context.Context) ([]Source, error) {
	list, err := c.Sources(ctx)
	return slices.DeleteFunc(list, func(s Source) bool { return !s.Writable && !s.Damaged }), err
}

func rowPath(id uint32) string { return Base + "sites/" + strconv.FormatUint(uint64(id), 10) }

// readRow reads a site that a source keeps.
func (c *Client) readRow(ctx context.Context, id uint32) (SiteConfig, kept, error) {
	site, err := c.Site(ctx, id)
	if IsNotFound(err) || err == nil && site.Document == nil {
		return SiteConfig{}, kept{}, ErrNoSite
	}
	if err != nil {
		return SiteConfig{}, kept{}, err
	}
	var cfg SiteConfig
	if err := json.Unmarshal(site.Document, &cfg); err != nil {
		return SiteConfig{}, kept{}, fmt.Errorf("site %d has an unexpected form in %s: %w", id, site.Source, err)
	}
	if cfg.fields == nil {
		cfg.fields = make(map[string]json.RawMessage)
	}
	return cfg, kept{rowPath(id), site.ETag, http.MethodPut}, nil
}

// addRow adds a site to the first source that can be written.
func (c *Client) addRow(ctx context.Context, id uint32, body []byte) (uint32, error) {
	method, path, none := http.MethodPost, Base+"sites", ""
	if id != 0 {
		method, path, none = http.MethodPut, rowPath(id), "*"
	}
	var written Written
	err := c.write(ctx, method, path, body, &written, "If-None-Match", none, "Idempotency-Key", rand.Text())
	if hasStatus(err, http.StatusPreconditionFailed) {
		err = fmt.Errorf("there is a site %d already: choose another id, or leave it out", id)
	}
	return written.ID, err
}

// ChangeSites makes changes as one transaction. With a source, new sites go there.
func (c *Client) ChangeSites(ctx context.Context, source string, changes []Change) (Written, error) {
	var written Written
	body, err := json.Marshal(changes)
	if err != nil {
		return written, err
	}
	path := Base + "changes"
	if source != "" {
		path += "?source=" + url.QueryEscape(source)
	}
	return written, c.write(ctx, http.MethodPost, path, body, &written, "Idempotency-Key", rand.Text())
}

// Revert takes a revision of a source back.
func (c *Client) Revert(ctx context.Context, source string, revision uint64) (Written, error) {
	var written Written
	path := Base + "revisions/" + strconv.FormatUint(revision, 10) + "/revert"
	if source != "" {
		path += "?source=" + url.QueryEscape(source)
	}
	return written, c.write(ctx, http.MethodPost, path, nil, &written, "Idempotency-Key", rand.Text())
}

// Accept takes a source as it is that has lost many sites.
func (c *Client) Accept(ctx context.Context, source string) (Accepted, error) {
	var accepted Accepted
	return accepted, c.write(ctx, http.MethodPost, Base+"sources/"+url.PathEscape(source)+"/accept", nil, &accepted)
}

// write makes a request that can be repeated: it has a key. Empty headers are left
// out.
func (c *Client) write(ctx context.Context, method, path string, body []byte, into any, headers ...string) error {
	lost := 0
	for attempt := 1; ; attempt++ {
		err := c.send(ctx, method, path, body, into, headers...)
		_, interrupted := errors.AsType[*interruptedError](err)
		switch {
		case interrupted && lost < maxAttempts:
			lost++
		case hasStatus(err, http.StatusServiceUnavailable) && attempt < maxAttempts:
		default:
			return err
		}
		if pauseErr := pause(ctx, attempt); pauseErr != nil {
			return fmt.Errorf("given up after %d attempts: %w", attempt, err)
		}
	}
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, into any, headers ...string) error {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	a, err := c.roundTrip(ctx, req)
	if err != nil || into == nil || len(a.body) == 0 {
		return err
	}
	return json.Unmarshal(a.body, into)
}

// Export copies what is accepted of the sites of a source, a JSON object a line with the id
// beside the fields, as in a sites file.
func (c *Client) Export(ctx context.Context, source string, to io.Writer) error {
	return c.lines(ctx, Base+"export?source="+url.QueryEscape(source), func(body io.Reader) error {
		_, err := io.Copy(to, body)
		return err
	})
}

// Backup copies the file of a source as it is at one moment.
func (c *Client) Backup(ctx context.Context, source string, to io.Writer) error {
	path := Base + "backup"
	if source != "" {
		path += "?source=" + url.QueryEscape(source)
	}
	return c.lines(ctx, path, func(body io.Reader) error {
		_, err := io.Copy(to, body)
		return err
	})
}

// SiteETags returns the ETag of each site of a source, for Change.IfMatch.
func (c *Client) SiteETags(ctx context.Context, source string) (map[uint32]string, error) {
	tags := make(map[uint32]string)
	err := c.lines(ctx, Base+"export?revisions=1&source="+url.QueryEscape(source), func(body io.Reader) error {
		for decoder := json.NewDecoder(body); ; {
			var line struct {
				ID   uint32
				ETag string
			}
			if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			tags[line.ID] = line.ETag
		}
	})
	return tags, err
}

// lines reads an answer that may be long.
func (c *Client) lines(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(resp.Body)
		return refusal(resp.StatusCode, content)
	}
	return read(resp.Body)
}

// Revisions lists what was written to a source, the newest first.
func (c *Client) Revisions(ctx context.Context, source, after string, limit int) (json.RawMessage, error) {
	params := url.Values{"limit": {strconv.Itoa(limit)}}
	if source != "" {
		params.Set("source", source)
	}
	if after != "" {
		params.Set("after", after)
	}
	a, err := c.get(ctx, Base+"revisions?"+params.Encode())
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(a.body), nil
}
