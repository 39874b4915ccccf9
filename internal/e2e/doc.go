// Package e2e tests the module against real servers of others, an ACME authority in
// this process, and by campaigns: many clients against configurations that change,
// with an oracle of the tables that knows nothing of the product, and attacks. The
// campaigns are short unless a flag says otherwise:
//
//	go test -run Campaign -v -timeout 2h . -args -campaign.handshakes=1000000
package e2e
