package many_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/many"
)

// TestErrors: the first errors are told with their labels and can be looked for, and the
// others are counted.
func TestErrors(t *testing.T) {
	var list many.Errors
	if err := list.Err(); err != nil {
		t.Errorf("without an error: %v", err)
	}
	wrapped := errors.New("why")
	for i := range many.Max {
		list.Add(fmt.Sprintf("site %d", i), "%w", wrapped)
	}
	if err := list.Err(); !errors.Is(err, wrapped) || strings.Count(err.Error(), "\n") != many.Max-1 || !strings.HasPrefix(err.Error(), "site 0: why\n") {
		t.Errorf("%d errors: %v", many.Max, err)
	}
	list.Add("site x", "too many")
	list.Add("site y", "too many")
	if text := list.Err().Error(); !strings.HasSuffix(text, "\nand 2 more errors") || strings.Contains(text, "site x") {
		t.Errorf("more of them: %s", text)
	}
}

// TestNames: the first names are told, and the others are counted.
func TestNames(t *testing.T) {
	names := make([]string, many.Max)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	if text := many.Names(names); text != strings.Join(names, ", ") {
		t.Error(text)
	}
	if text := many.Names(append(names, "x", "y")); !strings.HasSuffix(text, " and 2 more") || strings.Contains(text, "x") {
		t.Error(text)
	}
	if text := many.Names(nil); text != "" {
		t.Error(text)
	}
}
