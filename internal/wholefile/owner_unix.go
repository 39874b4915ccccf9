//go:build unix

package wholefile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func handNew(file *os.File, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if has := folder.Sys().(*syscall.Stat_t); has.Uid == 0 && has.Gid != 0 && folder.Mode().Perm()&0o077 == 0o050 {
		mode = 0o640
	}
	return give(file, folder, mode)
}

// give gives a file an owner, a group and a mode. Only root can always do that: for others
// the mode is without what another group would get.
func give(file *os.File, like fs.FileInfo, mode fs.FileMode) error {
	now, err := file.Stat()
	if err != nil {
		return err
	}
	is, want := now.Sys().(*syscall.Stat_t), like.Sys().(*syscall.Stat_t)
	if is.Uid != want.Uid || is.Gid != want.Gid {
		err := file.Chown(int(want.Uid), int(want.Gid))
		switch {
		case err == nil:
		case os.Geteuid() == 0:
			return fmt.Errorf("it cannot be given to the user %d and the group %d, as %s is: run the command as that user: %w", want.Uid, want.Gid, like.Name(), err)
		case is.Gid != want.Gid && file.Chown(-1, int(want.Gid)) != nil:
			mode &^= 0o070
		}
	}
	return file.Chmod(mode)
}

// trusts tells whether only who runs this can have made a link, if that is root.
func trusts(path string, link fs.FileInfo) (bool, error) {
	if os.Geteuid() != 0 {
		return true, nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	return link.Sys().(*syscall.Stat_t).Uid == 0 && folder.Sys().(*syscall.Stat_t).Uid == 0 && folder.Mode().Perm()&0o022 == 0, nil
}
