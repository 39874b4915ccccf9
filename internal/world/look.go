package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// How much is looked at, and for how long.
const (
	maxUpstreams = 1000
	parallel     = 32
	patience     = 2 * time.Second // for an upstream
)

// Options say how to look.
type Options struct {
	// Relative tells that the working folder is that of the Caddy in question, so
	// that relative paths mean what they mean there.
	Relative bool

	// Windows tells whether paths are those of Windows: as this system's.
	windows bool
}

// Look finds the roots that are not there and the upstreams that refuse.
func Look(ctx context.Context, parts Parts, o Options) []adminapi.Finding {
	o.windows = runtime.GOOS == "windows"
	var findings []adminapi.Finding
	for _, p := range parts.Roots {
		if f, ok := o.root(p); ok {
			findings = append(findings, f)
		}
	}
	upstreams := parts.Upstreams
	if len(upstreams) > maxUpstreams {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: CodeNotLooked,
			Message: fmt.Sprintf("of %d upstreams only the first %d were asked", len(upstreams), maxUpstreams),
		})
		upstreams = upstreams[:maxUpstreams]
	}
	return append(findings, each(ctx, upstreams, upstream)...)
}

// windowsPath is a path with a drive letter or of a share.
var windowsPath = regexp.MustCompile(`^([A-Za-z]:|\\\\)`)

func (o Options) root(p Part) (adminapi.Finding, bool) {
	if !o.windows && windowsPath.MatchString(p.Value) {
		return warning(CodeRootForeign, p, "name the folder on this machine that the files were copied to; caddy iis import --map does it for all sites",
			"root %s (%s) is a path of Windows, and this is %s", p.Value, p.owners(), runtime.GOOS), true
	}
	if !filepath.IsAbs(p.Value) && !o.Relative {
		return adminapi.Finding{}, false
	}
	info, err := os.Stat(p.Value)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warning(CodeRootMissing, p, "make the folder, or correct the path",
			"root %s (%s) does not exist: what is asked for there is not found", p.Value, p.owners()), true
	case err == nil && !info.IsDir():
		return warning(CodeRootMissing, p, "name the folder that the files are in",
			"root %s (%s) is no folder", p.Value, p.owners()), true
	}
	return adminapi.Finding{}, false // whoever runs Caddy may see more than we do
}

// upstream asks whether anybody takes connections at an address.
func upstream(ctx context.Context, p Part) (adminapi.Finding, bool) {
	address, err := caddy.ParseNetworkAddress(p.Value)
	network, _, _ := strings.Cut(cmp.Or(address.Network, "tcp"), "+") // unix+h2c
	if err != nil || address.PortRangeSize() > 1 || network != "tcp" && network != "unix" {
		return adminapi.Finding{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address.JoinHostPort(0))
	if err == nil {
		_ = conn.Close()
		return adminapi.Finding{}, false
	}
	reason := err
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return adminapi.Finding{}, false // likewise
	case errors.As(err, &op) && op.Timeout():
		reason = fmt.Errorf("it does not answer within %v", patience)
	case errors.As(err, &call):
		reason = call.Err
	}
	return warning(CodeUpstreamRefuses, p, "start the application, or correct the address",
		"upstream %s (%s) takes no connections: %v: visitors get status 502", p.Value, p.owners(), reason), true
}

// each looks at several parts at a time. The findings are in the order of the parts.
func each[T any](ctx context.Context, parts []T, look func(context.Context, T) (adminapi.Finding, bool)) []adminapi.Finding {
	found := make([]*adminapi.Finding, len(parts))
	var wg sync.WaitGroup
	work := make(chan int)
	for range min(parallel, len(parts)) {
		wg.Go(func() {
			for i := range work {
				if f, ok := look(ctx, parts[i]); ok {
					found[i] = &f
				}
			}
		})
	}
	for i := range parts {
		work <- i
	}
	close(work)
	wg.Wait()
	var findings []adminapi.Finding
	for _, f := range found {
		if f != nil {
			findings = append(findings, *f)
		}
	}
	return findings
}
