package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

func (c *commandLine) importCommand() *cobra.Command {
	cmd := outputFlags(c.command("import [--format caddyfile|json] [--to caddyfile|sites-file|bolt|postgres] [--sites <file>] [--report <file>|-] [--map <folder>=<folder>]... [--copies <folder>=<folder>]... [--certificates <folder>] [--windows-store] [--upstream [<pool>=]<address>]... [--services <folder>] [--fastcgi <address>] [--environment <file>] [--output <file>] [--force] <file or folder>...",
		"Writes the configuration that serves what an IIS server did", `
Reads what was copied off an IIS server and writes a Caddyfile that serves the
same sites, with comments where something could not be translated. The files are
told apart by their content, and may be in folders:

  applicationHost.config, web.config files in their folders, MetaBase.xml,
  the output of netsh http show sslcert and show iplisten, of appcmd list site,
  app, vdir and apppool, and of adsutil.vbs, and a registry export of the
  central store.

--map says where the contents will be on this machine. The copies of web.config
files are found by the names of their folders, so that those of C:\inetpub are
in a folder inetpub; --copies names another one.

Certificates are found by their thumbprints in the folder of --certificates, or
else in the folder certificates of the folder that is imported, or anywhere in
it. The environment variable IIS_PFX_PASSWORD
opens PFX files, now and when Caddy loads them. With --windows-store, those that
no file has stay in the certificate stores of Windows, for a Caddy on the same
machine.

--to says where the sites will be: in the Caddyfile, or beside it, in a
sites_file or a source of sites. Then the Caddyfile has certificates and
templates, and the file of --sites a site on each line: what sites_file reads,
and what caddy iis sites import puts into the source.

Requests that a worker process answered go to the address in the environment
variable IIS_UPSTREAM, or else to that of --upstream. One with the name of an
application pool, --upstream Shop=127.0.0.1:8081, is for that pool. With
--services, programs of ASP.NET Core get units of systemd in that folder, and
files with their environment, which root alone may read. What fastCgi gives a
program in variables is not in the Caddyfile either: --environment writes it
into a file.

--output writes the Caddyfile into a file, when all else is done. That file and
the one of --sites are replaced with --force alone, and each as a whole.

The report says for each line what it became, what was dropped and why, what is
closed, and what must be decided by hand. Its numbers and first warnings are
written to the standard error in any case, and all of it for -. It is JSON with --json, and if the name
of its file ends with .json.`, `
  $ caddy iis import --output Caddyfile iis-export
  $ caddy iis import --output Caddyfile --report report.txt --map "C:\inetpub=/srv/www" --certificates certs applicationHost.config sslcert.txt`,
		cobra.MinimumNArgs(1), cli.ExitFailed,
		func(_ context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			return runImport(e, cmd, args)
		}))
	flags := cmd.Flags()
	flags.String("format", "caddyfile", "What to write: caddyfile or json")
	flags.String("to", "caddyfile", "Where the sites will be: "+strings.Join(iisimport.Targets(), ", "))
	flags.String("sites", "sites.jsonl", "The file for the sites, if they are not in the Caddyfile")
	flags.String("report", "", "The file for the report, or - for the standard error")
	flags.StringArray("map", nil, `A folder of the IIS server and where its contents will be here, such as "C:\inetpub=/srv/www"; can be repeated`)
	flags.StringArray("copies", nil, `A folder of the IIS server and where the copies of its web.config files are, such as "C:\inetpub=export/inetpub"; can be repeated`)
	flags.String("certificates", "", "The folder with PFX and PEM files")
	flags.Bool("windows-store", false, "Leave certificates that no file has in the certificate stores of Windows")
	flags.StringArray("upstream", nil, "The address that stands in for worker processes (default 127.0.0.1:8080), or, such as Shop=127.0.0.1:8081, for those of an application pool; can be repeated")
	flags.String("services", "", "A folder for units of systemd, which run the programs of ASP.NET Core (default: none are written, and requests go to --upstream)")
	flags.String("fastcgi", "", "The address of a FastCGI server for scripts that IIS runs by FastCGI, such as 127.0.0.1:9000 (default: they go to that of --upstream)")
	flags.String("environment", "", "A file for the variables that Caddy needs for programs of FastCGI, which may be secrets: for its owner alone, as EnvironmentFile of systemd takes it")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions(iisimport.Targets(), cobra.ShellCompDirectiveNoFileComp))
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
	to, err := output(cmd, opts.SitesFile)
	if err != nil {
		return err
	}
	in := importSources{names: args, maps: opts.Folders}
	in.certificates, _ = flags.GetString("certificates")
	copies, _ := flags.GetStringArray("copies")
	if in.copies, err = parseFolders(copies); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	plan, err := in.plan(opts)
	if err != nil {
		return err
	}
	report, _ := flags.GetString("report")
	if err := writeReport(e, plan.Report, report); err != nil {
		return err
	}
	if len(plan.Sites) == 0 {
		return fmt.Errorf("no site was found in %s: give applicationHost.config, MetaBase.xml, or the output of appcmd list site", strings.Join(in.names, ", "))
	}
	out := plan.Caddyfile()
	if format == "json" {
		if out, err = adaptImported(out); err != nil {
			return err
		}
	}
	if err := writeSites(e, plan, opts, to.Force); err != nil {
		return err
	}
	services, _ := flags.GetString("services")
	if err := writeServices(e, plan, services); err != nil {
		return err
	}
	if name, _ := flags.GetString("environment"); name != "" && plan.Environment != nil {
		if err := writeSecret(name, plan.Environment); err != nil {
			return err
		}
	}
	return to.WriteBytes(e, out)
}

func importOptions(cmd *cobra.Command) (iisimport.Options, error) {
	var opts iisimport.Options
	folders, _ := cmd.Flags().GetStringArray("map")
	var err error
	if opts.Folders, err = parseFolders(folders); err != nil {
		return opts, err
	}
	for i := range opts.Folders {
		opts.Folders[i].To = wholePath(opts.Folders[i].To)
	}
	opts.WindowsStore, _ = cmd.Flags().GetBool("windows-store")
	opts.To, _ = cmd.Flags().GetString("to")
	if !slices.Contains(iisimport.Targets(), opts.To) {
		return opts, fmt.Errorf("--to: unknown place %q: expected one of %s", opts.To, strings.Join(iisimport.Targets(), ", "))
	}
	if opts.To == "caddyfile" && cmd.Flags().Changed("sites") {
		return opts, errors.New("--sites: the sites are in the Caddyfile; say with --to where they shall be instead")
	}
	if opts.To != "caddyfile" {
		name, _ := cmd.Flags().GetString("sites")
		if opts.SitesFile, err = filepath.Abs(name); err != nil {
			return opts, err
		}
		if strings.ContainsAny(opts.SitesFile, "{}\"`\n") {
			return opts, fmt.Errorf("--sites: %q cannot be written into a Caddyfile", name)
		}
	}
	opts.FastCGI, _ = cmd.Flags().GetString("fastcgi")
	if err := checkUpstream(opts.FastCGI); err != nil {
		return opts, fmt.Errorf("--fastcgi: %w", err)
	}
	services, _ := cmd.Flags().GetString("services")
	opts.Services = services != ""
	upstreams, _ := cmd.Flags().GetStringArray("upstream")
	return opts, addUpstreams(&opts, upstreams)
}

// checkUpstream takes what reverse_proxy takes, of one server; nothing is no address yet.
func checkUpstream(address string) error {
	if address == "" {
		return nil
	}
	bad := fmt.Errorf("%q is not an address: expected host:port such as 127.0.0.1:8081, https://host, or unix//path of a socket", address)
	if strings.ContainsAny(address, "{}\"` \t\r\n") {
		return bad
	}
	if strings.HasPrefix(address, "unix//") {
		return nil
	}
	rest, isURL := address, false
	if scheme, after, ok := strings.Cut(address, "://"); ok {
		if scheme != "http" && scheme != "https" || strings.ContainsAny(after, "/?#@") {
			return bad
		}
		rest, isURL = after, true
	}
	host, port, err := net.SplitHostPort(rest)
	if isURL && err != nil {
		host, port = rest, "80" // that of the scheme
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 || host == "" {
		return bad
	}
	return nil
}

// addUpstreams reads addresses, and those of application pools: Shop=127.0.0.1:8081.
func addUpstreams(opts *iisimport.Options, texts []string) error {
	for _, text := range texts {
		pool, address := "", text
		if i := strings.LastIndexByte(text, '='); i >= 0 {
			pool, address = strings.ToLower(text[:i]), text[i+1:]
		}
		if err := checkUpstream(address); err != nil {
			return fmt.Errorf("--upstream %s: %w", text, err)
		}
		switch {
		case pool == "" && opts.Upstream == "":
			opts.Upstream = address
		case pool == "" || opts.PoolUpstreams[pool] != "":
			return fmt.Errorf("--upstream %s: there is an address for that already", text)
		case address == "":
			return fmt.Errorf("--upstream %s: there is no address", text)
		default:
			if opts.PoolUpstreams == nil {
				opts.PoolUpstreams = make(map[string]string)
			}
			opts.PoolUpstreams[pool] = address
		}
	}
	return nil
}

// writeServices writes units and their environments, all for root alone: arguments may have
// secrets as well. It names those of an import before that no application has any more.
func writeServices(e *cli.Env, plan *iisimport.Plan, folder string) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // units are no secrets
		return err
	}
	written := make(map[string]bool)
	for _, s := range plan.Services {
		name := filepath.Join(folder, s.Name)
		written[name+".service"] = true
		if err := writeSecret(name+".service", s.Unit); err != nil {
			return err
		}
		if s.Environment == nil {
			continue
		}
		written[name+".env"] = true
		if err := writeSecret(name+".env", s.Environment); err != nil {
			return err
		}
	}
	found, err := filepath.Glob(filepath.Join(folder, "iis-*"))
	if err != nil {
		return err
	}
	for _, name := range found {
		if ext := filepath.Ext(name); (ext == ".service" || ext == ".env") && !written[name] {
			if _, err := fmt.Fprintf(e.Err, "%s is of no application any more: remove it, and what was copied from it\n", name); err != nil {
				return err
			}
		}
	}
	_, err = fmt.Fprintf(e.Err, "%d units are in %s: copy them to /etc/systemd/system, and .env files to %s\n", len(plan.Services), folder, iisimport.EnvironmentFolder)
	return err
}

// writeSecret writes a file that its owner alone may read, also in place of another one.
func writeSecret(name string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+"-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

func parseFolders(texts []string) ([]iisimport.Folder, error) {
	var out []iisimport.Folder
	for _, text := range texts {
		f, err := iisimport.ParseFolder(text)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// hostFS is the file system of the machine, with the names that a user types.
type hostFS struct{}

// Open implements fs.FS.
func (hostFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

// writeReport writes the numbers and warnings to the standard error, whatever else is
// asked for.
func writeReport(e *cli.Env, report *iisimport.Report, name string) error {
	if name == "" {
		return report.Brief(e.Err, "--report shows them")
	}
	var buf bytes.Buffer
	write := report.WriteText
	if e.JSON || strings.EqualFold(filepath.Ext(name), ".json") {
		write = report.WriteJSON
	}
	if err := write(&buf); err != nil {
		return err
	}
	if name == "-" {
		_, err := e.Err.Write(buf.Bytes())
		return err
	}
	if err := (cli.Output{File: name, Force: true}).WriteBytes(e, buf.Bytes()); err != nil {
		return err
	}
	return report.Brief(e.Err, name+" has them")
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

// writeSites writes the sites that are not in the Caddyfile, as Caddy reads them there.
func writeSites(e *cli.Env, plan *iisimport.Plan, opts iisimport.Options, force bool) error {
	if opts.SitesFile == "" {
		return nil
	}
	raw, err := adaptImported(plan.Whole())
	if err != nil {
		return err
	}
	var whole struct {
		Apps struct {
			IIS struct {
				Sites map[string]json.RawMessage `json:"sites"`
			} `json:"iis"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return err
	}
	var out bytes.Buffer
	moved := plan.Moved()
	for _, id := range moved {
		site := bytes.TrimSpace(whole.Apps.IIS.Sites[strconv.FormatUint(uint64(id), 10)])
		line := fmt.Appendf(nil, `{"id":%d`, id)
		if rest := bytes.TrimSpace(bytes.TrimPrefix(site, []byte("{"))); !bytes.HasPrefix(rest, []byte("}")) {
			line = append(append(line, ','), rest...)
		} else {
			line = append(line, '}')
		}
		if err := json.Compact(&out, line); err != nil {
			return fmt.Errorf("site %d: %w", id, err)
		}
		out.WriteByte('\n')
	}
	if len(moved) == 0 {
		out.WriteByte('\n') // no sites, and not a file that was cut off
	}
	if err := (cli.Output{File: opts.SitesFile, Force: force}).WriteBytes(e, out.Bytes()); err != nil {
		return err
	}
	how := "start Caddy, then: caddy iis sites import " + opts.SitesFile
	if opts.To == "sites-file" {
		how = "Caddy reads them there"
	}
	_, err = fmt.Fprintf(e.Err, "%d sites are in %s: %s\n", len(moved), opts.SitesFile, how)
	return err
}
