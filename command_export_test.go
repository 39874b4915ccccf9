package caddyiis

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// exitCode is an exit code as an error.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// RunCommand runs caddy iis in this process and returns its exit code.
func RunCommand(out, errOut io.Writer, args ...string) int {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	iis := &cobra.Command{Use: "iis"}
	line := &commandLine{exit: func(cmd *cobra.Command, code int) error {
		cmd.SilenceErrors = true
		return exitCode(code)
	}}
	line.build(iis)
	root.AddCommand(iis)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetArgs(append([]string{"iis"}, args...))
	err := root.Execute()
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	return -1 // no command of ours returns such an error
}
