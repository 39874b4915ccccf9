//go:build !windows

package iishttp

import "io/fs"

// hiddenFile reports whether a file has the attribute hidden of Windows.
func hiddenFile(fs.FileInfo) bool { return false }
