package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// List shows the sites that the filters leave, pairs of a parameter of the API and its
// value: all of them, or a page of a size.
func List(ctx context.Context, e *Env, limit int, filters ...string) error {
	var sites []adminapi.Site
	next := ""
	var err error
	if limit > 0 {
		var page adminapi.Page[adminapi.Site]
		page, err = e.Client.SitesPage(ctx, limit, filters...)
		sites, next = page.Items, page.Next
	} else {
		sites, err = collect(e.Client.Sites(ctx, filters...))
	}
	if err != nil {
		return err
	}
	if next != "" {
		defer e.hint("--after %s shows the next ones.", next)
	}
	if e.JSON {
		return e.json(sites)
	}
	if len(sites) == 0 {
		e.printf("There are no %ssites.\n", map[bool]string{true: "such "}[len(filters) > 0])
		return nil
	}
	t := table{heads: []string{"ID", "NAME", "STATE", "BINDINGS", "CERTIFICATE"}, flex: []int{1, 3, 4}}
	for _, site := range sites {
		var bindings []string
		for _, b := range site.Bindings {
			bindings = append(bindings, b.Protocol+" "+b.Binding)
		}
		t.add(text(fmt.Sprint(site.ID)), text(site.Name), stateCell(site),
			text(strings.Join(bindings, ", ")), text(strings.Join(certificatesOf(site), ", ")))
	}
	return e.write(&t)
}

// stateCell is a site's state in few words.
func stateCell(site adminapi.Site) cell {
	switch {
	case !site.IsServed():
		return cell{strings.ReplaceAll(site.State, "_", " "), red}
	case site.HeldBack:
		return cell{site.State + " (held back in part)", red}
	case site.Refusal != nil:
		return cell{site.State + " (as before: refused)", red}
	case site.Open:
		return cell{site.State + " (as before: open)", yellow}
	case site.State != adminapi.StateStarted && site.Code != "":
		return cell{fmt.Sprintf("%s (%s)", site.State, site.Code), red}
	case site.State != adminapi.StateStarted:
		return cell{site.State, yellow}
	case site.Offline:
		return cell{"offline (503)", yellow}
	}
	return cell{site.State, green}
}

// certificatesOf lists the certificates of a site's bindings without repeating.
func certificatesOf(site adminapi.Site) []string {
	var names []string
	seen := make(map[string]bool)
	for _, b := range site.Bindings {
		name := recordCertificate(b)
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func recordCertificate(b adminapi.Binding) string {
	if b.Reject {
		return "(reject)"
	}
	if b.Certificate == "" && b.Record != "" {
		return "(central store)"
	}
	return b.Certificate
}

// Show shows one site.
func Show(ctx context.Context, e *Env, name string) error {
	site, err := e.FindSite(ctx, name)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(site)
	}
	state := stateCell(site)
	e.printf("%s: %s\n", siteLabel(site.ID, site.Name), e.paint(state.color, state.text))
	if site.Reason != "" {
		e.printf("  %s\n", site.Reason)
	}
	if site.Offline {
		e.printf("  every request is answered with 503 while offline is set\n")
	}
	e.printf("source: %s\n", sourceOf(site))
	if site.Certificate != "" {
		e.printf("certificate: %s\n", site.Certificate)
	}
	if err := e.showServes(ctx, site); err != nil {
		return err
	}
	e.printf("\n")
	switch {
	case len(site.Bindings) == 0 && !site.IsServed():
		e.printf("No binding can be read of what its source has.\n")
	case len(site.Bindings) == 0:
		e.printf("The site has no bindings: no request reaches it.\n")
	default:
		if !site.IsServed() {
			e.printf("It would have these bindings, and is not served:\n")
		}
		if err := e.write(bindingTable(site.Bindings)); err != nil {
			return err
		}
	}
	if len(site.Waiting) > 0 {
		e.printf("\nIt is served without these bindings, which its source has:\n")
		if err := e.write(bindingTable(site.Waiting)); err != nil {
			return err
		}
	}
	if len(site.Findings) > 0 {
		e.printf("\n")
		e.writeFindings(site.Findings)
	}
	return nil
}

func bindingTable(bindings []adminapi.Binding) *table {
	t := &table{heads: []string{"PROTOCOL", "BINDING", "SSLFLAGS", "CERTIFICATE", "TLS RECORD"}, flex: []int{1, 3, 4}}
	asks := slices.ContainsFunc(bindings, func(b adminapi.Binding) bool { return b.ClientCertificate != "" })
	if asks {
		t.heads = append(t.heads, "CLIENT CERTIFICATE")
	}
	for _, b := range bindings {
		flags := ""
		if b.Protocol == "https" {
			flags = binding.Flags(b.Flags).String()
		}
		cells := []cell{text(b.Protocol), text(b.Binding), text(flags), text(recordCertificate(b)), text(b.Record)}
		if asks {
			cells = append(cells, text(b.ClientCertificate))
		}
		t.add(cells...)
	}
	return t
}

// Endpoints shows the addresses and ports.
func Endpoints(ctx context.Context, e *Env) error {
	endpoints, err := collect(e.Client.Endpoints(ctx))
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(endpoints)
	}
	if len(endpoints) == 0 {
		e.printf("There are no bindings and no certificates by address.\n")
		return nil
	}
	t := table{heads: []string{"ADDRESS", "PROTOCOL", "LISTENING", "BINDINGS", "WITHOUT SNI", "NAMES"}, flex: []int{2, 4}}
	for _, p := range endpoints {
		listening := cell{"yes", green}
		if p.Absent {
			listening = cell{"waiting: " + p.Reason, yellow}
		} else if !p.Listening {
			listening = cell{"no: " + p.Reason, yellow}
		}
		names, without := "", cell{}
		if p.Protocol == "https" {
			names = fmt.Sprint(p.ServerNames)
			if p.CentralStore {
				names += " and the store"
			}
		}
		if d := p.WithoutSNI; d != nil {
			without = text(d.Certificate)
			if d.Certificate == "" {
				without = cell{"refused: " + d.Reason, yellow}
			}
		}
		bindings := number(p.Bindings)
		if p.Waiting > 0 {
			bindings = cell{fmt.Sprintf("%d, %d not served", p.Bindings, p.Waiting), red}
		}
		t.add(text(p.Address), text(p.Protocol), listening, bindings, without, text(names))
	}
	return e.write(&t)
}

// Certificates shows the certificates.
func Certificates(ctx context.Context, e *Env) error {
	certificates, err := collect(e.Client.Certificates(ctx))
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(certificates)
	}
	if len(certificates) == 0 {
		e.printf("There are no certificates.\n")
		return nil
	}
	t := table{heads: []string{"NAME", "SOURCE", "SUBJECTS", "EXPIRES", "RENEWS", "SHA-1", "SITES"}, flex: []int{2}}
	var stores []adminapi.Certificate
	for _, c := range certificates {
		if c.Store != nil {
			stores = append(stores, c)
		}
		if len(c.Current) == 0 {
			missing := "not available yet"
			if c.Store != nil {
				missing = "no file has been asked for yet"
			}
			t.add(text(c.Name), text(c.Source), cell{cmp.Or(c.Error, missing), yellow}, text(""), text(""), text(""), number(c.UsedBy.SiteCount))
		}
		for _, leaf := range c.Current {
			name, sites := c.Name, c.UsedBy.SiteCount
			if leaf.File != "" {
				name, sites = leaf.File, leaf.SiteCount
			}
			t.add(text(name), text(c.Source), text(strings.Join(leaf.Subjects, " ")),
				text(leaf.NotAfter.Format("2006-01-02")), text(date(leaf.Renews)), text(leaf.SHA1), number(sites))
		}
	}
	if err := e.write(&t); err != nil {
		return err
	}
	for i := range certificates {
		e.writeForBindings(&certificates[i])
	}
	for _, c := range stores {
		e.writeStore(c)
	}
	return nil
}

// date shows a day, or nothing.
func date(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format("2006-01-02")
}

// writeForBindings tells what was done for the hosts of bindings, and what Caddy could
// not obtain or renew.
func (e *Env) writeForBindings(c *adminapi.Certificate) {
	if f := c.ForBindings; f != nil {
		e.printf("\nCertificate %q: %d in memory; %d found there, %d read from storage, %d orders.\n", c.Name, f.Certificates, f.Hits, f.Reads, f.Orders)
		for _, reason := range slices.Sorted(maps.Keys(f.Failures)) {
			e.printf("  %d failures: %s\n", f.Failures[reason], strings.ReplaceAll(reason, "_", " "))
		}
	} else if len(c.Failures) > 0 {
		e.printf("\nCertificate %q could not be obtained or renewed:\n", c.Name)
	}
	for _, f := range c.Failures {
		again := ""
		if f.Again != nil {
			again = ", not again before " + f.Again.Local().Format(time.TimeOnly)
		}
		e.printf("  %s at %s%s: %s\n", e.paint(yellow, f.Host), f.At.Local().Format(time.DateTime), again, f.Error)
	}
}

// writeStore tells what a store did.
func (e *Env) writeStore(c adminapi.Certificate) {
	s, label := c.Store, "The central store"
	if c.Source != "central_store" {
		label = "Store " + c.Name
	}
	e.printf("\n%s has %d certificates in memory, and knows of %d names without.\n", label, s.Certificates, s.Absent)
	e.printf("Look-ups: %d with a certificate, %d without, of which %d above the rate and %d after waiting for too long; %d of no host name.\n",
		s.Hits, s.Misses, s.Limited, s.Timeouts, s.Refused)
	e.printf("Files: %d accesses, %d read again after a change, %d certificates made room for others.\n", s.Accesses, s.Reloads, s.Evicted)
	if s.Unreachable != nil {
		e.printf("%s\n", e.paint(red, fmt.Sprintf("It does not answer since %s: %s. What is in memory serves on.",
			s.Unreachable.Local().Format("2006-01-02 15:04:05"), c.Error)))
	}
}
