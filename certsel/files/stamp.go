package files

import (
	"io/fs"
	"time"
)

// Stamp tells states of a file apart. Stamps are compared with ==; a field
// that the file system or the operating system does not know is zero.
type Stamp struct {
	Size     int64
	Modified int64 // in nanoseconds since 1970
	Changed  int64 // of the inode, which includes its permissions; as Modified
	Device   uint64
	Inode    uint64
	Target   string // what the name leads to, if it is a symbolic link
}

// StampOf returns the stamp of a file as it was when it was asked for info.
func StampOf(info fs.FileInfo) Stamp {
	stamp := Stamp{Size: info.Size(), Modified: info.ModTime().UnixNano()}
	stamp.identify(info)
	return stamp
}

// ModTime returns when the file was modified.
func (s Stamp) ModTime() time.Time { return time.Unix(0, s.Modified) }
