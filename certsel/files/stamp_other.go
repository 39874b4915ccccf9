//go:build !unix

package files

import "io/fs"

// identify adds what only some operating systems tell.
func (s *Stamp) identify(fs.FileInfo) {}
