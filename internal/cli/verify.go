package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// Verification is what Verify is asked for.
type Verification struct {
	// Server says where the endpoints are reached, in the form of Place.
	// Without, those with an IP address are reached there, the others at the
	// host of the admin endpoint.
	Server []string

	// Against says where another server has the same endpoints.
	Against []string

	Parallel int           // connections at a time
	Timeout  time.Duration // of each connection
	Path     string        // to request

	// OnlyDifferences leaves out of the table what is as expected.
	OnlyDifferences bool
}

// Comparison is one connection with what came of it.
type Comparison struct {
	Endpoint string `json:"endpoint"` // IP:port of the configuration
	Address  string `json:"address"`  // that was connected to
	Scheme   string `json:"scheme"`
	SNI      string `json:"sni,omitempty"`
	Host     string `json:"host"`

	Expected Expectation `json:"expected"`
	Got      Answer      `json:"got"`

	// Against is what the other server did.
	Against *Answer `json:"against,omitempty"`

	// Differences are those between what was expected and what came, and
	// between the two servers.
	Differences []string `json:"differences,omitempty"`

	local string // as the server sees it
	other string // where the other server has it
}

// Expectation is what the tables of the server say.
type Expectation struct {
	Handshake   string `json:"handshake,omitempty"` // outcome, on https
	Certificate string `json:"certificate,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	Request     string `json:"request,omitempty"` // outcome
	Site        uint32 `json:"site,omitempty"`
	Status      int    `json:"status,omitempty"`

	// ClientCertificate is as of the handshake. None is shown here, so where
	// one is required, the connection ends.
	ClientCertificate string `json:"client_certificate,omitempty"`
}

// Report is the result of Verify in JSON.
type Report struct {
	Total       int           `json:"total"`
	Differ      int           `json:"differ"`
	Comparisons []*Comparison `json:"comparisons"`
}

// Verify makes real connections for each binding, and compares what comes with
// what the tables say and with another server.
func Verify(ctx context.Context, e *Env, v Verification) error {
	if v.Parallel < 1 {
		return &ExitError{ExitNotAsked, fmt.Errorf("--parallel %d: at least one connection at a time is needed", v.Parallel)}
	}
	if _, err := url.ParseRequestURI(v.Path); err != nil {
		return &ExitError{ExitNotAsked, fmt.Errorf("--path %q: expected a path, such as /", v.Path)}
	}
	list, err := e.plan(ctx, v)
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	if len(list) == 0 {
		return &ExitError{ExitNotAsked, fmt.Errorf("there is nothing to verify: no endpoint listens (caddy iis endpoints says why)")}
	}
	if err := e.compareAll(ctx, v, list); err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	return e.report(v, list)
}

// compareAll makes the comparisons, several at a time.
func (e *Env) compareAll(ctx context.Context, v Verification, list []*Comparison) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress := e.startProgress(len(list))
	work := make(chan *Comparison)
	var wg sync.WaitGroup
	for range min(v.Parallel, len(list)) {
		wg.Go(func() {
			for c := range work {
				if err := e.compare(ctx, v, c); err != nil {
					cancel(err)
				}
				progress.done(len(c.Differences) > 0)
			}
		})
	}
feed:
	for _, c := range list {
		select {
		case work <- c:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	progress.stop()
	return context.Cause(ctx)
}

// compare makes one comparison. Should the configuration change between asking
// and connecting, it is made once more.
func (e *Env) compare(ctx context.Context, v Verification, c *Comparison) error {
	for attempt := 1; ; attempt++ {
		x, err := e.Client.Explain(ctx, adminapi.Question{Local: c.local, SNI: c.SNI, Host: c.Host, Scheme: c.Scheme})
		if err != nil {
			return err
		}
		c.Expected = expect(x)
		c.Got = v.probe(ctx, c, c.Address)
		c.Differences = unexpected(c.Expected, c.Got)
		if len(c.Differences) == 0 || attempt == 2 {
			break
		}
	}
	if c.other != "" {
		answer := v.probe(ctx, c, c.other)
		c.Against = &answer
		c.Differences = append(c.Differences, between(answer, c.Got)...)
	}
	return nil
}

// report shows the comparisons.
func (e *Env) report(v Verification, list []*Comparison) error {
	r := Report{Total: len(list), Comparisons: list}
	for _, c := range list {
		if len(c.Differences) > 0 {
			r.Differ++
		}
	}
	code := ExitOK
	if r.Differ > 0 {
		code = ExitDiffers
	}
	if e.JSON {
		if err := e.json(r); err != nil {
			return err
		}
		return exit(code)
	}
	if t := comparisonTable(v, list); len(t.rows) > 0 {
		if err := e.write(t); err != nil {
			return err
		}
		e.printf("\n")
	}
	for _, c := range list {
		for _, d := range c.Differences {
			e.printf("%s: %s\n", e.paint(red, c.label()), d)
		}
	}
	e.printf("%s, %s\n", count(r.Total, "connection"), verdict(r.Differ))
	return exit(code)
}

func verdict(differ int) string {
	switch differ {
	case 0:
		return "all as expected"
	case 1:
		return "1 differs"
	}
	return fmt.Sprintf("%d differ", differ)
}

// label names a comparison in messages.
func (c *Comparison) label() string {
	text := c.Scheme + " " + c.Endpoint
	switch {
	case c.Scheme == "http":
		return text + " host " + c.Host
	case c.SNI == "":
		return text + " without SNI"
	}
	return text + " " + c.SNI
}

func comparisonTable(v Verification, list []*Comparison) *table {
	t := &table{heads: []string{"ENDPOINT", "PROTOCOL", "SNI", "HOST", "CERTIFICATE", "STATUS", "RESULT"}, flex: []int{2, 3, 4}}
	for _, c := range list {
		result := cell{"ok", green}
		if len(c.Differences) > 0 {
			result = cell{"differs", red}
		} else if v.OnlyDifferences {
			continue
		}
		certificate := c.Got.certificate()
		switch {
		case c.Got.Unreachable:
			certificate = "none"
		case c.Got.Refused:
			certificate = "refused"
		case c.Expected.Certificate != "" && c.Got.SHA256 == c.Expected.SHA256:
			certificate = c.Expected.Certificate
		}
		status := ""
		if c.Got.Status != 0 {
			status = fmt.Sprint(c.Got.Status)
		}
		t.add(text(c.Endpoint), text(c.Scheme), text(c.SNI), text(c.Host), text(certificate), text(status), result)
	}
	return t
}

// progress shows on a terminal how far Verify has come.
type progress struct {
	env          *Env
	total        int
	made, differ atomic.Int64
	end          chan struct{}
	ended        sync.WaitGroup
}

func (e *Env) startProgress(total int) *progress {
	p := &progress{env: e, total: total, end: make(chan struct{})}
	if !e.Progress {
		return p
	}
	p.ended.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-p.end:
				fmt.Fprintf(e.Err, "\r%*s\r", 70, "")
				return
			case <-ticker.C:
				fmt.Fprintf(e.Err, "\r%s", p.bar())
			}
		}
	})
	return p
}

func (p *progress) done(differs bool) {
	p.made.Add(1)
	if differs {
		p.differ.Add(1)
	}
}

func (p *progress) bar() string {
	const width = 30
	made := int(p.made.Load())
	filled := made * width / p.total
	return fmt.Sprintf("[%s%s] %d of %d, %d differ", strings.Repeat("#", filled), strings.Repeat(".", width-filled), made, p.total, p.differ.Load())
}

func (p *progress) stop() {
	close(p.end)
	p.ended.Wait()
}
