// Package autosave keeps a copy of the configuration that Caddy saves, and writes
// it back.
//
// Caddy writes its file in place: a process that is killed meanwhile, or a machine
// that loses power, leaves one that is empty or cut off, and caddy run --resume
// then starts a server that serves nothing. The copy is replaced as a whole.
package autosave

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/wholefile"
)

// copyName is the name of the copy, which lies beside Caddy's file.
const copyName = "autosave.iis.json"

// CopyOf returns the path of the copy of a file that Caddy saves its configuration
// in.
func CopyOf(file string) string { return filepath.Join(filepath.Dir(file), copyName) }

// ErrNotWhole is in the error of a file that holds no whole configuration with an
// iis app.
var ErrNotWhole = errors.New("it holds no whole configuration with an iis app")

// Keep makes the copy anew if the file is whole. A file that Caddy is writing at
// the moment is not.
func Keep(file string) error {
	keeping.Lock()
	defer keeping.Unlock()
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !whole(data) {
		return fmt.Errorf("%s: %w", file, ErrNotWhole)
	}
	target := CopyOf(file)
	if old, err := os.ReadFile(target); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return replace(target, data)
}

// keeping is held from reading the file to writing the copy: of two calls, the later
// one has the last word.
var keeping sync.Mutex

// Restored says what Restore did.
type Restored struct {
	File     string    `json:"file"`     // that Caddy saves its configuration in
	Copy     string    `json:"copy"`     // that it was written from
	Saved    time.Time `json:"saved"`    // when the copy was made
	Bytes    int       `json:"bytes"`    // in it
	Restored bool      `json:"restored"` // false: the file was the same already
}

// Restore writes the copy back over the file. A file that is a whole configuration
// and another one stays, unless force is set.
func Restore(file string, force bool) (Restored, error) {
	r := Restored{File: file, Copy: CopyOf(file)}
	data, err := os.ReadFile(r.Copy)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("there is no copy %s: no configuration with an iis app was saved here yet", r.Copy)
	}
	if err != nil {
		return r, err
	}
	if !whole(data) {
		return r, fmt.Errorf("%s: %w", r.Copy, ErrNotWhole)
	}
	if info, err := os.Stat(r.Copy); err == nil {
		r.Saved = info.ModTime().UTC()
	}
	r.Bytes = len(data)
	current, err := os.ReadFile(file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return r, err
	case err == nil && bytes.Equal(current, data):
		return r, nil
	case err == nil && !force && isObject(current):
		return r, fmt.Errorf("%s is whole, and another configuration than the copy of %s: it is left as it is; --force replaces it",
			file, r.Saved.Local().Format(time.DateTime))
	}
	r.Restored = true
	return r, replace(file, data)
}

// isObject reports whether data is a JSON object, and not only the beginning of
// one.
func isObject(data []byte) bool {
	data = bytes.TrimSpace(data)
	return bytes.HasPrefix(data, []byte("{")) && json.Valid(data)
}

// whole reports whether data is a configuration with an iis app. It copies none of
// it: configurations may be large.
func whole(data []byte) bool {
	var config struct {
		Apps struct {
			IIS object `json:"iis"`
		} `json:"apps"`
	}
	return json.Unmarshal(data, &config) == nil && bool(config.Apps.IIS)
}

// object is true for a JSON object.
type object bool

// UnmarshalJSON implements json.Unmarshaler.
func (o *object) UnmarshalJSON(data []byte) error {
	*o = object(bytes.HasPrefix(data, []byte("{")))
	return nil
}

func replace(path string, data []byte) error {
	return wholefile.Replace(path, func(w io.Writer) error { _, err := w.Write(data); return err })
}
