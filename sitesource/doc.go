// Package sitesource yields sites that are kept outside Caddy's configuration,
// and the differences when they change, so that one changed site among many
// costs what one site costs.
//
// Source is where sites come from. File is a source that reads a file with one
// site on each line. What a site is, the package does not know: whoever uses
// it brings a function that understands one record.
//
// # The file
//
// A file is UTF-8 text, with or without a byte order mark. Each line is a
// record; blank lines are skipped, and spaces, tabs and a carriage return
// around a record are no part of it. A file is good as a whole or not at all.
//
// A program that changes the file should write a new one beside it, and rename
// that into place when it is finished: a reader then never sees half of it. A
// file that is written in place is read when it has not been modified for a
// moment, which is a guess.
package sitesource
