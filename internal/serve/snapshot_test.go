package serve

import (
	"reflect"
	"strings"
	"testing"
)

// TestSnapshotHoldsNoInstance: what handshakes and requests look at does not lead back to the
// configuration that makes it, but by the handler that the front calls.
func TestSnapshotHoldsNoInstance(t *testing.T) {
	instance := reflect.TypeFor[Instance]()
	seen := make(map[reflect.Type]bool)
	var walk func(of reflect.Type, path string)
	walk = func(of reflect.Type, path string) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(of.Elem(), path)
			return
		case reflect.Struct:
		default:
			return
		}
		if of == instance {
			t.Errorf("%s is an Instance", path)
		}
		if seen[of] || of.PkgPath() != instance.PkgPath() && !strings.HasSuffix(of.PkgPath(), "/paged") {
			return
		}
		seen[of] = true
		for field := range of.Fields() {
			walk(field.Type, path+"."+field.Name)
		}
	}
	walk(reflect.TypeFor[Snapshot](), "Snapshot")
	for _, of := range []reflect.Type{reflect.TypeFor[site](), reflect.TypeFor[content](), reflect.TypeFor[Record](), reflect.TypeFor[fixed]()} {
		if !seen[of] {
			t.Errorf("%s was not looked at", of)
		}
	}
}
