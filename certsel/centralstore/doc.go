// Package centralstore serves certificates out of a central certificate store
// as IIS has it: files that are named after the hosts they are for, read when
// a host is first asked for.
//
// The files of www.example.com are, in this order, the first that exists being
// the one that counts:
//
//	www.example.com.pfx
//	www.example.com.p12
//	www.example.com.pem    with the private key, or beside www.example.com.key
//	www.example.com.crt    with the private key, or beside www.example.com.key
//
// When none exists, those of _.example.com follow, which stands for the
// wildcard *.example.com. Only the left-most label is replaced. A file that
// exists but cannot be read ends the search: nothing is served in its place.
// What a certificate says its names are does not matter.
//
// Files of international names have the name in Unicode, as IIS has it, such as
// bücher.example.pfx, or as clients send it, xn--bcher-kva.example.pfx; the first
// of these counts, whatever its format.
//
// Names are compared without case. In a store with a file system that tells
// upper from lower case, or in a storage, files have lower-case names, and
// letters with marks in one part (Unicode NFC): handshakes never list the store,
// so that its size does not matter. Misnamed finds files with other names.
//
// A store is a folder, or a prefix in a certmagic.Storage. In a folder,
// symbolic links are followed as long as they stay in it and are relative.
//
// Server names come from the network, from anyone. Only host names are looked
// up, nothing else that could name a file; how many names are looked up in a
// second, how many are remembered, and how many files are read and decoded at
// the same time, is bounded. A store that hangs makes nobody wait longer than
// the time-out.
package centralstore
