package certfile

import (
	"errors"
	"hash"
)

// maxWork bounds the work of key derivation for one file, in units of one
// hashing of one short block with SHA-1 or SHA-256. It keeps one core busy for
// about a second. Files that common tools make with their defaults need
// between 10,000 and 1,000,000 units; a million iterations of each derivation
// with these hashes fit as well.
const maxWork = 8_000_000

var errWork = errors.New("key derivation takes more iterations than a server should spend on a file: " +
	"export it again with fewer, for instance 100000")

// work is what is left of the work that a file may cause.
type work struct{ left int64 }

// spend takes iterations of a key derivation that computes blocks hashes in
// each. It is called before deriving.
func (w *work) spend(iterations int64, blocks int) error {
	if iterations < 1 {
		return damaged("the number of iterations")
	}
	if iterations > w.left/int64(blocks) {
		return errWork
	}
	w.left -= iterations * int64(blocks)
	return nil
}

// hashCost is the cost of a hash of one block, in units of work.
func hashCost(h hash.Hash) int {
	if h.BlockSize() > 64 {
		return 3 // SHA-384 and SHA-512
	}
	return 1
}
