package caddyiis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) importCommand() *cobra.Command {
	cmd := c.command("import [--format caddyfile|json] [--report <file>|-] [--map <folder>=<folder>]... [--certificates <folder>] [--upstream <address>] <file or folder>...",
		"Writes the configuration that serves what an IIS server did", `
Reads what was copied off an IIS server and writes a Caddyfile that serves the
same sites, with comments where something could not be translated. The files are
told apart by their content, and may be in folders:

  applicationHost.config, web.config files in their folders, MetaBase.xml,
  the output of netsh http show sslcert, of appcmd list site, app, vdir and
  apppool, and of adsutil.vbs, and a registry export of the central store.

Certificates are found by their thumbprints in the folder of --certificates, or
else in the folder that is imported. The environment variable IIS_PFX_PASSWORD
opens PFX files, now and when Caddy loads them.

Requests that a worker process answered go to the address in the environment
variable IIS_UPSTREAM, or else to that of --upstream.

The report says for each line what it became, what was dropped and why, and what
must be decided by hand. Without --report, only its numbers are written, to the
standard error, as is the report for -. It is JSON with --json, and if the name
of its file ends with .json.`, `
  $ caddy iis import iis-export > Caddyfile
  $ caddy iis import --report report.txt --map "C:\inetpub=/srv/www" --certificates certs applicationHost.config sslcert.txt`,
		cobra.MinimumNArgs(1), cli.ExitFailed,
		func(_ context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			return runImport(e, cmd, args)
		})
	flags := cmd.Flags()
	flags.String("format", "caddyfile", "What to write: caddyfile or json")
	flags.String("report", "", "The file for the report, or - for the standard error")
	flags.StringArray("map", nil, `A folder of the IIS server and what it is here, such as "C:\inetpub=/srv/www"; can be repeated`)
	flags.String("certificates", "", "The folder with PFX and PEM files")
	flags.String("upstream", "", "The address that stands in for worker processes (default 127.0.0.1:8080)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"caddyfile", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runImport(e *cli.Env, cmd *cobra.Command, args []string) error {
	flags := cmd.Flags()
	format, _ := flags.GetString("format")
	if format != "caddyfile" && format != "json" {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("unknown format %q: expected caddyfile or json", format)}
	}
	opts, err := importOptions(cmd)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	certificates, _ := flags.GetString("certificates")
	plan, err := importFiles(args, certificates, opts)
	if err != nil {
		return err
	}
	out := plan.Caddyfile()
	if format == "json" {
		if out, err = adaptImported(out); err != nil {
			return err
		}
	}
	report, _ := flags.GetString("report")
	if err := writeReport(e, plan.Report, report); err != nil {
		return err
	}
	_, err = e.Out.Write(out)
	return err
}

func importOptions(cmd *cobra.Command) (iisimport.Options, error) {
	var opts iisimport.Options
	folders, _ := cmd.Flags().GetStringArray("map")
	for _, text := range folders {
		f, err := iisimport.ParseFolder(text)
		if err != nil {
			return opts, err
		}
		opts.Folders = append(opts.Folders, f)
	}
	opts.Upstream, _ = cmd.Flags().GetString("upstream")
	if strings.ContainsAny(opts.Upstream, "{}\"` \t\n") {
		return opts, fmt.Errorf("%q is not an address, such as 127.0.0.1:8080", opts.Upstream)
	}
	return opts, nil
}

// importFiles reads files and folders. Without a folder for certificates, they are
// looked for in the first folder.
func importFiles(names []string, certificates string, opts iisimport.Options) (*iisimport.Plan, error) {
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		names[i] = filepath.ToSlash(filepath.Clean(name))
		if info.IsDir() && certificates == "" {
			certificates = name
		}
	}
	server, err := iisconfig.ReadFS(hostFS{}, iisconfig.Options{Folders: iisimport.FolderMap(opts.Folders)}, names...)
	if err != nil {
		return nil, err
	}
	if certificates != "" {
		opts.CertificateFolder = filepath.ToSlash(certificates)
		opts.Certificates, err = iisimport.FindCertificates(os.DirFS(certificates), opts.CertificateFolder, os.Getenv(iisimport.PasswordVariable))
		if err != nil {
			return nil, err
		}
	}
	return iisimport.Import(server, opts), nil
}

// hostFS is the file system of the machine, with the names that a user types.
type hostFS struct{}

// Open implements fs.FS.
func (hostFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

func writeReport(e *cli.Env, report *iisimport.Report, name string) error {
	var buf bytes.Buffer
	write := report.WriteText
	if e.JSON || strings.EqualFold(filepath.Ext(name), ".json") {
		write = report.WriteJSON
	}
	if err := write(&buf); err != nil {
		return err
	}
	switch name {
	case "":
		s := report.Summary
		fmt.Fprintf(e.Err, "%d sites, %d bindings, %d certificates (%d files missing); %d lines to decide by hand: --report shows them\n",
			s.Sites, s.Bindings, s.Certificates, len(s.MissingFiles), s.ToDecide)
		return nil
	case "-":
		_, err := e.Err.Write(buf.Bytes())
		return err
	}
	return os.WriteFile(name, buf.Bytes(), 0o600)
}

// adaptImported turns the Caddyfile of an import into JSON.
func adaptImported(caddyfile []byte) ([]byte, error) {
	raw, err := adaptCaddyfile(caddyfile)
	if err != nil {
		return nil, fmt.Errorf("the Caddyfile that was made is refused; please report this: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, errors.Join(errors.New("the configuration that was made is not JSON"), err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
