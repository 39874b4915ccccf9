package main

import (
	"strings"
	"testing"
)

func TestClientRefusesNonsense(t *testing.T) {
	for _, job := range []string{"", "{}", `{"Hosts": "/does/not/exist"}`} {
		var out strings.Builder
		if err := runClient(strings.NewReader(job), &out); err == nil {
			t.Errorf("%q: %s", job, out.String())
		}
	}
}
