package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
)

const module = "github.com/caddy-iis/caddy-iis"

// prepare builds and finds the programs, and goes to the core of clients.
func (b *bench) prepare(ctx context.Context) error {
	if err := os.MkdirAll(b.out, 0o750); err != nil {
		return err
	}
	b.programs.Find()
	var err error
	if b.programs.Caddy = b.caddy; b.caddy == "" {
		b.programs.Caddy, err = b.build(ctx, "caddy")
	} else {
		b.programs.Caddy, err = filepath.Abs(b.caddy)
	}
	if err != nil {
		return err
	}
	if b.programs.Baseline, err = b.build(ctx, "baseline"); err != nil {
		return err
	}
	b.machine = describe(ctx, b.programs)
	if !proc.Pinned() {
		fmt.Println("server and client share cores: this needs taskset and two cores")
	}
	return proc.PinSelf(ctx)
}

func (b *bench) build(ctx context.Context, name string) (string, error) {
	fmt.Println("building bench/" + name)
	file := filepath.Join(b.work, "bin", name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, module+"/bench/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building bench/%s, in a checkout of %s: %w: %s", name, module, err, out)
	}
	return file, nil
}

// describe says what the results come from.
func describe(ctx context.Context, programs peers.Programs) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- %s, %s on %s with %d cores (%s)\n",
		time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
	if proc.Pinned() {
		fmt.Fprintf(&b, "- servers on core %d, one thread for Go code; clients on core %d\n", proc.ServerCore, proc.ClientCore)
	} else {
		b.WriteString("- servers and clients share cores\n")
	}
	fmt.Fprintf(&b, "- caddy-iis %s, Caddy %s, %s\n", revision(ctx), dependency(ctx, "github.com/caddyserver/caddy/v2"), runtime.Version())
	if programs.Nginx != "" {
		fmt.Fprintf(&b, "- %s\n", firstLine(ctx, programs.Nginx, "-v"))
	}
	if programs.HAProxy != "" {
		fmt.Fprintf(&b, "- %s\n", firstLine(ctx, programs.HAProxy, "-v"))
	}
	return strings.TrimSpace(b.String())
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func revision(ctx context.Context) string {
	return firstLine(ctx, "git", "describe", "--always", "--dirty")
}

// dependency returns the version of a module that this program was built with:
// the same go.mod is behind Caddy.
func dependency(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", path).Output()
	if err == nil {
		return string(bytes.TrimSpace(out))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == path {
				return dep.Version
			}
		}
	}
	return "unknown"
}

func firstLine(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
