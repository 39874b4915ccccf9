// Package iishttp has HTTP handlers that do what IIS does with a request. They work in
// any site of Caddy; caddy iis import writes them.
package iishttp
