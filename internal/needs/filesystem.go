package needs

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// CaseSensitive skips a test on a file system that itself finds a file by a
// name in another case, as those of Windows and macOS do: names that differ in
// case only cannot be made there.
func CaseSensitive(t testing.TB, dir string) {
	t.Helper()
	probe := filepath.Join(dir, "Case")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(filepath.Join(dir, "cASE"))
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	switch {
	case err != nil:
	case runtime.GOOS == "linux":
		t.Fatal("this file system finds a file in another case")
	default:
		t.Skip("this file system finds a file in another case")
	}
}
