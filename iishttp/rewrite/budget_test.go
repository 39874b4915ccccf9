package rewrite

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// TestBudget: the time that rules may take ends within a rule, too: with many conditions,
// and with a header that has many values.
func TestBudget(t *testing.T) {
	condition := Condition{Input: "a", Pattern: Pattern{Pattern: "a"}}
	set, err := Compile(Config{
		Rules:    []Rule{{Name: "r", Match: Pattern{Pattern: "a"}, Conditions: []Condition{condition, condition}}},
		Outbound: []OutboundRule{{Name: "o", Variable: "RESPONSE_A", Match: Pattern{Pattern: "a"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	late := &call{set: set, response: http.Header{"A": {"a"}}, started: time.Now().Add(-2 * Budget)}
	if _, err := late.holds(&set.rules[0]); !errors.Is(err, errBudget) {
		t.Errorf("conditions: got %v", err)
	}
	if _, err := late.answer(&set.outbound[0]); !errors.Is(err, errBudget) {
		t.Errorf("values: got %v", err)
	}
}
