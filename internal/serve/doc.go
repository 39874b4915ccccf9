// Package serve is what answers: an [Instance] for each configuration, from the moment
// when it is provisioned until its last connection has ended. It finds the certificate
// of a handshake by table D1 and the site of a request by table D2, and follows the
// sources of sites, whose changes become the next [Snapshot]. What it tells of itself is
// in package inspect, which it does not know.
package serve
