package iishttp

import (
	"io/fs"
	"syscall"
)

// hiddenFile reports whether a file has the attribute hidden of Windows.
func hiddenFile(info fs.FileInfo) bool {
	data, ok := info.Sys().(*syscall.Win32FileAttributeData)
	return ok && data.FileAttributes&syscall.FILE_ATTRIBUTE_HIDDEN != 0
}
