package commands

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// outputFlags are those of commands that write something to keep.
func outputFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("output", "", "The file to write, as a whole or not at all (default: the standard output)")
	cmd.Flags().Bool("force", false, "Replace a file that is there")
	return cmd
}

// output is where such a command writes, beside the other files that are named. It refuses
// before anything is written to replace what is there, and may have been edited.
func output(cmd *cobra.Command, also ...string) (cli.Output, error) {
	var to cli.Output
	to.File, _ = cmd.Flags().GetString("output")
	to.Force, _ = cmd.Flags().GetBool("force")
	files := append(also, to.File)
	if to.Force && !slices.ContainsFunc(files, func(file string) bool { return file != "" }) {
		return to, &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("--force is for --output: add it")}
	}
	for _, file := range files {
		if err := (cli.Output{File: file, Force: to.Force}).Check(); err != nil {
			return to, err
		}
	}
	return to, nil
}
