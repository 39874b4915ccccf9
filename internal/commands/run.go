package commands

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// exitError is an exit code as an error.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run runs caddy iis in this process and returns its exit code. It is for tests; Caddy
// runs what New returns.
func Run(app Functions, out, errOut io.Writer, args ...string) int {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	iis := &cobra.Command{Use: "iis"}
	line := &commandLine{app: app, exit: func(cmd *cobra.Command, code int) error {
		cmd.SilenceErrors = true
		return exitError(code)
	}}
	line.build(iis)
	root.AddCommand(iis)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetArgs(append([]string{"iis"}, args...))
	err := root.Execute()
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	return -1 // no command of ours returns such an error
}
