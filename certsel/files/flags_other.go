//go:build !unix

package files

import "os"

// OpenFlags opens a file for reading.
const OpenFlags = os.O_RDONLY
