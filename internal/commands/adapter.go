package commands

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

func init() {
	caddyconfig.RegisterAdapter("iis", iisAdapter{})
}

// iisAdapter turns a configuration file of IIS into one of Caddy, as caddy iis
// import does. It knows that one file; certificates are looked for in the folder
// certificates beside it.
type iisAdapter struct{}

// Adapt implements caddyconfig.Adapter.
func (iisAdapter) Adapt(body []byte, options map[string]any) ([]byte, []caddyconfig.Warning, error) {
	name, _ := options["filename"].(string)
	server, err := iisconfig.Read([]iisconfig.File{{Name: filepath.ToSlash(name), Data: body}}, iisconfig.Options{})
	if err != nil {
		return nil, nil, err
	}
	folder := filepath.Join(filepath.Dir(name), "certificates")
	opts := iisimport.Options{CertificateFolder: filepath.ToSlash(folder)}
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		opts.Certificates, err = iisimport.FindCertificates(os.DirFS(folder), opts.CertificateFolder, os.Getenv(iisimport.PasswordVariable))
		if err != nil {
			return nil, nil, err
		}
	}
	plan := iisimport.Import(server, opts)
	if len(plan.Sites) == 0 {
		return nil, nil, fmt.Errorf("%s has no site", name)
	}
	raw, err := adaptCaddyfile(plan.Caddyfile())
	if err != nil {
		return nil, nil, fmt.Errorf("the Caddyfile made of %s is refused; please report this: %w", name, err)
	}
	return raw, importWarnings(plan.Report), nil
}

// importWarnings has a warning for each line that is not simply translated, and
// for each finding on the result.
func importWarnings(report *iisimport.Report) []caddyconfig.Warning {
	var warnings []caddyconfig.Warning
	for _, l := range report.Lines {
		if l.Outcome == iisimport.Translated {
			continue
		}
		message := string(l.Outcome) + ": " + l.Message
		if l.Fix != "" {
			message += "; " + l.Fix
		}
		warnings = append(warnings, caddyconfig.Warning{File: l.Source.File, Line: l.Source.Line, Directive: l.What, Message: message})
	}
	for _, f := range report.Findings {
		warnings = append(warnings, caddyconfig.Warning{Directive: f.Code, Message: f.String()})
	}
	return warnings
}

func adaptCaddyfile(caddyfile []byte) ([]byte, error) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return nil, errors.New("this Caddy has no adapter for Caddyfiles")
	}
	raw, _, err := adapter.Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	return raw, err
}

// Interface guard
var _ caddyconfig.Adapter = iisAdapter{}
