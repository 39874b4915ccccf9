package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/internal/commands"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/places"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/internal/world"
	"github.com/caddy-iis/caddy-iis/sites"
)

// CheckFile looks at a configuration file.
func CheckFile(ctx context.Context, path, adapter string, around cli.Surroundings) (commands.Checked, error) {
	if path != "-" {
		if _, err := os.Stat(path); err != nil {
			return commands.Checked{}, err
		}
	}
	var raw []byte
	var err error
	commands.Quietly(func() { raw, _, _, err = caddycmd.LoadConfig(path, adapter) })
	if err != nil {
		text, _ := os.ReadFile(path) // of the standard input nothing is left
		return commands.Checked{Findings: fileFinding(text, adapter, err)}, nil
	}
	found, err := checkConfig(ctx, raw, around)
	if text, readErr := os.ReadFile(path); readErr == nil && err == nil && adapter != "iis" {
		addLines(found.Findings, path, text)
	}
	return found, err
}

// addLines says of errors where the file has what they are about.
func addLines(findings []adminapi.Finding, path string, text []byte) {
	lines := config.LinesOf(path, text)
	for i := range findings {
		if f := &findings[i]; f.Severity == adminapi.SeverityError {
			if at := lines.Of(f.Message); at != "" {
				f.Message += ", at " + at
			}
		}
	}
}

// checkConfig looks at a configuration. Nothing is started.
func checkConfig(ctx context.Context, raw []byte, around cli.Surroundings) (commands.Checked, error) {
	var cfg *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), &cfg); err != nil {
		return commands.Checked{Findings: refusedFinding(err)}, nil
	}
	if cfg == nil || cfg.AppsRaw["iis"] == nil {
		return commands.Checked{}, errors.New("the configuration has no iis app: there is nothing to check")
	}
	appRaw := cfg.AppsRaw["iis"] // loading takes it away
	var hosts world.Hosts
	parts, err := world.Find(appRaw)
	if err != nil {
		parts = new(world.Finder) // loading says what is wrong, in plain words
	}
	if path := world.SitesFile(appRaw); path != "" {
		parts.File(path)
	}
	found, decide, err := loadedFindings(cfg, &hosts, parts)
	if err != nil {
		return commands.Checked{}, err
	}
	if cfg.Admin != nil && cfg.Admin.Disabled {
		decide = append(decide, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: codeAdminOff,
			Message: "admin is off: caddy iis cannot show, change or verify what serves, and caddy reload loads nothing; a Caddy that caddy run --config has started loads that file again at the signal SIGUSR1, which Windows does not have",
			Fix:     "take admin off out; by default the admin endpoint is at localhost:2019, where no other machine reaches it",
		})
	}
	surroundings, err := around.Findings(ctx, parts.Parts(), &hosts, true)
	found.Findings = slices.Concat(found.Findings, surroundings, decide)
	return found, err
}

// loadedFindings loads a configuration and looks at it. The hosts of its bindings are
// added to the list, and to the parts those of rows of its sources. What is left to people
// comes by itself.
func loadedFindings(cfg *caddy.Config, hosts *world.Hosts, parts *world.Finder) (found commands.Checked, decide []adminapi.Finding, err error) {
	if findings := conflicts(cfg.AppsRaw["iis"]); len(findings) > 0 {
		return commands.Checked{Findings: findings}, nil, nil
	}
	counter, err := places.New(cfg.AppsRaw["iis"])
	if err != nil {
		return found, nil, err
	}
	// Log files belong to the running Caddy, and messages among findings to
	// nobody.
	cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	storage := certmagic.Default.Storage
	var ctx caddy.Context
	commands.Quietly(func() { ctx, err = caddy.ProvisionContext(cfg) })
	certmagic.Default.Storage = storage
	if err != nil {
		return commands.Checked{Findings: refusedFinding(err)}, nil, nil
	}
	app, err := serve.Of(ctx)
	if err != nil {
		return commands.Checked{Findings: refusedFinding(err)}, nil, nil
	}
	defer app.End()
	found.Findings = []adminapi.Finding{}
	now := newView(app, app.Now())
	for _, f := range now.findingsAt(time.Now()) {
		// What Caddy obtains is there only when it runs.
		if f.Code != codeNotThereYet {
			found.Findings = append(found.Findings, showFinding(f))
		}
	}
	look := newLook(now)
	for _, entry := range now.Tables.Sites() {
		site := now.showSite(entry, nil, look)
		found.Sites = append(found.Sites, site)
		switch serves := now.Sites.At(entry.Index).Serves(); {
		case site.Source == "":
			counter.Site(site.ID)
		case serves.OwnRoutes:
			counter.Other()
		default:
			counter.Row(serves.Template)
		}
	}
	decide = cli.PlaceFindings(counter.Count())
	for _, source := range app.Live {
		// That rows cannot be read is among the findings.
		_ = source.Follower.Rows(func(row sites.Row) error { parts.Site(row.ID, row.Document); return nil })
	}
	for b := range now.Tables.Bindings() {
		if b.Site.State.Started {
			hosts.Add(b.Site.ID, config.SiteLabel(b.Site.ID, b.Site.Name), b.Host)
		}
	}
	return found, decide, nil
}

// conflicts returns the errors among the bindings, each as a finding of its
// own: Caddy makes one text of them.
func conflicts(raw json.RawMessage) []adminapi.Finding {
	cfg := new(config.App)
	if err := caddy.StrictUnmarshalJSON(raw, cfg); err != nil {
		return refusedFinding(fmt.Errorf("apps.iis: %w", jsondoc.PlainFor(err, cfg)))
	}
	conflict := serve.Conflicts(cfg)
	if conflict == nil {
		return nil
	}
	var findings []adminapi.Finding
	for _, f := range conflict.Findings {
		findings = append(findings, showFinding(f))
	}
	if conflict.More > 0 {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityError, Code: cmp.Or(findings[len(findings)-1].Code, codeRefused),
			Message: fmt.Sprintf("and %d more errors", conflict.More),
		})
	}
	return findings
}
