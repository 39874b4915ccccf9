package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Base is the path below which the API of the iis app is.
const Base = "/iis/"

// The sizes of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Client talks to the admin endpoint of a running Caddy. The endpoint is
// restarted whenever a configuration is loaded, so each request has a
// connection of its own.
type Client struct {
	address string // as it was given, for messages
	network caddy.NetworkAddress
	origin  string
	http    http.Client
}

// New returns a client of the admin endpoint at an address as Caddy's admin
// option has it: localhost:2019, or unix//run/caddy.sock.
func New(address string) (*Client, error) {
	expanded, err := caddy.NewReplacer().ReplaceOrErr(address, true, true)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", address, err)
	}
	parsed, err := caddy.ParseNetworkAddress(expanded)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", address, err)
	}
	if parsed.PortRangeSize() > 1 {
		return nil, fmt.Errorf("admin address %q: it must be one address, not a range of ports", address)
	}
	c := &Client{address: address, network: parsed, origin: "http://127.0.0.1"}
	if parsed.IsUnixNetwork() {
		// The permissions of the socket are no part of its path.
		c.network.Host, _, _ = strings.Cut(parsed.Host, "|")
	} else {
		c.origin = "http://" + parsed.JoinHostPort(0)
	}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx)
		},
	}
	return c, nil
}

// dial connects to the admin endpoint. While it is restarted, a connection can
// even be reset before it is established, so it is tried more than once.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		conn, err := new(net.Dialer).DialContext(ctx, c.network.Network, c.network.JoinHostPort(0))
		if err == nil {
			return conn, nil
		}
		if attempt == attempts || pause(ctx, attempt) != nil {
			return nil, &unreachableError{address: c.address, err: err}
		}
	}
}

// Host is the host of the admin endpoint, empty if it is no TCP address.
func (c *Client) Host() string {
	if c.network.IsUnixNetwork() || c.network.IsFdNetwork() {
		return ""
	}
	return c.network.Host
}

// unreachableError is the error of a request that was never made.
type unreachableError struct {
	address string
	err     error
}

// Error implements error.
func (e *unreachableError) Error() string {
	return fmt.Sprintf("no admin endpoint answers at %s: is Caddy running, with this admin address? "+
		"--address names another, --config the configuration that has it (%v)", e.address, e.err)
}

// Unwrap returns the error of the dialer.
func (e *unreachableError) Unwrap() error { return e.err }

// interruptedError is the error of a request that was made, but whose answer
// never came: whether it was obeyed is unknown.
type interruptedError struct{ err error }

// Error implements error.
func (e *interruptedError) Error() string {
	return fmt.Sprintf("the admin endpoint closed the connection without an answer: %v", e.err)
}

// Unwrap returns the error of the connection.
func (e *interruptedError) Unwrap() error { return e.err }

// Error is an answer of the admin endpoint that says no.
type Error struct {
	Status  int
	Message string

	// Refused has the rest of a refusal to change a site of a source, such as the
	// site that it contradicts. It is empty in other answers.
	Refused WriteError
}

// Error returns the reason that the server gives.
func (e *Error) Error() string { return e.Message }

// hasStatus reports whether an error is an answer with this status.
func hasStatus(err error, status int) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.Status == status
}

// IsNotFound reports whether the server knows no such thing.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// WantsCondition reports whether the server makes no change that does not say which
// revision of a site it is about.
func WantsCondition(err error) bool { return hasStatus(err, http.StatusPreconditionRequired) }

// IsUnanswered reports whether the server gave no answer, or was not there.
func IsUnanswered(err error) bool {
	_, unreachable := errors.AsType[*unreachableError](err)
	_, interrupted := errors.AsType[*interruptedError](err)
	return unreachable || interrupted || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

type answer struct {
	etag string
	body []byte
}

// do makes a request once.
func (c *Client) do(ctx context.Context, method, path, ifMatch string, body []byte) (*answer, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	return c.roundTrip(ctx, req)
}

func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.origin+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if !c.network.IsUnixNetwork() && !c.network.IsFdNetwork() {
		req.Header.Set("Origin", c.origin)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if actor := ActorOf(ctx); actor != "" {
		req.Header.Set("Iis-Actor", actor)
	}
	return req, nil
}

func (c *Client) roundTrip(ctx context.Context, req *http.Request) (*answer, error) {
	// net/http itself would repeat a request with a safe method only.
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, refusal(resp.StatusCode, content)
	}
	return &answer{etag: resp.Header.Get("ETag"), body: content}, nil
}

func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the admin endpoint did not answer in time: %w", ctx.Err())
	}
	if unreachable, ok := errors.AsType[*unreachableError](err); ok {
		return unreachable
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &interruptedError{err}
}

// refusal turns an error answer into an Error.
func refusal(status int, content []byte) error {
	var said WriteError
	if err := json.Unmarshal(content, &said); err != nil || said.Message == "" {
		said = WriteError{Message: strings.TrimSpace(string(content))}
	}
	if said.Message == "" {
		said.Message = fmt.Sprintf("the admin endpoint answered %d %s", status, http.StatusText(status))
	}
	return &Error{Status: status, Message: WithoutChain(said.Message), Refused: said}
}

// chain is what Caddy puts before the reason why it refuses a configuration: the way
// through its adapter and its modules.
var chain = regexp.MustCompile(`adapting config using caddyfile: |parsing caddyfile tokens for '[^']*': |` +
	`loading new config: |loading iis app module: |provision iis: |iis app module: |` +
	`loading module '[^']*': |provision iis\.certificates\.[a-z_]+: |` +
	`(?:setting up subroutes: )?route \d+: loading handler modules: position \d+: |` +
	`provision http\.handlers\.(?:subroute: |iis_rewrite: )?`)

// WithoutChain cuts that off.
func WithoutChain(message string) string { return chain.ReplaceAllString(message, "") }

// get makes a request that changes nothing, and repeats it when the endpoint
// is restarted meanwhile.
func (c *Client) get(ctx context.Context, path string) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.do(ctx, http.MethodGet, path, "", nil)
		var interrupted *interruptedError
		if attempt == maxAttempts || !errors.As(err, &interrupted) {
			return a, err
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
}

const maxAttempts = 10

// pause waits a little, longer each time.
func pause(ctx context.Context, attempt int) error {
	limit := min(10*time.Millisecond<<min(attempt, 10), time.Second)
	timer := time.NewTimer(limit/2 + rand.N(limit/2)) //nolint:gosec // so that two who wait do not meet again
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// GetJSON makes a GET request and decodes the answer.
func (c *Client) GetJSON(ctx context.Context, path string, params url.Values, into any) error {
	if len(params) > 0 {
		path += "?" + params.Encode()
	}
	a, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("%s: unexpected answer of the admin endpoint: %w", path, err)
	}
	return nil
}

// all follows a list from page to page.
func all[T any](ctx context.Context, c *Client, path string, filters ...string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		params := url.Values{"limit": {strconv.Itoa(MaxLimit)}}
		for i := 0; i < len(filters); i += 2 {
			params.Set(filters[i], filters[i+1])
		}
		for {
			var p Page[T]
			if err := c.GetJSON(ctx, path, params, &p); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			params.Set("after", p.Next)
		}
	}
}

// Sites returns the sites in the order of their ids: all, or those that filters leave,
// pairs of a parameter and its value.
func (c *Client) Sites(ctx context.Context, filters ...string) iter.Seq2[Site, error] {
	return all[Site](ctx, c, Base+"sites", filters...)
}

// SitesPage returns a page of that list.
func (c *Client) SitesPage(ctx context.Context, limit int, filters ...string) (Page[Site], error) {
	params := url.Values{"limit": {strconv.Itoa(limit)}}
	for i := 0; i < len(filters); i += 2 {
		params.Set(filters[i], filters[i+1])
	}
	var page Page[Site]
	err := c.GetJSON(ctx, Base+"sites", params, &page)
	return page, err
}

// Endpoints returns all endpoints by port.
func (c *Client) Endpoints(ctx context.Context) iter.Seq2[Endpoint, error] {
	return all[Endpoint](ctx, c, Base+"endpoints")
}

// Certificates returns all certificates by name.
func (c *Client) Certificates(ctx context.Context) iter.Seq2[Certificate, error] {
	return all[Certificate](ctx, c, Base+"certificates")
}

// Findings returns all findings, the worst first.
func (c *Client) Findings(ctx context.Context) iter.Seq2[Finding, error] {
	return all[Finding](ctx, c, Base+"check")
}

// Site returns one site.
func (c *Client) Site(ctx context.Context, id uint32) (Site, error) {
	var s Site
	err := c.GetJSON(ctx, Base+"sites/"+strconv.FormatUint(uint64(id), 10), nil, &s)
	return s, err
}

// Question is what Explain is asked.
type Question struct {
	Local, SNI, Host, Scheme string
}

// Explain tells what a client would get.
func (c *Client) Explain(ctx context.Context, q Question) (Explanation, error) {
	params := url.Values{"local": {q.Local}}
	for name, value := range map[string]string{"sni": q.SNI, "host": q.Host, "scheme": q.Scheme} {
		if value != "" {
			params.Set(name, value)
		}
	}
	var e Explanation
	err := c.GetJSON(ctx, Base+"explain", params, &e)
	return e, err
}
