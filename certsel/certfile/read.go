package certfile

import "errors"

// MaxFileSize is the size in bytes above which no file is decoded. Files with
// one certificate and its chain have a few kilobytes.
const MaxFileSize = 4 << 20

var errSize = errors.New("the file is larger than 4 MiB, which no certificate file is")
