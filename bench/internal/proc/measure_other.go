//go:build !linux

package proc

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

var errNeedsLinux = errors.New("measuring processes needs Linux")

// Supported is nil where processes can be measured.
func Supported() error { return errNeedsLinux }

// CPU is for Linux only.
func CPU(int) (time.Duration, error) { return 0, errNeedsLinux }

// MemoryOf is for Linux only.
func MemoryOf(int) (Memory, error) { return Memory{}, errNeedsLinux }

// Available is for Linux only.
func Available() (uint64, error) { return 0, errNeedsLinux }

// ReloadSignal is for Linux only.
func ReloadSignal(*Process, string) error { return errNeedsLinux }

func ownGroup(*exec.Cmd) {}

func interrupt(p *os.Process) error { return p.Kill() }

func killGroup(*os.Process) {}
