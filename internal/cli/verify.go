package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
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
		c.Differences = c.Expected.differences(c.Got)
		if len(c.Differences) == 0 || attempt == 2 {
			break
		}
	}
	if c.other != "" {
		answer := v.probe(ctx, c, c.other)
		c.Against = &answer
		c.Differences = append(c.Differences, answer.differences(c.Got)...)
	}
	return nil
}

func expect(x adminapi.Explanation) Expectation {
	var want Expectation
	if h := x.Handshake; h != nil {
		want.Handshake = h.Outcome
		want.Certificate = h.Certificate
		if h.Leaf != nil {
			want.SHA256 = h.Leaf.SHA256
		}
	}
	if r := x.Request; r != nil {
		want.Request, want.Site, want.Status = r.Outcome, r.Site, r.Status
	}
	return want
}

// differences compares an answer with what the tables say.
func (want Expectation) differences(got Answer) []string {
	switch {
	case got.Unreachable:
		return []string{"nothing answers: " + got.Error}
	case want.Handshake == adminapi.OutcomeRefused && got.Refused:
		return nil
	case want.Handshake == adminapi.OutcomeRefused:
		return []string{fmt.Sprintf("the handshake was to be refused, but certificate %s came", got.certificate())}
	case got.Refused:
		return []string{fmt.Sprintf("the handshake failed (%s), instead of certificate %q", got.Error, want.Certificate)}
	}
	var differences []string
	if want.SHA256 != "" && got.SHA256 != want.SHA256 {
		differences = append(differences, fmt.Sprintf("certificate %s instead of %q", got.certificate(), want.Certificate))
	}
	switch {
	case want.Request == adminapi.OutcomeSite && got.InvalidHost:
		differences = append(differences, fmt.Sprintf("no site answers (%d, %s), instead of site %d", got.Status, headingInvalidHost, want.Site))
	case want.Request == adminapi.OutcomeSite || want.Request == adminapi.OutcomeServer:
		if got.Status == 0 {
			differences = append(differences, fmt.Sprintf("the connection was closed without an answer (%s), instead of %s", got.Error, want.who()))
		}
	case got.Status != want.Status:
		differences = append(differences, fmt.Sprintf("%s instead of %s", statusText(got.Status), statusText(want.Status)))
	}
	return differences
}

func (want Expectation) who() string {
	if want.Request == adminapi.OutcomeServer {
		return "the answer of an ordinary HTTP server"
	}
	return fmt.Sprintf("site %d", want.Site)
}

func statusText(status int) string {
	if status == 0 {
		return "no answer"
	}
	return fmt.Sprintf("status %d", status)
}

// differences compares the other server's answer with this server's.
func (other Answer) differences(got Answer) []string {
	switch {
	case other.Unreachable:
		return []string{"the other server cannot be compared: " + other.Error}
	case got.Unreachable:
		return nil // that is said already
	case other.Refused && got.Refused:
		return nil
	case other.Refused:
		return []string{fmt.Sprintf("the other server refuses the handshake (%s), this one has certificate %s", other.Error, got.certificate())}
	case got.Refused:
		return []string{"the other server has certificate " + other.certificate() + ", this one refuses the handshake"}
	}
	var differences []string
	add := func(what, theirs, ours string) {
		differences = append(differences, fmt.Sprintf("the other server has %s %s, this one %s", what, theirs, ours))
	}
	switch {
	case other.SHA256 != got.SHA256:
		add("certificate", other.certificate(), got.certificate())
	case !slices.Equal(other.Chain, got.Chain):
		add("a chain of", fmt.Sprintf("%d certificates (%s)", len(other.Chain), strings.Join(other.Chain, ", ")),
			fmt.Sprintf("%d (%s)", len(got.Chain), strings.Join(got.Chain, ", ")))
	}
	if other.Status != got.Status {
		differences = append(differences, fmt.Sprintf("the other server answers with %s, this one with %s", statusText(other.Status), statusText(got.Status)))
	}
	if other.Location != got.Location {
		differences = append(differences, fmt.Sprintf("the other server redirects to %s, this one to %s", cmp.Or(other.Location, "nowhere"), cmp.Or(got.Location, "nowhere")))
	}
	return differences
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
