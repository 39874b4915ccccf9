package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// pathLine is a line of the file that --paths names: [scheme://][host]/path
// [status]. Without scheme it is for http and https, without host for the hosts
// of all bindings.
type pathLine struct {
	where        string // file:line
	scheme, host string
	path         string
	status       int // 0: any that is no error
}

func readPaths(file string) ([]pathLine, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines, err := parsePaths(file, raw)
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%s has no lines: expected some such as www.example.com/login 200", file)
	}
	return lines, err
}

func parsePaths(file string, raw []byte) ([]pathLine, error) {
	var list []pathLine
	number := 0
	for line := range strings.Lines(string(bytes.TrimPrefix(raw, []byte("\ufeff")))) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		p, err := parsePathLine(fields)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		p.where = fmt.Sprintf("%s:%d", file, number)
		list = append(list, p)
	}
	return list, nil
}

func parsePathLine(fields []string) (pathLine, error) {
	var p pathLine
	if len(fields) > 2 {
		return p, errors.New("expected a path and a status, such as www.example.com/login 200; a blank in a path is %20")
	}
	rest := fields[0]
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return p, fmt.Errorf("unknown scheme %q: expected http or https", scheme)
		}
		p.scheme, rest = scheme, after
	}
	host, _, ok := strings.Cut(rest, "/")
	if !ok {
		return p, fmt.Errorf("%q has no path: expected one such as www.example.com/", fields[0])
	}
	p.path = rest[len(host):]
	if err := validPath(p.path); err != nil {
		return p, err
	}
	if host != "" {
		ascii, err := idn.ToASCII(host)
		if err != nil {
			return p, fmt.Errorf("host %q: %w", host, err)
		}
		p.host = strings.ToLower(ascii)
	}
	if len(fields) == 2 {
		status, err := strconv.Atoi(fields[1])
		if err != nil || status < http.StatusOK || status > 599 {
			return p, fmt.Errorf("%q is no status: expected a number such as 200 or 401", fields[1])
		}
		p.status = status
	}
	return p, nil
}

// fits tells whether a line is for the connections of a scheme and a host.
func (p pathLine) fits(scheme, host string) bool {
	return (p.scheme == "" || p.scheme == scheme) && (p.host == "" || p.host == host)
}
