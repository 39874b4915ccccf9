package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/near"
)

// ContentFor is what serves a site: its template, its own content or the
// defaults.
func (a *App) ContentFor(cfg *Site) *Content {
	if template := a.Templates[cfg.Template]; cfg.Template != "" && template != nil {
		return template
	}
	if cfg.Routes == nil && cfg.Errors == nil && a.Defaults != nil {
		return a.Defaults
	}
	return &cfg.Content
}

// CheckTemplate makes sure that the template that a site names is there.
func (a *App) CheckTemplate(cfg *Site) error {
	switch {
	case cfg.Template == "":
		return nil
	case cfg.Routes != nil || cfg.Errors != nil:
		return fmt.Errorf("it has template %q and routes of its own: remove one of them", cfg.Template)
	case a.Templates[cfg.Template] != nil:
		return nil
	case len(a.Templates) == 0:
		return fmt.Errorf("template %q is not configured, and no other is: add template %s { ... } to iis", cfg.Template, cfg.Template)
	}
	names := slices.Sorted(maps.Keys(a.Templates))
	return fmt.Errorf("template %q is not configured: %s%s", cfg.Template, near.Expected(names), near.Hint(cfg.Template, names))
}
