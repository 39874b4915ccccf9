package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported is nil where processes can be measured.
func Supported() error { return nil }

// Tree returns the process and its descendants.
func Tree(pid int) []int {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		if err != nil {
			continue
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has exited
			}
			for word := range strings.FieldsSeq(string(text)) {
				if child, err := strconv.Atoi(word); err == nil {
					pids = append(pids, child)
				}
			}
		}
	}
	return pids
}

// CPU returns the user and system time that a process and its descendants have
// had, those included that have exited and were waited for.
func CPU(pid int) (time.Duration, error) {
	var sum time.Duration
	for i, p := range Tree(pid) {
		own, err := cpuClock(p)
		if err == nil {
			var waited time.Duration
			waited, err = waitedFor(p)
			sum += own + waited
		}
		if err != nil && i == 0 {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
	}
	return sum, nil
}

// cpuClock reads the clock that counts the time of all threads of a process, in
// nanoseconds: utime and stime of /proc/<pid>/stat are the same, in hundredths
// of a second.
func cpuClock(pid int) (time.Duration, error) {
	const clockSched = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|clockSched), &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// ticks is how many there are in a second, on all architectures that Go has.
const ticks = 100

// waitedFor returns the time of children that have exited.
func waitedFor(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may have blanks. See proc_pid_stat(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	cutime, err1 := strconv.ParseInt(fields[13], 10, 64)
	cstime, err2 := strconv.ParseInt(fields[14], 10, 64)
	return time.Duration(cutime+cstime) * time.Second / ticks, errors.Join(err1, err2)
}

// MemoryOf returns the memory of a process and its descendants.
func MemoryOf(pid int) (Memory, error) {
	var m Memory
	for i, p := range Tree(pid) {
		err := m.add(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil && i == 0 {
			return m, err
		}
	}
	return m, nil
}

func (m *Memory) add(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		switch key, size := kibibytes(lines.Text()); key {
		case "Rss":
			m.RSS += size
		case "Pss":
			m.PSS += size
		}
	}
	return lines.Err()
}

// kibibytes reads a line such as "Rss:  123 kB".
func kibibytes(line string) (key string, size uint64) {
	key, value, _ := strings.Cut(line, ":")
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
	if err != nil {
		return "", 0
	}
	return key, n << 10
}

// Available returns how much memory the machine has left.
func Available() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if key, size := kibibytes(strings.TrimSpace(line)); key == "MemAvailable" {
			return size, nil
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}

// ReloadSignal asks nginx (HUP) and HAProxy (USR2) to read their configuration.
func ReloadSignal(p *Process, name string) error {
	sig := unix.SignalNum("SIG" + name)
	if sig == 0 {
		return fmt.Errorf("no signal %q", name)
	}
	return p.cmd.Process.Signal(sig)
}

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func interrupt(p *os.Process) error { return p.Signal(unix.SIGTERM) }

func killGroup(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGKILL) }
