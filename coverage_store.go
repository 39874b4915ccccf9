package caddyiis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/health"
)

// maxStoreChecks and storeCheckTime bound how much of a central store is read
// in order to say what is missing there.
const (
	maxStoreChecks = 1000
	storeCheckTime = 10 * time.Second
)

// storeFindings looks whether the central store has what bindings want of it, and
// examines its certificates: those of bindings, and those in memory for names that
// no binding has.
func (sn *snapshot) storeFindings(at time.Time) []binding.Finding {
	store := sn.app.CentralStore
	if store == nil {
		return nil
	}
	c := storeCheck{sn: sn, at: at, examined: make(map[string]bool)}
	if store.LiteralPassword() {
		c.findings = append(c.findings, binding.Finding{
			Severity: binding.Warning, Code: codeLiteralPassword,
			Message: "the password of the central store stands in the configuration, where GET /config/ and the saved configuration show it",
			Fix:     "use {env.NAME} or {file./path} in its place",
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeCheckTime)
	defer cancel()
	checked := 0
	for entry := range sn.tables.Bindings() {
		if entry.Flags&binding.FlagCentralStore == 0 || strings.HasPrefix(entry.Host, "*") {
			continue
		}
		if checked++; checked > maxStoreChecks || ctx.Err() != nil {
			break
		}
		c.binding(ctx, entry)
	}
	c.absent(ctx)
	for _, file := range store.Files() {
		if file.Err != nil {
			c.findings = append(c.findings, binding.Finding{
				Severity: binding.Warning, Code: codeStoreBroken,
				Message: fmt.Sprintf("the central store's file %s, as it is since %s, cannot be used: %v; the certificate before serves",
					file.File, file.Since.Format(time.DateTime), file.Err),
				Fix: "replace the file",
			})
		}
		c.examine(file.File, file.Certificate, nil)
	}
	return c.findings
}

// storeCheck is one look at the central store.
type storeCheck struct {
	sn       *snapshot
	at       time.Time
	findings []binding.Finding
	examined map[string]bool         // files
	missing  []*binding.BindingEntry // bindings without a file
}

// binding looks for the file of a binding.
func (c *storeCheck) binding(ctx context.Context, entry *binding.BindingEntry) {
	found, err := c.sn.app.CentralStore.Check(ctx, entry.Host)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.missing = append(c.missing, entry)
	case err != nil:
		c.add(entry, codeStoreBroken, "replace the file",
			"the central store's file for %s (%s) cannot be used: %v", entry.Host, placeOf(entry), err)
	default:
		if !health.Covers(found.Certificate.Leaf, entry.Host) {
			c.add(entry, codeNameMismatch, "replace the file with a certificate that covers the host",
				"browsers will show a name error for %s (%s): %s covers %s", entry.Host, placeOf(entry), found.File, health.Names(found.Certificate.Leaf))
		}
		c.examine(found.File, found.Certificate, entry)
	}
}

// placeOf says where a binding is, for messages.
func placeOf(entry *binding.BindingEntry) string {
	return fmt.Sprintf("%s, binding %s", siteLabel(entry.Site.ID, entry.Site.Name), entry.Binding)
}

func (c *storeCheck) add(entry *binding.BindingEntry, code, fix, format string, args ...any) {
	c.findings = append(c.findings, binding.Finding{
		Severity: binding.Warning, Code: code, Site: entry.Site.ID, Binding: entry.Binding.String(),
		Message: fmt.Sprintf(format, args...), Fix: fix,
	})
}

// absent says which hosts have no file, and what lies there in its place.
func (c *storeCheck) absent(ctx context.Context) {
	hosts := make([]string, 0, len(c.missing))
	for _, entry := range c.missing {
		hosts = append(hosts, entry.Host)
	}
	misnamed := c.sn.app.CentralStore.Misnamed(ctx, hosts)
	for _, entry := range c.missing {
		names := centralstore.FileNames(entry.Host)
		for i := range names {
			names[i] += string(centralstore.PFX)
		}
		file, fix := "", fmt.Sprintf("put %s there, or a file for the wildcard", strings.Join(names, " or "))
		if there, ok := misnamed[entry.Host]; ok {
			file = fmt.Sprintf(", but %q: names there are in lower case, with letters in one part (Unicode NFC)", there.File)
			fix = fmt.Sprintf("rename %q to %s", there.File, strings.Join(there.Right, " or "))
		}
		c.add(entry, codeNotInStore, fix,
			"the central store has no file for %s (%s)%s: its clients get the certificate of the address and port", entry.Host, placeOf(entry), file)
	}
}

// examine examines a file's certificate, once.
func (c *storeCheck) examine(file string, cert *tls.Certificate, entry *binding.BindingEntry) {
	if cert == nil || c.examined[file] {
		return
	}
	c.examined[file] = true
	for _, problem := range health.Examine(cert, c.at) {
		f := binding.Finding{
			Severity: severityOf(problem), Code: problem.Code,
			Message: fmt.Sprintf("the certificate of the central store in %s %s", file, problem.Message), Fix: problem.Fix,
		}
		if entry != nil {
			f.Site, f.Binding = entry.Site.ID, entry.Binding.String()
		}
		c.findings = append(c.findings, f)
	}
}
