package live

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestAdd: sources differ in their names and in what they open.
func TestAdd(t *testing.T) {
	var list Sources
	add := func(name, address string, settings func(*sites.CommonSettings)) error {
		module := &given{CommonSettings: sites.CommonSettings{Name: name}, address: address}
		if settings != nil {
			settings(&module.CommonSettings)
		}
		return list.Add(module, nil, nil)
	}
	if err := errors.Join(add("a", "1", nil), add("b", "2", nil)); err != nil {
		t.Fatal(err)
	}
	for part, err := range map[string]error{
		`called "a"`:           add("a", "3", nil),
		"a and c are the same": add("c", "1", nil),
		"sites_from d":         add("d", "4", func(s *sites.CommonSettings) { s.CertificateKeys = []string{"short"} }),
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
	if len(list) != 2 || list.AllowRoutes() {
		t.Errorf("sources: %v", list)
	}
	if err := add("e", "5", func(s *sites.CommonSettings) {
		s.AllowRoutes = new(sites.AllowRoutes)
	}); err != nil || !list.AllowRoutes() {
		t.Errorf("routes: %v", err)
	}
}

// TestOpen: a table is opened once for all configurations that have it, and closed with the last
// one. The same database under two addresses is refused.
func TestOpen(t *testing.T) {
	module := &given{CommonSettings: sites.CommonSettings{Name: "a"}, address: t.Name(), table: newMemory()}
	var list Sources
	if err := list.Add(module, newNode(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := list.Open(t.Context(), list[0], true); !errors.Is(err, ErrNotOpen) || module.opened != 0 {
		t.Errorf("a table that is not open: %v", err)
	}
	_, first := openSource(t, module, newNode(t))
	if err := list.Open(t.Context(), list[0], true); err != nil || module.opened != 1 || list[0].Follower != first.Follower {
		t.Errorf("one that is open: %v, opened %d times", err, module.opened)
	}
	if err := list[0].Close(); err != nil {
		t.Error(err)
	}
	copied := &given{CommonSettings: sites.CommonSettings{Name: "copy"}, address: t.Name() + " copy", table: newMemory()}
	both := Sources{first}
	if err := both.Add(copied, newNode(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := both.Open(t.Context(), both[1], false); err == nil || !strings.Contains(err.Error(), "a copy of the other") {
		t.Errorf("the same database twice: %v", err)
	}
	if err := both[1].Close(); err != nil {
		t.Error(err)
	}
	broken := &given{CommonSettings: sites.CommonSettings{Name: "broken"}, address: t.Name() + " broken"}
	if err := both.Add(broken, newNode(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := both.Open(t.Context(), both[2], false); err == nil || !strings.Contains(err.Error(), "sites_from broken") {
		t.Errorf("what cannot be opened: %v", err)
	}
}
