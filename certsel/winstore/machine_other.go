//go:build !windows

package winstore

import (
	"fmt"
	"runtime"
)

// Open returns the machine that this program runs on.
func Open() (Machine, error) {
	return nil, fmt.Errorf("%w: it runs %s; way out: load this configuration on Windows, or name a PEM or PFX file", ErrNoStores, runtime.GOOS)
}
