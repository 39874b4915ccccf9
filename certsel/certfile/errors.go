package certfile

import (
	"errors"
	"fmt"
)

// ErrPassword is in the error of a file that does not open with the password
// given, or that needs one when none is given.
var ErrPassword = errors.New("wrong password")

// errDamaged is in the error of a file whose structure does not hold.
var errDamaged = errors.New("the file is damaged")

// damaged says which part of a file cannot be read.
func damaged(part string) error {
	return fmt.Errorf("%w: %s cannot be read", errDamaged, part)
}
