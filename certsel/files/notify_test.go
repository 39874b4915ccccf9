//go:build linux || windows

package files

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// A folder that the operating system notifies of is not looked at for each
// group that is added.
func TestWatcherAsksOncePerFolder(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 20 * time.Millisecond})
	dir := t.TempDir()
	loaders := make([]loader, 50)
	groups := make([]Group, len(loaders))
	for i := range loaders {
		path := filepath.Join(dir, fmt.Sprint("b", i))
		write(t, path, "1")
		groups[i] = loaders[i].group(r, time.Hour, path)
	}
	w.Add(groups[0])
	eventually(t, "the folder is notified of", func() bool { return w.Stats().Notified > 0 })
	before := w.Stats().Checks
	for _, g := range groups[1:] {
		w.Add(g)
	}
	write(t, filepath.Join(dir, "b7"), "2")
	eventually(t, "the change", func() bool { return loaders[7].last() == "2" })
	if checks := w.Stats().Checks - before; checks > 20 {
		t.Errorf("%d checks for %d groups of which one changed", checks, len(groups))
	}
}
