package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func TestParse(t *testing.T) {
	cfg, err := parse([]string{"-what", "compare,load", "-n", "1000,1,1000", "-peers", "iis,nginx", "-certs", "each", "-secs", "0.5"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.sizes, []int{1, 1000}) || len(cfg.experiments) != 2 || len(cfg.peers) != 2 ||
		cfg.peers[1].Name != peers.Nginx || cfg.certs != sites.Each || cfg.time != 500*time.Millisecond {
		t.Errorf("%+v", cfg)
	}
	all, err := parse([]string{"-what", "all"}, io.Discard)
	if err != nil || len(all.experiments) != len(experiments()) || len(all.peers) != 6 {
		t.Errorf("%+v (%v)", all, err)
	}
}

func TestParseWrongArguments(t *testing.T) {
	for _, args := range []string{
		"-n 0", "-n x", "-what nothing", "-what ,", "-peers apache", "-certs two", "-reps 0", "-secs 0", "-limit x", "more",
	} {
		if cfg, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s was accepted: %+v", args, cfg)
		}
	}
}

func TestUsage(t *testing.T) {
	var out strings.Builder
	if _, err := parse([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v", err)
	}
	for _, e := range experiments() {
		if !strings.Contains(out.String(), "  "+e.name+" ") {
			t.Errorf("%s is missing in\n%s", e.name, out.String())
		}
	}
}
