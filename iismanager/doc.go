// Package iismanager is the page with which people look at sites, bindings and
// certificates and change them in a browser: a handler for any site of Caddy,
// iis_manager, and what caddy iis manager serves.
//
// Nothing is kept here. Each answer is asked for anew, through the client of the admin
// API, and each change is a request to it: of the API of the same process, without a
// connection, or of an admin endpoint.
package iismanager
