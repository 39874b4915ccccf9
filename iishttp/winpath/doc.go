// Package winpath finds files the way IIS does, on any file system: by URL
// path or by Windows path, without regard to case, below mapped folders only.
//
// Windows opens more than the name that was asked for: it strips dots and
// blanks from the end of a name, knows short names (PROGRA~1), streams
// (a.txt::$DATA) and devices (CON). Such a name finds only the file or folder
// that has exactly this name, so that no check of a name can be talked past.
//
// Rules, for each part of a path in turn:
//   - the exact name comes first, then the folder is read and the first name,
//     in sorted order, that is equal without regard to case is taken;
//   - there is no way back: if Foo and foo exist and foo/x is asked for, only
//     foo is looked into;
//   - \ is /, empty parts and "." count for nothing, ".." never leads out of
//     the mapped folder, and a path that ends in a slash is a folder;
//   - symbolic links are followed wherever they lead, as Caddy's file_server
//     does.
package winpath
