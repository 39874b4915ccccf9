package certsel

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// secretPlaceholder matches the placeholders that keep a password out of the
// configuration.
var secretPlaceholder = regexp.MustCompile(`\{(env|file)\.[^{}]+\}`)

// secretFile matches the placeholders that stand for the content of a file.
var secretFile = regexp.MustCompile(`\{file\.([^{}]+)\}`)

// literalPassword reports whether a configured password stands in the
// configuration itself.
func literalPassword(raw string) bool { return raw != "" && !secretPlaceholder.MatchString(raw) }

// resolvePassword replaces the placeholders of a configured password. One that
// has no value is an error that names it. Braces that are no placeholder are
// part of the password, and must not get into an error.
func resolvePassword(repl *caddy.Replacer, raw string) (string, error) {
	return repl.ReplaceFunc(raw, func(name string, value any) (any, error) {
		switch text := caddy.ToString(value); {
		case text != "":
			return text, nil
		case strings.HasPrefix(name, "env."):
			return nil, fmt.Errorf("the password's placeholder {%s} has no value: the environment variable is not set or empty", name)
		case strings.HasPrefix(name, "file."):
			return nil, fmt.Errorf("the password's placeholder {%s} has no value: the file cannot be read or is empty", name)
		default:
			return "{" + name + "}", nil
		}
	})
}

// parsePassword parses a password option. Errors do not show its argument.
func parsePassword(d *caddyfile.Dispenser, dst *string) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("password takes one argument, in quotes if it has blanks, or better a placeholder such as {env.PFX_PASSWORD}")
	}
	if *dst != "" {
		return d.Errf("password is set twice")
	}
	*dst = args[0]
	return noBlock(d, "password")
}

// parseFile parses an option that names one file.
func parseFile(d *caddyfile.Dispenser, dst *string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("%s takes one file", option)
	}
	if *dst != "" {
		return d.Errf("%s is set twice: first %s, now %s", option, *dst, args[0])
	}
	*dst = args[0]
	return noBlock(d, option)
}
