package wholefile

import "os"

// Temporary is a file that others are not to read, and that is not to stay.
type Temporary struct {
	*os.File
	named bool // it still has its name
}

// NewTemporary makes one in a folder. Nobody drops it if the process is killed: its name is
// taken away at once, where systems do that to files that are open.
func NewTemporary(folder string) (*Temporary, error) {
	file, err := os.CreateTemp(folder, ".sites-")
	if err != nil {
		return nil, err
	}
	return &Temporary{file, os.Remove(file.Name()) != nil}, nil
}

// Drop closes the file, which may have been closed, and lets it go.
func (t *Temporary) Drop() error {
	_ = t.File.Close()
	if t.named {
		return os.Remove(t.Name())
	}
	return nil
}
