package commands

import (
	"context"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// certificatesCommand lists the certificates; below it are the commands for those that
// a source of sites keeps.
func (c *commandLine) certificatesCommand(show task) *cobra.Command {
	list := c.command("certificates", "Lists the certificates", `
Lists the certificates with their subjects, expiry, thumbprint and the number of
sites that share them.`, `
  $ caddy iis certificates`,
		cobra.NoArgs, cli.ExitFailed, show)
	list.AddCommand(c.putCertificateCommand(false), c.putCertificateCommand(true), c.removeCertificateCommand(), c.exportCertificateCommand())
	return list
}

func (c *commandLine) putCertificateCommand(replace bool) *cobra.Command {
	verb, short := "add", "Adds a certificate to a source of sites"
	long := `
Adds a certificate with its private key to a source of sites, which serves it
from then on to the sites that name it. The files are PEM, certificate, chain and
key in one or several, or a PFX file.`
	if replace {
		verb, short = "replace", "Replaces a certificate in a source of sites"
		long = `
Replaces a certificate in a source of sites. The next handshake has the new one;
the sites that name it do not change.`
	}
	cmd := sourceFlag(c.command(verb+" <name> <file>... [--password-file <file>] [--source <name>]", short, long, `
  $ caddy iis certificates `+verb+` bakery fullchain.pem privkey.pem
  $ caddy iis certificates `+verb+` shop shop.pfx --password-file password.txt`,
		cobra.MinimumNArgs(2), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			given := cli.NewCertificate{Name: args[0], Files: args[1:], Replace: replace}
			given.Source, _ = cmd.Flags().GetString("source")
			given.PasswordFile, _ = cmd.Flags().GetString("password-file")
			return cli.PutCertificate(ctx, e, given)
		})))
	cmd.Flags().String("password-file", "", "A file with the password of the private key or the PFX file")
	return cmd
}

func (c *commandLine) removeCertificateCommand() *cobra.Command {
	return sourceFlag(c.command("remove <name> [--source <name>]", "Removes a certificate from a source of sites", `
Removes a certificate from a source of sites. One that sites use is not removed.`, `
  $ caddy iis certificates remove bakery`,
		cobra.ExactArgs(1), cli.ExitFailed,
		asking(func(ctx context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			source, _ := cmd.Flags().GetString("source")
			return cli.RemoveCertificate(ctx, e, source, args[0])
		})))
}

func (c *commandLine) exportCertificateCommand() *cobra.Command {
	cmd := c.command("export <name> --pfx <file> --password-file <file> [--key-file <file>] [--file <file>]", "Exports a certificate with its private key", `
Writes a certificate that the source bolt keeps, with its private key, to a new PFX
file. It reads the file of the source itself, also while Caddy has it open, and the
key that certificate_key names: Caddy shows private keys to nobody.`, `
  $ caddy iis certificates export bakery --pfx bakery.pfx --password-file password.txt --key-file /run/secrets/key`,
		cobra.ExactArgs(1), cli.ExitFailed,
		func(_ context.Context, e *cli.Env, cmd *cobra.Command, args []string) error {
			x := cli.ExportedCertificate{Name: args[0]}
			for name, dst := range map[string]*string{"pfx": &x.PFX, "password-file": &x.PasswordFile, "key-file": &x.KeyFile, "file": &x.Database} {
				*dst, _ = cmd.Flags().GetString(name)
			}
			return cli.ExportCertificate(e, x)
		})
	cmd.Flags().String("pfx", "", "The file to write")
	cmd.Flags().String("password-file", "", "A file with the password for it")
	cmd.Flags().String("key-file", "", "The file with the key that encrypts private keys (default: they are plain)")
	cmd.Flags().String("file", filepath.Join(caddy.AppDataDir(), "iis", "sites.db"), "The file of the source")
	return cmd
}
