package needs

import (
	"errors"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk makes a folder a file system of its own, in memory, that is full when it has
// so many bytes, until the test ends. Only root may have one: else the test is skipped,
// also in CI, where tests are nobody special.
func SmallDisk(t testing.TB, folder string, bytes int) {
	t.Helper()
	err := unix.Mount("caddy-iis-test", folder, "tmpfs", 0, "size="+strconv.Itoa(bytes))
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		t.Skip("nobody may have a disk of their own here: ", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
