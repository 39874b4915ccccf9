package cli

import (
	"bytes"
	"testing"
)

// TestTableControls: texts of others write no lines of their own, and tell a terminal
// nothing.
func TestTableControls(t *testing.T) {
	var out bytes.Buffer
	table := &table{heads: []string{"REVISION", "WHO"}}
	table.add(number(41), text("panel\x1b]0;title\a\n42        root"))
	table.add(number(40), text("a\u202eb \xff münchen"))
	if err := table.writeTo(new(Env), &out); err != nil {
		t.Fatal(err)
	}
	want := "REVISION  WHO\n" +
		`41        panel\x1b]0;title\a\n42        root` + "\n" +
		`40        a\u202eb \ufffd münchen` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
