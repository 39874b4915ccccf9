package certfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxFileSize is the size in bytes above which no file is decoded. Files with
// one certificate and its chain have a few kilobytes.
const MaxFileSize = 4 << 20

// ReadFile reads a regular file of at most MaxFileSize bytes.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name) // first: opening a named pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > MaxFileSize {
		return nil, fmt.Errorf("%s: %w", name, errSize)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(file, MaxFileSize+1)); err != nil {
		return nil, err
	}
	if data.Len() > MaxFileSize {
		return nil, fmt.Errorf("%s: %w", name, errSize)
	}
	return data.Bytes(), nil
}

var errSize = errors.New("the file is larger than 4 MiB, which no certificate file is")
