package commands

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// addEditing adds the commands for daily changes.
func (c *commandLine) addEditing(iis *cobra.Command) {
	add := &cobra.Command{Use: "add", Short: "Adds a binding or a site"}
	add.AddCommand(c.addBindingCommand(), c.addSiteCommand())
	remove := &cobra.Command{Use: "remove", Short: "Removes a binding or a site"}
	remove.AddCommand(c.removeBindingCommand(), c.removeSiteCommand())
	for _, group := range []*cobra.Command{add, remove} {
		group.RunE = func(cmd *cobra.Command, args []string) error { return c.noCommand(cmd, args) }
	}
	iis.AddCommand(add, remove, c.startCommand("start", true), c.startCommand("stop", false))
}

func (c *commandLine) addBindingCommand() *cobra.Command {
	cmd := c.command("binding <site> <http|https> <IP:port:host> [--sni] [--certificate <name>] [--flags <n>]",
		"Adds a binding to a site", `
Adds a binding to a site. IP may be empty or *, host may be empty. With --sni the
certificate is for clients that send the host as server name; without, an https
binding has the certificate of its address and port.`, `
  $ caddy iis add binding 1 http :80:www.example.com
  $ caddy iis add binding 1 https "*:443:shop.example.com" --sni --certificate shop
  $ caddy iis add binding Shop https 10.0.0.5:443:`,
		cobra.ExactArgs(3), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			b := cli.NewBinding{Protocol: args[1], Binding: args[2]}
			b.Certificate, _ = cmd.Flags().GetString("certificate")
			b.Flags, _ = cmd.Flags().GetUint16("flags")
			if sni, _ := cmd.Flags().GetBool("sni"); sni {
				b.Flags |= uint16(binding.FlagSNI)
			}
			return cli.AddBinding(ctx, e, args[0], b)
		}))
	cmd.Flags().Bool("sni", false, "The certificate is chosen by server name (sslFlags 1)")
	cmd.Flags().String("certificate", "", "The name of the certificate (default: the site's)")
	cmd.Flags().Uint16("flags", 0, "The sslFlags of IIS 8 and later, as a sum")
	cmd.ValidArgsFunction = first(sitesOf)
	return cmd
}

func (c *commandLine) removeBindingCommand() *cobra.Command {
	cmd := c.command("binding <site> [http|https] <IP:port:host>", "Removes a binding from a site", `
Removes a binding from a site. The protocol can be left out unless the site has
the binding for both.`, `
  $ caddy iis remove binding 1 :80:old.example.com`,
		cobra.RangeArgs(2, 3), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
			protocol := ""
			if len(args) == 3 {
				protocol = args[1]
			}
			return cli.RemoveBinding(ctx, e, args[0], protocol, args[len(args)-1])
		}))
	cmd.ValidArgsFunction = completing(bindingsOf)
	return cmd
}

func (c *commandLine) addSiteCommand() *cobra.Command {
	cmd := c.command("site <name> [--id <id>] [--http <IP:port:host>]... [--https <IP:port:host>]... [--certificate <name>] [--root <folder> | --proxy <address>] [--stopped]",
		"Adds a site", `
Adds a site. It serves the files of --root, or passes requests on to --proxy;
with neither, it serves what the defaults of the configuration say.`, `
  $ caddy iis add site Shop --http :80:shop.example.com --root "C:\inetpub\shop"
  $ caddy iis add site Api --id 7 --https :443:api.example.com --certificate wildcard --proxy localhost:8002`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			s := cli.NewSite{Name: args[0]}
			flags := cmd.Flags()
			s.ID, _ = flags.GetUint32("id")
			s.HTTP, _ = flags.GetStringArray("http")
			s.HTTPS, _ = flags.GetStringArray("https")
			s.Certificate, _ = flags.GetString("certificate")
			s.Root, _ = flags.GetString("root")
			s.Proxy, _ = flags.GetString("proxy")
			s.Stopped, _ = flags.GetBool("stopped")
			return cli.AddSite(ctx, e, s)
		}))
	flags := cmd.Flags()
	flags.Uint32("id", 0, "The id of the site (default: the one after the highest)")
	flags.StringArray("http", nil, "An http binding, IP:port:host; can be repeated")
	flags.StringArray("https", nil, "An https binding, IP:port:host; can be repeated")
	flags.String("certificate", "", "The name of the certificate of the https bindings")
	flags.String("root", "", "Serve files from this folder")
	flags.String("proxy", "", "Pass requests on to this address, host:port")
	flags.Bool("stopped", false, "Do not start the site")
	return cmd
}

func (c *commandLine) removeSiteCommand() *cobra.Command {
	cmd := c.command("site <site>", "Removes a site", `
Removes a site with its bindings.`, `
  $ caddy iis remove site 7`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
			return cli.RemoveSite(ctx, e, args[0])
		}))
	cmd.ValidArgsFunction = first(sitesOf)
	return cmd
}

func (c *commandLine) startCommand(verb string, started bool) *cobra.Command {
	short, long := "Starts a site", `
Starts a site: its bindings select it again. That is a change of autostart, so
the site is started as well when Caddy is started again.`
	if !started {
		short, long = "Stops a site", `
Stops a site: its bindings select nothing any more, while its certificates still
serve, as in HTTP.sys. That is a change of autostart, so the site stays stopped
when Caddy is started again.`
	}
	cmd := c.command(verb+" <site>", short, long, fmt.Sprintf("\n  $ caddy iis %s 1", verb),
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
			return cli.SetStarted(ctx, e, args[0], started)
		}))
	cmd.ValidArgsFunction = first(sitesOf)
	return cmd
}
