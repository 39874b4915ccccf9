package needs

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inOwnNetwork tells a copy of a test program that it has a network of its own.
const inOwnNetwork = "CADDY_IIS_TEST_OWN_NETWORK"

// OwnNetwork runs the test again in a copy of the test program that has a network of its
// own, whose addresses it may change, and reports whether this is that copy. A container
// may let nobody have one, also in CI: then the test is skipped.
func OwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inOwnNetwork) != "" {
		configure(t, "lo", func(fd int, r *unix.Ifreq) error {
			r.SetUint16(unix.IFF_UP)
			return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
		})
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v") //nolint:gosec // the test program itself
	cmd.Env = append(os.Environ(), inOwnNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	switch err := cmd.Start(); {
	case err == nil:
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		t.Skip("nobody may have a network of their own here: ", err)
	default:
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(output.String(), "--- PASS: "+t.Name()) {
		t.Errorf("in a network of its own: %v\n%s", err, output.String())
	}
	return false
}

// AddAddress gives the loopback interface of a network that OwnNetwork made one more
// IPv4 address.
func AddAddress(t *testing.T, ip netip.Addr) {
	t.Helper()
	configure(t, "lo:1", func(fd int, r *unix.Ifreq) error {
		if err := r.SetInet4Addr(ip.AsSlice()); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r)
	})
}

func configure(t *testing.T, name string, set func(fd int, r *unix.Ifreq) error) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(fd, r); err != nil {
		t.Fatal(name, ": ", err)
	}
}
