package commands

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// listFilters are the flags of list, and parameters of the API: what they leave.
var listFilters = [][2]string{
	{"host", "Sites with a binding for this host"},
	{"state", "Sites that are started or stopped; or held_back, open, refused: not served as they are written"},
	{"certificate", "Sites whose clients get this certificate"},
	{"template", "Sites that this template serves, or would if they were served"},
	{"source", "Sites of this source: its name, sites_file or configuration"},
	{"findings", "Sites with findings: warnings and errors, or of this severity and worse: error, warning, info"},
	{"after", "Begin behind the site with this id"},
}

// sourceConfiguration stands for the source that has no name.
const sourceConfiguration = "configuration"

func (c *commandLine) listCommand() *cobra.Command {
	cmd := c.command("list [--host <name>] [--state <state>] [--certificate <name>] [--template <name>] [--findings[=<severity>]] [--source <name>] [--limit <n>] [--after <id>]", "Lists the sites", `
Lists the sites with their states, bindings and certificates: all, or those that
each of the flags leaves. Sites that a source has and that are not served are among
them. With --limit it lists a page, and says with what --after
the next one begins.`, `
  $ caddy iis list
  $ caddy iis list --state stopped
  $ caddy iis list --state held_back
  $ caddy iis list --findings
  $ caddy iis list --source configuration --limit 20
  $ caddy iis list --json`,
		cobra.NoArgs, cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, _ []string) error {
			var filters []string
			for _, filter := range listFilters {
				if !cmd.Flags().Changed(filter[0]) {
					continue
				}
				value, _ := cmd.Flags().GetString(filter[0])
				switch {
				case value == "": // as from a script whose variable is not set
					return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--%s is empty: expected a value, or leave it out for all sites", filter[0])}
				case filter[0] == "source" && value == sourceConfiguration:
					value = ""
				}
				filters = append(filters, filter[0], value)
			}
			limit, err := pageLimit(cmd)
			if err != nil {
				return err
			}
			return cli.List(ctx, e, limit, filters...)
		}))
	for _, filter := range listFilters {
		cmd.Flags().String(filter[0], "", filter[1])
	}
	cmd.Flags().Lookup("findings").NoOptDefVal = adminapi.SeverityWarning
	cmd.Flags().Int("limit", 0, "List this many at most")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{adminapi.StateStarted, adminapi.StateStopped, adminapi.StateHeldBack, adminapi.StateOpen, adminapi.StateRefused}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// addShowing adds the commands that only look.
func (c *commandLine) addShowing(iis *cobra.Command) {
	show := func(do func(context.Context, *cli.Env) error) task {
		return asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, _ []string) error { return do(ctx, e) })
	}
	one := c.command("show <site>", "Shows a site with its bindings and findings", `
Shows the state of a site with its reason, its bindings with the certificates
that clients get, and what is remarkable about it. A site is named by its id, by
its metabase path or by its name.`, `
  $ caddy iis show 1
  $ caddy iis show "Default Web Site" --json`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
			return cli.Show(ctx, e, args[0])
		}))
	one.ValidArgsFunction = first(sitesOf)
	iis.AddCommand(
		c.listCommand(),
		one,
		c.command("endpoints", "Lists the addresses and ports", `
Lists each address and port that a binding or a certificate names: whether it
listens or why not, the certificate of clients without SNI, and for how many
server names there are others.`, `
  $ caddy iis endpoints`,
			cobra.NoArgs, cli.ExitFailed, show(cli.Endpoints)),
		c.certificatesCommand(show(cli.Certificates)),
	)
}

// addAdsutil adds the commands of adsutil.vbs.
func (c *commandLine) addAdsutil(iis *cobra.Command) {
	const properties = `

The properties of a site are ServerBindings, SecureBindings, ServerComment,
ServerState and ServerAutoStart. Paths may have slashes or backslashes, in any
case, with or without one at the beginning and at the end.

Output and exit codes are those of adsutil.vbs. On Unix an exit code has eight
bits: of 0x80070003, "path not found", the 3 is left.`
	for _, v := range []struct{ verb, use, short, long, example string }{
		{"get", "get <path>/<property>", "Shows a property of a site, as adsutil.vbs does", `
Shows a property of a site. Bindings in the form of IIS 7 are shown as well, as
IP:port:host.`, `
  $ caddy iis get /w3svc/1/SecureBindings`},
		{"set", "set <path>/<property> <value>...", "Sets a property of a site, as adsutil.vbs does", `
Sets a property of a site. A list is replaced as a whole; the change is in force
when the command returns. Setting SecureBindings replaces all https bindings of
the site, ServerBindings all http bindings; those that stay keep their sslFlags
and certificate.`, `
  $ caddy iis set /w3svc/1/SecureBindings ":443:www.example.com" ":443:example.com"
  $ caddy iis set /w3svc/1/ServerComment "Shop"
  $ caddy iis set /w3svc/1/ServerAutoStart False`},
		{"delete", "delete <path>[/<property>]", "Deletes a property or a site, as adsutil.vbs does", `
Deletes a property of a site, or the site.`, `
  $ caddy iis delete /w3svc/1/SecureBindings
  $ caddy iis delete /w3svc/5`},
		{"enum", "enum <path>", "Shows all properties of a site, as adsutil.vbs does", `
Shows all properties of a site, or all sites.`, `
  $ caddy iis enum /w3svc/1
  $ caddy iis enum /w3svc`},
	} {
		verb := v.verb
		cmd := c.command(v.use, v.short, strings.TrimSpace(v.long)+properties, v.example,
			cobra.ArbitraryArgs, cli.ExitFailed,
			asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
				return cli.Adsutil(ctx, e, verb, args)
			}))
		cmd.ValidArgsFunction = first(pathsOf)
		iis.AddCommand(cmd)
	}
}

// pageLimit is the flag --limit. What nobody gave is not judged: it may be 0, for all.
func pageLimit(cmd *cobra.Command) (int, error) {
	limit, err := cmd.Flags().GetInt("limit")
	if err == nil && cmd.Flags().Changed("limit") && (limit < 1 || limit > adminapi.MaxLimit) {
		err = &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--limit: expected a number from 1 to %d", adminapi.MaxLimit)}
	}
	return limit, err
}
