// Package winstoretest is a machine with certificate stores for tests on any system.
package winstoretest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-iis/caddy-iis/certsel/winstore"
)

// Machine is a machine whose stores are in memory.
type Machine struct {
	// Silent stores tell nobody of changes.
	Silent bool

	mu       sync.Mutex
	stores   map[string][]Entry
	watchers map[string][]func()
	broken   map[string]error
	lists    int
}

// Entry is a certificate in a store.
type Entry struct {
	DER          []byte
	FriendlyName string
	Key          crypto.Signer // nil: the store has none
	KeyName      string
	NoRight      error // of opening the key
	NoPSS        bool  // the key is of an old provider
}

// Put puts a certificate into a store, in place of the same one.
func (m *Machine) Put(store string, e Entry) {
	m.change(store, func(entries []Entry) []Entry { return append(without(entries, e.DER), e) })
}

// Remove takes a certificate out of a store.
func (m *Machine) Remove(store string, der []byte) {
	m.change(store, func(entries []Entry) []Entry { return without(entries, der) })
}

// Break has a store answer with an error, or no more with nil.
func (m *Machine) Break(store string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.broken = make(map[string]error)
	}
	m.broken[strings.ToLower(store)] = err
}

// Lists is how often stores were listed.
func (m *Machine) Lists() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lists
}

func without(entries []Entry, der []byte) []Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return bytes.Equal(e.DER, der) })
}

func (m *Machine) change(store string, change func([]Entry) []Entry) {
	store = strings.ToLower(store)
	m.mu.Lock()
	if m.stores == nil {
		m.stores = make(map[string][]Entry)
	}
	m.stores[store] = change(m.stores[store])
	watchers := slices.Clone(m.watchers[store])
	m.mu.Unlock()
	for _, changed := range watchers {
		changed()
	}
}

// List implements winstore.Machine.
func (m *Machine) List(store string) ([]winstore.Item, error) {
	store = strings.ToLower(store)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	if err := m.broken[store]; err != nil {
		return nil, err
	}
	entries, ok := m.stores[store]
	if !ok {
		return nil, fs.ErrNotExist
	}
	items := make([]winstore.Item, len(entries))
	for i, e := range entries {
		items[i] = winstore.Item{DER: e.DER, FriendlyName: e.FriendlyName, HasKey: e.Key != nil, KeyName: e.KeyName}
	}
	return items, nil
}

// Key implements winstore.Machine.
func (m *Machine) Key(store string, der []byte) (winstore.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.stores[strings.ToLower(store)] {
		if bytes.Equal(e.DER, der) && e.Key != nil {
			return key{e}, e.NoRight
		}
	}
	return nil, fs.ErrNotExist
}

// Notify implements winstore.Machine.
func (m *Machine) Notify(store string, changed func()) (stop func(), err error) {
	if m.Silent {
		return nil, fmt.Errorf("store %s tells of nothing", store)
	}
	store = strings.ToLower(store)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watchers == nil {
		m.watchers = make(map[string][]func())
	}
	i := len(m.watchers[store])
	m.watchers[store] = append(m.watchers[store], changed)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watchers[store][i] = func() {}
	}, nil
}

// key signs as Windows does.
type key struct{ Entry }

// Sign implements winstore.Key.
func (k key) Sign(digest []byte, how winstore.Padding) ([]byte, error) {
	switch private := k.Key.(type) {
	case *ecdsa.PrivateKey:
		if how.Scheme != winstore.ECDSA {
			return nil, fmt.Errorf("padding %d for ECDSA", how.Scheme)
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			return nil, err
		}
		size := (private.Params().BitSize + 7) / 8
		sig := make([]byte, 2*size)
		r.FillBytes(sig[:size])
		s.FillBytes(sig[size:])
		return sig, nil
	case *rsa.PrivateKey:
		switch {
		case how.Scheme == winstore.PKCS1v15:
			return rsa.SignPKCS1v15(nil, private, how.Hash, digest)
		case how.Scheme == winstore.PSS && k.NoPSS:
			return nil, winstore.ErrNoPSS
		case how.Scheme == winstore.PSS:
			return rsa.SignPSS(rand.Reader, private, how.Hash, digest, &rsa.PSSOptions{SaltLength: how.Salt, Hash: how.Hash})
		}
	}
	return nil, fmt.Errorf("no signature %d with a key %T", how.Scheme, k.Key)
}

// Interface guard
var _ winstore.Machine = (*Machine)(nil)
