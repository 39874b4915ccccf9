// Package proc runs the servers under test on a core of their own, and measures
// the processor time and the memory of a process and its children. Measuring
// needs Linux.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The cores of servers and clients.
const (
	ServerCore = 0
	ClientCore = 1
)

// Pinned reports whether processes can be pinned to cores here.
func Pinned() bool {
	_, err := exec.LookPath("taskset")
	return err == nil && runtime.NumCPU() > ClientCore
}

// PinSelf moves this process, and with it its later children, to the core of
// clients.
func PinSelf(ctx context.Context) error {
	if !Pinned() {
		return nil
	}
	//nolint:gosec // constants and a number
	out, err := exec.CommandContext(ctx, "taskset", "-acp", strconv.Itoa(ClientCore), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}

// ServerCommand is a command that runs on the core of servers, with one thread
// for Go code, and with its home in dir.
func ServerCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	if Pinned() {
		args = append([]string{"taskset", "-c", strconv.Itoa(ServerCore)}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // a server from the list of peers
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	return cmd
}

// Process is a running server.
type Process struct {
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	err    error // once it has exited
}

// Start starts a server with its home and its output in dir.
func Start(ctx context.Context, dir string, args ...string) (*Process, error) {
	log, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	// Stop ends it in good order; the end of ctx must not kill it before.
	p := &Process{cmd: ServerCommand(context.WithoutCancel(ctx), dir, args...), log: log, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Guard returns a context that ends with an error when the server exits.
func (p *Process) Guard(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.exited:
			cancel(fmt.Errorf("the server exited: %w", p.err))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stopTimeout bounds how long a server may take to exit.
const stopTimeout = 20 * time.Second

// Stop ends the server and its children, and waits for it.
func (p *Process) Stop() error {
	err := interrupt(p.cmd.Process)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		err = errors.Join(err, fmt.Errorf("process %d did not exit in %s, killing it", p.Pid(), stopTimeout))
	}
	killGroup(p.cmd.Process) // children that outlived it as well
	<-p.exited
	return errors.Join(ignoreDone(err), p.log.Close())
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// logTail is how much of a server's output Tail returns.
const logTail = 2000

// Tail returns the end of what the server has written.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-logTail):]))
}

// Memory is the memory of a process and its children, in bytes.
type Memory struct {
	RSS uint64 // resident; what children share is counted for each
	PSS uint64 // what is shared is counted once
}
