//go:build !unix

package sitesource

import "time"

// cpu is not known here.
func cpu() time.Duration { return 0 }
