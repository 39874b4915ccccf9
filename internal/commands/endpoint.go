package commands

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// endpointCommand changes certificates by address and port.
func (c *commandLine) endpointCommand() *cobra.Command {
	group := &cobra.Command{Use: "endpoint", Short: "Adds, changes or removes the certificate of an address and port"}
	group.RunE = func(cmd *cobra.Command, args []string) error { return c.noCommand(cmd, args) }
	for _, v := range []struct {
		verb, short, long string
		do                func(context.Context, *cli.Env, string, cli.EndpointSettings) error
	}{
		{"add", "Gives an address and port a certificate", `
Gives an address and port a certificate in the running configuration, as netsh
http add sslcert does. For an IP address it is that of all clients who connect to
it, whatever server name they send; for all addresses, 0.0.0.0, it is that of
clients who send none, or one that no binding has a certificate for.`, cli.AddEndpoint},
		{"set", "Changes the certificate of an address and port", `
Changes what an address and port has in the running configuration, as netsh http
update sslcert does. A certificate takes the place of --reject, and --reject that
of the certificate; all other settings of the endpoint stay.`, cli.SetEndpoint},
	} {
		cmd := c.command(v.verb+" <IP:port> [--certificate <name> | --reject]", v.short, v.long, `
  $ caddy iis endpoint `+v.verb+` 10.0.0.5:8443 --certificate wildcard
  $ caddy iis endpoint `+v.verb+` ipport=0.0.0.0:443 --reject`,
			cobra.ExactArgs(1), cli.ExitFailed,
			asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
				var s cli.EndpointSettings
				flags := cmd.Flags()
				if flags.Changed("certificate") {
					name, _ := flags.GetString("certificate")
					s.Certificate = &name
				}
				if flags.Changed("reject") {
					reject, _ := flags.GetBool("reject")
					s.Reject = &reject
				}
				if s.Certificate != nil && s.Reject != nil && *s.Reject {
					return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("an endpoint has a certificate (--certificate) or refuses handshakes (--reject), not both")}
				}
				return v.do(ctx, e, args[0], s)
			}))
		cmd.Flags().String("certificate", "", "The name of the certificate")
		cmd.Flags().Bool("reject", false, "Refuse handshakes, as reject=enable of netsh")
		if v.verb == "set" {
			cmd.ValidArgsFunction = first(endpointsOf)
		}
		group.AddCommand(cmd)
	}
	remove := c.command("remove <IP:port>", "Removes the certificate of an address and port", `
Removes an address and port from the endpoints of the running configuration, as
netsh http delete sslcert does. Bindings there have the certificates that they name.`, `
  $ caddy iis endpoint remove 10.0.0.5:8443`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, _ *cobra.Command, args []string) error {
			return cli.RemoveEndpoint(ctx, e, args[0])
		}))
	remove.ValidArgsFunction = first(endpointsOf)
	group.AddCommand(remove)
	return group
}
