// Package e2e tests the module against real servers of others: an ACME
// authority in this process.
package e2e
