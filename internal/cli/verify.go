package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
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

	// Paths is a file with what else is requested, and the status that is right
	// there.
	Paths string

	// Protocols are those of HTTP that are spoken on https: h1, h2, h3.
	Protocols []string

	// Roots are files with the authorities that clients trust beside those of
	// this machine; the word internal stands for Caddy's own.
	Roots []string

	// Cert and Key are files with the certificate that is shown where the server
	// asks for one. Both are empty if none is.
	Cert, Key string

	// GiveUp is after how many failures in a row at one address, without any
	// answer in between, the rest is not tried. 0: all are.
	GiveUp int

	// OnlyDifferences leaves out of the table what is as expected.
	OnlyDifferences bool

	client *tls.Certificate // of Cert and Key
	roots  *x509.CertPool   // nil: those of this machine
	paths  []pathLine
}

// The protocols of HTTP.
const (
	protocolH1 = "h1"
	protocolH2 = "h2"
	protocolH3 = "h3"
)

// Comparison is one connection with what came of it.
type Comparison struct {
	Endpoint string `json:"endpoint"` // IP:port of the configuration
	Address  string `json:"address"`  // that was connected to
	Scheme   string `json:"scheme"`
	Protocol string `json:"protocol"` // h1, h2 or h3
	SNI      string `json:"sni,omitempty"`
	Host     string `json:"host"`
	Path     string `json:"path"`

	Expected Expectation `json:"expected"`
	Got      Answer      `json:"got"`

	// Against is what the other server did.
	Against *Answer `json:"against,omitempty"`

	// Class is the worst of the reasons, "expected" if there are none.
	Class Class `json:"class"`

	// Reasons are why it is not as expected.
	Reasons []Reason `json:"reasons,omitempty"`

	faults  []Reason // why what it is for is not served
	settled bool     // there is nothing to connect to
	what    string   // it is about, if it has no endpoint

	named  bool   // the host is one of a binding
	idle   bool   // of sites alone that are meant to be stopped
	status int    // that --paths names, 0: none
	local  string // as the server sees it
	other  string // where the other server has it
}

// Expectation is what the tables of the server say.
type Expectation struct {
	Handshake   string `json:"handshake,omitempty"` // outcome, on https
	Certificate string `json:"certificate,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	Request     string `json:"request,omitempty"` // outcome
	Site        uint32 `json:"site,omitempty"`
	Status      int    `json:"status,omitempty"`

	// ClientCertificate is as of the handshake.
	ClientCertificate string `json:"client_certificate,omitempty"`

	// NotOffered tells that the configuration leaves the protocol out.
	NotOffered bool `json:"not_offered,omitempty"`

	refusal     string // why the handshake is refused
	deliberate  bool   // since somebody wanted it so
	unavailable bool   // for want of the certificate that is meant
}

// Verify makes real connections for each binding, and compares what comes with
// what the tables say and with another server.
func Verify(ctx context.Context, e *Env, v Verification) error {
	notAsked := func(err error) error { return &ExitError{ExitNotAsked, err} }
	if err := v.prepare(ctx, e); err != nil {
		return notAsked(err)
	}
	list, err := e.plan(ctx, v)
	if err != nil {
		return notAsked(err)
	}
	if len(list) == 0 {
		return notAsked(errors.New("there is nothing to verify: no endpoint listens (caddy iis endpoints says why)"))
	}
	r := e.newRun(v, list)
	if err := r.all(ctx); err != nil {
		return notAsked(err)
	}
	return e.report(v, r)
}

// prepare checks the settings and reads the files that they name.
func (v *Verification) prepare(ctx context.Context, e *Env) error {
	if v.Parallel < 1 {
		return fmt.Errorf("--parallel %d: at least one connection at a time is needed", v.Parallel)
	}
	if v.Timeout <= 0 {
		return fmt.Errorf("--timeout %v: a connection needs time, such as 10s", v.Timeout)
	}
	if v.GiveUp < 0 {
		return fmt.Errorf("--give-up %d: expected a number of failures, or 0 for never", v.GiveUp)
	}
	if err := validPath(v.Path); err != nil {
		return fmt.Errorf("--path: %w", err)
	}
	if len(v.Protocols) == 0 {
		v.Protocols = []string{protocolH1}
	}
	for _, p := range v.Protocols {
		if !slices.Contains([]string{protocolH1, protocolH2, protocolH3}, p) {
			return fmt.Errorf("--protocols: unknown word %q: expected h1, h2 or h3, such as --protocols h1,h3", p)
		}
	}
	slices.Sort(v.Protocols)
	v.Protocols = slices.Compact(v.Protocols)
	if (v.Cert == "") != (v.Key == "") {
		return errors.New("a client certificate has two files: --cert names the certificate, --key its private key")
	}
	if v.Cert != "" {
		cert, err := tls.LoadX509KeyPair(v.Cert, v.Key)
		if err != nil {
			return fmt.Errorf("--cert, --key: %w", err)
		}
		v.client = &cert
	}
	var err error
	if v.roots, err = e.readRoots(ctx, v.Roots); err != nil {
		return fmt.Errorf("--roots: %w", err)
	}
	if v.Paths != "" {
		if v.paths, err = readPaths(v.Paths); err != nil {
			return fmt.Errorf("--paths: %w", err)
		}
	}
	return nil
}

func validPath(path string) error {
	if u, err := url.ParseRequestURI(path); err != nil || u.Host != "" || path[0] != '/' {
		return fmt.Errorf("%q is no path: expected one such as / or /status?full=1", path)
	}
	return nil
}

// label names a comparison in messages.
func (c *Comparison) label() string {
	text := c.Scheme + " " + c.Endpoint
	switch {
	case c.what != "":
		return c.what
	case c.Host == "":
	case c.Scheme == "http":
		text += " host " + c.Host
	case c.SNI == "":
		text += " without SNI"
	default:
		text += " " + c.SNI
	}
	if c.Path != "/" {
		text += c.Path
	}
	if c.Protocol != protocolH1 && !c.settled {
		text += " by " + c.Protocol
	}
	return text
}
