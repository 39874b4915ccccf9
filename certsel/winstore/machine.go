package winstore

import (
	"crypto"
	"errors"
)

// ErrNoStores is in the error of Open on other systems than Windows.
var ErrNoStores = errors.New("this machine has no certificate stores of Windows")

// ErrNoPSS is in the error of a Key that cannot sign with RSA-PSS.
var ErrNoPSS = errors.New("the provider of the key knows no RSA-PSS")

// Machine is a machine with certificate stores.
type Machine interface {
	// List lists the certificates of a store. The error of a store that there is
	// not is one with fs.ErrNotExist.
	List(store string) ([]Item, error)

	// Key opens the private key of a certificate of a store.
	Key(store string, der []byte) (Key, error)

	// Notify has a function called after changes of a store, until stop is called.
	// The function may be called more often.
	Notify(store string, changed func()) (stop func(), err error)
}

// Item is a certificate as a store has it.
type Item struct {
	DER          []byte
	FriendlyName string
	HasKey       bool   // the store says that there is a private key
	KeyName      string // the provider and container of the key; each import makes a new one
}

// Key is a private key that Windows keeps. Its methods may be called at the same
// time.
type Key interface {
	// Sign signs a digest. An ECDSA signature is its two numbers, one behind the
	// other and equally long.
	Sign(digest []byte, how Padding) ([]byte, error)
}

// Padding says what is done to a digest before it is signed.
type Padding struct {
	Scheme Scheme
	Hash   crypto.Hash
	Salt   int // of PSS, in bytes
}

// Scheme is a kind of signature.
type Scheme int

// The schemes.
const (
	ECDSA Scheme = iota
	PKCS1v15
	PSS
)
