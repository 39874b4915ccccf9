package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/places"
	"github.com/caddy-iis/caddy-iis/internal/world"
)

// Surroundings say how far Check looks beyond the configuration.
type Surroundings struct {
	Probe bool     // at folders and upstreams
	DNS   bool     // at the names of hosts
	Here  []string // addresses at which clients reach this machine, beside its own
}

// CheckRunning shows the findings of the running configuration and, if they are asked
// for, how the certificates of its https bindings stand.
func CheckRunning(ctx context.Context, e *Env, s Surroundings, bindings bool) error {
	findings, err := e.runningFindings(ctx, s)
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	if !bindings {
		return Check(e, findings)
	}
	sites, err := collect(e.Client.Sites(ctx))
	if err != nil {
		return &ExitError{ExitNotAsked, err}
	}
	return CheckBindings(e, findings, sites)
}

func (e *Env) runningFindings(ctx context.Context, s Surroundings) ([]adminapi.Finding, error) {
	findings, err := collect(e.Client.Findings(ctx))
	if err != nil {
		return nil, err
	}
	raw, err := e.Client.App(ctx)
	if err != nil {
		return nil, err
	}
	counter, err := places.New(raw)
	if err != nil {
		return nil, err
	}
	var hosts world.Hosts
	if err := e.countSites(ctx, counter); err != nil {
		return nil, err
	}
	if s.DNS {
		for site, err := range e.Client.Sites(ctx) {
			if err != nil {
				return nil, err
			}
			for _, b := range site.Bindings {
				if parsed, err := binding.Parse(b.Protocol, b.Binding); err == nil && site.State == adminapi.StateStarted {
					hosts.Add(site.ID, siteLabel(site.ID, site.Name), parsed.Host)
				}
			}
		}
	}
	decide := PlaceFindings(counter.Count())
	if (s.Probe || s.DNS) && !onThisMachine(e.Client.Host()) {
		return append(append(findings, decide...), adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: world.CodeNotLooked,
			Message: "folders, upstreams and DNS were not looked at: Caddy runs on another machine", Fix: "run caddy iis check there",
		}), nil
	}
	parts, err := world.Find(raw)
	if err != nil {
		return nil, err
	}
	if s.Probe {
		findings = append(findings, e.findRows(ctx, raw, parts)...)
	}
	around, err := s.Findings(ctx, parts.Parts(), &hosts, false)
	return slices.Concat(findings, around, decide), err
}

// findRows finds what rows of the running configuration need: those of its sources, and those
// of a sites file whose path means the same here. It tells which could not be read.
func (e *Env) findRows(ctx context.Context, raw []byte, parts *world.Finder) (findings []adminapi.Finding) {
	if path := world.SitesFile(raw); filepath.IsAbs(path) {
		parts.File(path)
	}
	notLooked := func(what string, err error) {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: world.CodeNotLooked, Message: fmt.Sprintf("folders and upstreams of %s were not looked at: %v", what, err),
		})
	}
	sources, err := e.Client.Sources(ctx)
	if err != nil {
		notLooked("rows of sources", err)
	}
	for _, source := range sources {
		if source.Name == adminapi.SourceSitesFile {
			continue // there is no export of it
		}
		reader, writer := io.Pipe()
		go func() { _ = writer.CloseWithError(e.Client.Export(ctx, source.Name, writer)) }()
		if err := parts.Rows(reader); err != nil {
			notLooked("rows of "+source.Name, err)
		}
		_ = reader.Close()
	}
	return findings
}

// onThisMachine tells whether a host of an admin endpoint is this machine: its folders
// and its network are those that we see.
func onThisMachine(host string) bool {
	if host == "" || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := world.Addresses()
	return err == nil && (ip.IsLoopback() || slices.Contains(own, ip.Unmap()))
}

// Findings are those about what the configuration needs of this machine. relative tells
// that relative paths begin at the working folder.
func (s Surroundings) Findings(ctx context.Context, parts world.Parts, hosts *world.Hosts, relative bool) ([]adminapi.Finding, error) {
	var findings []adminapi.Finding
	if s.Probe {
		findings = world.Look(ctx, parts, world.Options{Relative: relative})
	}
	if !s.DNS {
		return findings, nil
	}
	here, err := world.Addresses()
	if err != nil {
		return nil, fmt.Errorf("the addresses of this machine: %w", err)
	}
	for _, text := range s.Here {
		ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return nil, fmt.Errorf("--here: %q is no IP address, such as 192.0.2.7", text)
		}
		here = append(here, ip.Unmap())
	}
	return append(findings, hosts.DNS(ctx, net.DefaultResolver, here)...), nil
}

// The codes of the findings about what an import has left to people.
const (
	codeSites    = "closed-sites"
	codeClosed   = "closed-places"
	codeWaiting  = "waiting-places"
	codeUpstream = "unset-upstreams"
)

// PlaceFindings says, in a configuration and its sites, what an import has left to people. If
// there is nothing of the kind, there are none of these findings.
func PlaceFindings(count places.Count) (findings []adminapi.Finding) {
	if count.Zero() {
		return nil
	}
	for i, sentence := range count.Sentences() {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: []string{codeSites, codeClosed, codeWaiting, codeUpstream}[i], Message: sentence,
		})
	}
	return findings
}

// countSites counts the sites that are served, by their templates, which lists of sites do not have.
func (e *Env) countSites(ctx context.Context, c *places.Counter) error {
	if !c.Some() {
		return nil
	}
	templates := make(map[uint32]string)
	for _, name := range c.Templates() {
		for site, err := range e.Client.Sites(ctx, "template", name) {
			if err != nil {
				return err
			}
			templates[site.ID] = name
		}
	}
	for site, err := range e.Client.Sites(ctx) {
		switch {
		case err != nil:
			return err
		case !site.IsServed():
		case site.Source == "":
			c.Site(site.ID)
		default:
			c.Row(templates[site.ID])
		}
	}
	return nil
}

// CheckBindings shows how the certificates of the https bindings of sites stand, and
// then findings as [Check] does.
func CheckBindings(e *Env, findings []adminapi.Finding, sites []adminapi.Site) error {
	if e.JSON {
		sortFindings(findings)
		if err := e.json(struct {
			Findings []adminapi.Finding `json:"findings"`
			Sites    []adminapi.Site    `json:"sites"`
		}{list(findings), list(sites)}); err != nil {
			return err
		}
		return exit(severityCode(findings))
	}
	t := &table{heads: []string{"SITE", "BINDING", "CERTIFICATE", "COVERS", "ENDS", "RENEWED BY", "LAST FAILURE"}, flex: []int{1, 6}}
	for _, site := range sites {
		for _, b := range site.Bindings {
			if b.Protocol != "https" {
				continue
			}
			renewed := b.RenewedBy
			if b.Renews != nil {
				renewed += " on " + date(b.Renews)
			}
			t.add(text(fmt.Sprint(site.ID)), text(b.Binding), text(recordCertificate(b)), coversCell(b), text(date(b.NotAfter)), text(renewed), cell{b.Error, yellow})
		}
	}
	if len(t.rows) > 0 {
		if err := e.write(t); err != nil {
			return err
		}
		e.printf("\n")
	}
	return Check(e, findings)
}

func coversCell(b adminapi.Binding) cell {
	switch {
	case b.Covers == nil:
		return text("")
	case *b.Covers:
		return cell{"yes", green}
	}
	return cell{"no", red}
}

// sortFindings puts the worst first.
func sortFindings(findings []adminapi.Finding) {
	ranks := []string{adminapi.SeverityError, adminapi.SeverityWarning, adminapi.SeverityInfo}
	slices.SortStableFunc(findings, func(a, b adminapi.Finding) int {
		return slices.Index(ranks, a.Severity) - slices.Index(ranks, b.Severity)
	})
}

// Check shows findings, the worst first, and tells their worst severity by its exit code.
func Check(e *Env, findings []adminapi.Finding) error {
	sortFindings(findings)
	if e.JSON {
		if err := e.json(list(findings)); err != nil {
			return err
		}
		return exit(severityCode(findings))
	}
	counts := make(map[string]int)
	for _, f := range findings {
		counts[f.Severity]++
	}
	e.writeFindings(findings)
	if len(findings) > 0 {
		e.printf("\n")
	}
	e.printf("%s, %s, %s\n",
		count(counts[adminapi.SeverityError], "error"),
		count(counts[adminapi.SeverityWarning], "warning"),
		count(counts[adminapi.SeverityInfo], "remark"))
	return exit(severityCode(findings))
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func severityCode(findings []adminapi.Finding) int {
	code := ExitOK
	for _, f := range findings {
		switch f.Severity {
		case adminapi.SeverityError:
			return ExitErrors
		case adminapi.SeverityWarning:
			code = ExitWarnings
		}
	}
	return code
}

// writeFindings writes each finding with its way out.
func (e *Env) writeFindings(findings []adminapi.Finding) {
	for _, f := range findings {
		c := plain
		switch f.Severity {
		case adminapi.SeverityError:
			c = red
		case adminapi.SeverityWarning:
			c = yellow
		}
		e.printf("%s [%s]: %s\n", e.paint(c, f.Severity), f.Code, f.Message)
		if f.Fix != "" {
			e.printf("  way out: %s\n", f.Fix)
		}
	}
}
