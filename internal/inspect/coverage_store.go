package inspect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// maxStoreChecks and storeCheckTime bound how much of a central store is read
// in order to say what is missing there.
const (
	maxStoreChecks = 1000
	storeCheckTime = 10 * time.Second
)

// storeFindings looks whether stores have what bindings want of them, and examines
// their certificates: those of bindings, and those in memory for names that no binding
// has.
func (sn view) storeFindings(at time.Time) []binding.Finding {
	var findings []binding.Finding
	for name, store := range sn.App.Stores() {
		c := storeCheck{sn: sn, name: name, label: serve.StoreLabel(name), store: store, at: at, examined: make(map[string]bool)}
		c.look()
		findings = append(findings, c.findings...)
	}
	return findings
}

// look looks at the store.
func (c *storeCheck) look() {
	ofFiles, hasFiles := c.store.(serve.FileStore)
	if hasFiles && ofFiles.LiteralPassword() {
		c.findings = append(c.findings, binding.Finding{
			Severity: binding.Warning, Code: codeLiteralPassword,
			Message: fmt.Sprintf("the password of %s stands in the configuration, where GET /config/ and the saved configuration show it", c.label),
			Fix:     "use {env.NAME} or {file./path} in its place",
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeCheckTime)
	defer cancel()
	checked := 0
	for entry := range c.sn.Tables.Bindings() {
		if !c.concerns(entry) {
			continue
		}
		if checked++; checked > maxStoreChecks || ctx.Err() != nil {
			break
		}
		c.binding(ctx, entry)
	}
	c.absent(ctx)
	if !hasFiles {
		return
	}
	for _, file := range ofFiles.Files() {
		if file.Err != nil {
			c.findings = append(c.findings, binding.Finding{
				Severity: binding.Warning, Code: codeStoreBroken,
				Message: fmt.Sprintf("the file %s of %s, as it is since %s, cannot be used: %v; the certificate before serves",
					file.File, c.label, file.Since.Format(time.DateTime), file.Err),
				Fix: "replace the file",
			})
		}
		c.examine(file.File, file.Certificate, nil)
	}
}

// concerns reports whether the clients of a binding get what the store has for its host.
func (c *storeCheck) concerns(entry *binding.BindingEntry) bool {
	switch {
	case entry.Protocol != binding.HTTPS || entry.Host == "" || strings.HasPrefix(entry.Host, "*"):
		return false
	case c.name == certsel.CentralStoreName:
		return entry.Flags&binding.FlagCentralStore != 0
	}
	return c.sn.App.StoreOf(c.sn.Tables.ClientRecord(entry)) == c.name
}

// storeCheck is one look at a store.
type storeCheck struct {
	sn       view
	name     string
	label    string
	store    certsel.Store
	at       time.Time
	findings []binding.Finding
	examined map[string]bool         // files
	missing  []*binding.BindingEntry // bindings without a file
}

// binding looks for the file of a binding.
func (c *storeCheck) binding(ctx context.Context, entry *binding.BindingEntry) {
	found, err := c.store.Check(ctx, entry.Host)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // a handshake would tell
	case errors.Is(err, fs.ErrNotExist):
		c.missing = append(c.missing, entry)
	case err != nil:
		c.add(entry, codeStoreBroken, "replace the file",
			"the file of %s for %s (%s) cannot be used: %v", c.label, entry.Host, placeOf(entry), err)
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
	return fmt.Sprintf("%s, binding %s", config.SiteLabel(entry.Site.ID, entry.Site.Name), entry.Binding)
}

func (c *storeCheck) add(entry *binding.BindingEntry, code, fix, format string, args ...any) {
	c.findings = append(c.findings, binding.Finding{
		Severity: binding.Warning, Code: code, Site: entry.Site.ID, Binding: entry.Binding.String(),
		Message: fmt.Sprintf(format, args...), Fix: fix,
	})
}

// absent says which hosts have no file, and what lies there in its place.
func (c *storeCheck) absent(ctx context.Context) {
	if c.name != certsel.CentralStoreName {
		for _, entry := range c.missing {
			c.add(entry, codeNotInStore, "see that whoever writes the store has a certificate for the host, and that its pattern names the file",
				"%s has nothing for %s (%s): its clients get the certificate of the address and port", c.label, entry.Host, placeOf(entry))
		}
		return
	}
	hosts := make([]string, 0, len(c.missing))
	for _, entry := range c.missing {
		hosts = append(hosts, entry.Host)
	}
	misnamed := c.sn.App.CentralStore.Misnamed(ctx, hosts)
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
			Message: fmt.Sprintf("the certificate of %s in %s %s", c.label, file, problem.Message), Fix: problem.Fix,
		}
		if entry != nil {
			f.Site, f.Binding = entry.Site.ID, entry.Binding.String()
		}
		c.findings = append(c.findings, f)
	}
}
