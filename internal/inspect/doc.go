// Package inspect is what is told of the app that serves: the admin API, the findings, and
// caddy iis check. It asks package serve, which knows nothing of it.
package inspect
