// Package winstore finds certificates in the certificate stores of a Windows
// machine, and signs with their private keys. The keys stay where they are:
// Windows signs.
//
// What asks Windows is behind the interface Machine; which certificate it is, and
// what its signatures must look like, is the same everywhere.
package winstore
