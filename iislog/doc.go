// Package iislog writes requests in the W3C extended log file format, with the
// fields, the order, the escapes and the file names of IIS. It knows nothing of
// Caddy and opens no files.
//
// Text of clients can neither begin a line nor end a field: blanks and control
// characters become "+", as HTTP.sys has it, and a line never begins with "#",
// where a reader takes it for a directive.
package iislog
