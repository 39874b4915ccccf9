// Package files reads certificate files and notices their changes, without
// ever making anybody wait for a file system.
//
// A network share that stops answering blocks the threads that ask it, for
// minutes or for ever, and no deadline reaches them there. So all calls into
// the operating system run on a bounded number of workers: the caller gets an
// error at its deadline, the worker stays behind until the system returns.
//
// Reader reads regular files of bounded size. Watcher reports when files of a
// certificate have changed and stand still again. Slot holds a value that is
// loaded from files, and keeps the last good one while loading fails.
package files
