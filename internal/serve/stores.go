package serve

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// FileStore is a store that reads files.
type FileStore interface {
	certsel.Store
	certsel.Reloader

	// Files lists the certificates that are in memory, by file.
	Files() []centralstore.Entry

	// File names the file whose certificate serves a server name from memory.
	File(serverName string) string

	Stats() centralstore.Stats
	LiteralPassword() bool
}

// loadStores makes the stores ready. They stand among the certificates: what serves a
// record is a source, whatever it chooses by.
func (a *Instance) loadStores() error {
	if a.CentralStore != nil {
		if err := a.CentralStore.Provision(a.ctx); err != nil {
			return err
		}
		a.CentralStore.OnReload(a.observer.Reloaded)
	}
	for _, name := range SortedKeys(a.StoresRaw) {
		if a.certificates[name] != nil {
			return fmt.Errorf("store %q: there is a certificate of this name: names must differ", name)
		}
		one := struct {
			Raw json.RawMessage `caddy:"namespace=iis.stores inline_key=store"`
		}{a.StoresRaw[name]}
		mod, err := a.ctx.LoadModule(&one, "Raw")
		if err != nil {
			return fmt.Errorf("store %q: %w", name, err)
		}
		store, ok := mod.(certsel.Store)
		if !ok {
			return fmt.Errorf("store %q: module %T is not a store of certificates", name, mod)
		}
		if reloader, ok := store.(certsel.Reloader); ok {
			reloader.OnReload(a.observer.Reloaded)
		}
		a.certificates[name] = store
	}
	a.StoresRaw = nil // allow GC to deallocate
	return nil
}

// IsStore reports whether a name is that of a store.
func (a *Instance) IsStore(name string) bool {
	if a.certificates == nil {
		_, ok := a.StoresRaw[name]
		return ok
	}
	_, ok := a.certificates[name].(certsel.Store)
	return ok
}

// checkStore refuses the name of a store that is not there.
func (a *Instance) checkStore(name string) error {
	if a.IsStore(name) {
		return nil
	}
	names := SortedKeys(a.StoresRaw)
	for name := range a.certificates {
		if a.IsStore(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("store %q is not configured, and no other is: add store %s folder <path> to iis", name, name)
	}
	return fmt.Errorf("store %q is not configured: %s%s", name, near.Expected(names), near.Hint(name, names))
}

// Stores yields the stores by name, the central store first.
func (a *Instance) Stores() iter.Seq2[string, certsel.Store] {
	return func(yield func(string, certsel.Store) bool) {
		if a.CentralStore != nil && !yield(certsel.CentralStoreName, a.CentralStore) {
			return
		}
		for _, name := range SortedKeys(a.certificates) {
			if store, ok := a.certificates[name].(certsel.Store); ok && !yield(name, store) {
				return
			}
		}
	}
}

// StoreOf names the store whose certificate the clients of a record get, empty if it
// is none.
func (a *Instance) StoreOf(rec *binding.Record) string {
	switch {
	case rec == nil:
		return ""
	case rec.Kind == binding.RecordStore:
		return certsel.CentralStoreName
	case a.IsStore(rec.Certificate):
		return rec.Certificate
	}
	return ""
}

// StoreLabel names a store in messages.
func StoreLabel(name string) string {
	if name == certsel.CentralStoreName {
		return "the central store"
	}
	return fmt.Sprintf("store %q", name)
}
