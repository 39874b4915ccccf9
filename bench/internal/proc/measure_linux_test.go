package proc

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(t.Context(), t.TempDir(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestCPU(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 30*time.Millisecond; {
		_ = strings.Repeat("x", 1000)
	}
	after, err := CPU(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("from %s to %s (%v)", before, after, err)
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("a process that does not exist was measured")
	}
}

func TestTreeAndMemory(t *testing.T) {
	p := start(t, "sleep 60 & sleep 60 & wait")
	var tree []int
	for range 200 {
		if tree = Tree(p.Pid()); len(tree) == 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(tree) != 3 || tree[0] != p.Pid() {
		t.Errorf("the tree of %d is %v", p.Pid(), tree)
	}
	m, err := MemoryOf(p.Pid())
	if err != nil || m.RSS == 0 || m.PSS == 0 || m.PSS > m.RSS {
		t.Errorf("memory %+v (%v)", m, err)
	}
	if available, err := Available(); err != nil || available == 0 {
		t.Errorf("%d bytes available (%v)", available, err)
	}
}

func TestExitIsNoticed(t *testing.T) {
	p := start(t, "echo why it ends; exit 3")
	ctx, cancel := p.Guard(t.Context())
	defer cancel()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	if err := context.Cause(ctx); err == nil || !strings.Contains(err.Error(), "exit status 3") || p.Tail() != "why it ends" {
		t.Errorf("%v, and the output is %q", err, p.Tail())
	}
}

func TestStopEndsChildren(t *testing.T) {
	p, err := Start(t.Context(), t.TempDir(), "sh", "-c", "trap 'exit 0' TERM; sleep 60 & echo ready; wait")
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if p.Tail() == "ready" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	children := Tree(p.Pid())[1:]
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	for _, child := range children {
		for range 200 {
			if gone(child) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !gone(child) {
			t.Errorf("process %d still runs", child)
		}
	}
}

// gone reports whether a process has ended, be it waited for or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestReloadSignal(t *testing.T) {
	p := start(t, "trap 'echo reloaded' USR2; echo ready; while :; do sleep 0.01; done")
	for range 500 {
		if p.Tail() == "ready" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := ReloadSignal(p, "USR2"); err != nil { // HUP may be ignored here, as under nohup
		t.Error(err)
	}
	for range 500 {
		if strings.HasSuffix(p.Tail(), "reloaded") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("output %q", p.Tail())
}

func TestUnknownSignal(t *testing.T) {
	if err := ReloadSignal(nil, "OTHER"); err == nil {
		t.Error("a signal that does not exist was sent")
	}
}
