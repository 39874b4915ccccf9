package commands

import (
	"context"
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// addChecking adds the commands that explain, check and compare.
func (c *commandLine) addChecking(iis *cobra.Command) {
	iis.AddCommand(c.explainCommand(), c.checkCommand(), c.verifyCommand(), c.generateCommand())
}

func (c *commandLine) explainCommand() *cobra.Command {
	cmd := c.command("explain <IP:port> [--sni <name> | --no-sni] [--host <name>] [--scheme <http|https>]",
		"Explains which certificate and site a client gets", `
Explains what a client gets that connects to an address: which certificate and
why, which site and why, and what a browser would say. The rules are asked that
live traffic uses.

Without --host, the host is the server name; without --sni, the server name is
the host, as browsers do it. *:443 is an address that no binding names.`, `
  $ caddy iis explain 10.0.0.5:443 --sni www.example.com
  $ caddy iis explain 10.0.0.5:443 --no-sni --host www.example.com
  $ caddy iis explain "*:80" --host www.example.com`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			q := adminapi.Question{Local: args[0]}
			q.SNI, _ = cmd.Flags().GetString("sni")
			q.Host, _ = cmd.Flags().GetString("host")
			q.Scheme, _ = cmd.Flags().GetString("scheme")
			without, _ := cmd.Flags().GetBool("no-sni")
			switch {
			case without && q.SNI != "":
				return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("a client sends a server name (--sni) or none (--no-sni), not both")}
			case !without:
				return cli.ExplainBrowser(ctx, e, q)
			}
			return cli.Explain(ctx, e, q)
		}))
	cmd.ValidArgsFunction = first(endpointsOf)
	cmd.Flags().String("sni", "", "The server name that the client sends")
	cmd.Flags().Bool("no-sni", false, "The client sends no server name")
	cmd.Flags().String("host", "", "The host that the client asks for")
	cmd.Flags().String("scheme", "", "http or https (default: what the port speaks)")
	return cmd
}

func (c *commandLine) checkCommand() *cobra.Command {
	cmd := c.command("check [--config <path> [--adapter <name>]] [--bindings] [--no-probe] [--dns [--here <IP>]...]",
		"Shows the findings of a configuration", `
Shows what is wrong or surprising in the running configuration or, with
--config, in a configuration file. The file is loaded as caddy validate does: no
socket is opened, nothing is started, and a running Caddy does not notice.

It also looks at this machine: whether the roots of sites exist, and whether their
upstreams take connections; --no-probe leaves that out. --dns asks whether the
hosts of bindings lead to this machine. --bindings tells of each https binding
whether its certificate covers the host, when it ends, who renews it and what
failed last.

Exit codes: 0 nothing but remarks, 1 warnings, 2 errors, 3 it could not be
checked.`, `
  $ caddy iis check
  $ caddy iis check --bindings
  $ caddy iis check --dns --here 203.0.113.7
  $ caddy iis check --config Caddyfile --no-probe`,
		cobra.NoArgs, cli.ExitNotAsked,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			flags := caddycmd.Flags{FlagSet: cmd.Flags()}
			around := cli.Surroundings{Probe: !flags.Bool("no-probe"), DNS: flags.Bool("dns")}
			around.Here, _ = cmd.Flags().GetStringArray("here")
			if len(around.Here) > 0 && !around.DNS {
				return errors.New("--here is for --dns: add it")
			}
			config, bindings := flags.String("config"), flags.Bool("bindings")
			if config == "" {
				return asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, _ []string) error {
					return cli.CheckRunning(ctx, e, around, bindings)
				})(ctx, e, cmd, args)
			}
			checked, err := c.app.Check(ctx, config, flags.String("adapter"), around)
			if err != nil {
				return err
			}
			if bindings {
				return cli.CheckBindings(e, checked.Findings, checked.Sites)
			}
			return cli.Check(e, checked.Findings)
		})
	cmd.Flags().Bool("bindings", false, "Tell how the certificate of each https binding stands")
	cmd.Flags().Bool("no-probe", false, "Do not look at folders and upstreams")
	cmd.Flags().Bool("dns", false, "Ask whether the hosts of bindings lead to this machine")
	cmd.Flags().StringArray("here", nil, "An address at which clients reach this machine, such as that of a balancer; can be repeated")
	return cmd
}

// Checked is what a look at a configuration file finds.
type Checked struct {
	Findings []adminapi.Finding
	Sites    []adminapi.Site
}

// CheckFunc looks at a configuration file, without starting anything.
type CheckFunc func(ctx context.Context, path, adapter string, around cli.Surroundings) (Checked, error)

func (c *commandLine) generateCommand() *cobra.Command {
	cmd := c.command("commands [--for <tool>]... [--since <file or folder> [--removals]] [--port <n>] [<id>=<host>[,<host>...]]...",
		"Writes the command lines that set the same bindings", `
Writes the command lines of adsutil.vbs, appcmd, netsh and caddy iis that set the
bindings of the running sites or, with arguments, of a list of site ids and
hosts. A host stands for an https binding at --port on all addresses; IP:port:host
is taken as it is.

With --since, which names what was imported, as caddy iis import reads it, the
lines for appcmd and netsh are those of the difference alone: what makes of that
server what runs now. What takes something away has rem in front, unless
--removals is given.`, `
  $ caddy iis commands
  $ caddy iis commands --for appcmd --since iis-export
  $ caddy iis commands --for adsutil 1=www.example.com 2=shop.example.com,example.com
  $ caddy iis commands --for appcmd --port 8443 1=www.example.com`,
		cobra.ArbitraryArgs, cli.ExitFailed,
		func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			tools, _ := cmd.Flags().GetStringSlice("for")
			port, _ := cmd.Flags().GetUint16("port")
			do := func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
				want := cli.Lines{Tools: tools, Sites: args, Port: port}
				want.Removals, _ = cmd.Flags().GetBool("removals")
				if cmd.Flags().Changed("since") && len(args) > 0 {
					return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("--since compares with the running sites, and takes no list")}
				}
				var err error
				if want.Since, err = readSince(cmd); err != nil {
					return err
				}
				return cli.Generate(ctx, e, want)
			}
			if len(args) > 0 {
				return do(ctx, e, cmd, args) // without a running Caddy
			}
			return asking(do)(ctx, e, cmd, args)
		})
	cmd.Flags().StringSlice("for", nil, "The tool: adsutil, appcmd, netsh or caddy (default: all)")
	cmd.Flags().String("since", "", "What was imported, a file or a folder: writes only what is different now")
	cmd.Flags().Bool("removals", false, "With --since: no rem in front of what takes something away")
	cmd.Flags().Uint16("port", 443, "The port of hosts in the list")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(cli.Tools(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// readSince reads the server that was imported; nil if none is named.
func readSince(cmd *cobra.Command) (*iisconfig.Server, error) {
	name, _ := cmd.Flags().GetString("since")
	if name == "" {
		if cmd.Flags().Changed("removals") {
			return nil, &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("--removals: there is nothing to take away without --since")}
		}
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	in := importSources{names: []string{name}}
	read, err := in.options()
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	server, err := iisconfig.ReadFS(hostFS{}, read, in.names...)
	if err == nil && len(server.Sites) == 0 {
		err = fmt.Errorf("no site was found in %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	return server, nil
}
