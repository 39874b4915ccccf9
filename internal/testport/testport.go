// Package testport gives ports to tests that run at the same time, in one process or
// in several.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

// All ports are below 32768, where Linux begins with those that it gives to outgoing
// connections and to who asks for any port: one of these could take a port between the
// moment it was given out here and the moment it is bound.
const (
	firstPort = 10_000
	rangeSize = 500
	ranges    = 45
)

// Free returns a port that is free on all addresses, for TCP and UDP. None is given out
// twice by a process, and no two processes of tests are given the same.
func Free(t testing.TB) int {
	t.Helper()
	own.Lock()
	defer own.Unlock()
	for {
		for len(own.ports) > 0 {
			port := own.ports[0]
			own.ports = own.ports[1:]
			if isFree(port) {
				return port
			}
		}
		if !claimRange() {
			t.Fatal("no free port")
		}
	}
}

var own struct {
	sync.Mutex
	ports []int          // of the last range, in any order: not yet given out
	held  []net.Listener // at the first port of each range, for as long as the process lives
}

// claimRange takes a range that no other process has: who listens at its first port has
// the ports above it.
func claimRange() bool {
	for i := range ranges {
		first := firstPort + (os.Getpid()+i)%ranges*rangeSize
		held, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first))
		if err != nil {
			continue
		}
		own.held = append(own.held, held)
		for _, n := range rand.Perm(rangeSize - 1) {
			own.ports = append(own.ports, first+1+n)
		}
		return true
	}
	return false
}

func isFree(port int) bool {
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return pc.Close() == nil
}
