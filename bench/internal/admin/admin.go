// Package admin talks to the admin endpoint of a running Caddy.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// Client is a client of one admin endpoint. It makes a connection for each
// request, since each load restarts the endpoint.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the admin endpoint at a port of 127.0.0.1.
func New(port int) *Client {
	return &Client{
		base: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// Load replaces the configuration.
func (c *Client) Load(ctx context.Context, config []byte) error {
	_, err := c.do(ctx, http.MethodPost, "/load", config)
	return err
}

// Patch replaces one value of the configuration.
func (c *Client) Patch(ctx context.Context, path string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPatch, "/config"+path, raw)
	return err
}

// Ask makes a request to the API of the app iis, with a body of JSON if there is one.
func (c *Client) Ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return c.do(ctx, method, "/iis/"+path, body)
}

// AwaitLoaded waits until Caddy has loaded its first configuration.
func (c *Client) AwaitLoaded(ctx context.Context) error {
	for {
		// While Caddy loads a configuration it does not show any.
		shown, err := c.do(ctx, http.MethodGet, "/config/admin", nil)
		if err == nil && !bytes.HasPrefix(shown, []byte("null")) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// collections is how often garbage is collected before the heap is read: what
// pools hold, and what has a finalizer, goes with the second one.
const collections = 3

// Heap returns the bytes of live objects on the heap.
func (c *Client) Heap(ctx context.Context) (uint64, error) {
	var heap uint64
	for range collections {
		// The answer has the statistics of the memory below the profile, read
		// when the collection was over.
		profile, err := c.do(ctx, http.MethodGet, "/debug/pprof/heap?gc=1&debug=1", nil)
		if err != nil {
			return 0, err
		}
		if heap, err = heapAlloc(profile); err != nil {
			return 0, err
		}
	}
	return heap, nil
}

var heapLine = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

func heapAlloc(profile []byte) (uint64, error) {
	match := heapLine.FindSubmatch(profile)
	if match == nil {
		return 0, errors.New("the profile of the heap does not tell HeapAlloc")
	}
	return strconv.ParseUint(string(match[1]), 10, 64)
}

var goroutinesLine = regexp.MustCompile(`^goroutine profile: total (\d+)\n`)

// Goroutines returns how many goroutines there are.
func (c *Client) Goroutines(ctx context.Context) (uint64, error) {
	profile, err := c.do(ctx, http.MethodGet, "/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return 0, err
	}
	match := goroutinesLine.FindSubmatch(profile)
	if match == nil {
		return 0, errors.New("the profile of goroutines does not tell how many there are")
	}
	return strconv.ParseUint(string(match[1]), 10, 64)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, answer)
	}
	return answer, nil
}
