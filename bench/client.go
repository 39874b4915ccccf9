package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// clientFlag makes a process of this program a client: it reads a job from its
// input and writes the result to its output.
const clientFlag = "-client"

// job is what a client does.
type job struct {
	Addr    string
	Hosts   string // file with the sites
	Unknown load.UnknownAnswer
	Options load.Options
	Server  int // process id
}

// runClient does a job in this process.
func runClient(in io.Reader, out io.Writer) error {
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return err
	}
	target, err := j.target()
	if err != nil {
		return err
	}
	j.Options.CPU = func() (time.Duration, error) { return proc.CPU(j.Server) }
	result, err := load.Run(context.Background(), target, j.Options)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

func (j *job) target() (load.Target, error) {
	f, err := os.Open(j.Hosts)
	if err != nil {
		return load.Target{}, err
	}
	defer f.Close()
	set, err := sites.ReadHosts(f)
	if err != nil {
		return load.Target{}, fmt.Errorf("%s: %w", j.Hosts, err)
	}
	return load.Target{Addr: j.Addr, Default: set.Default, Sites: set.Sites, Unknown: j.Unknown}, nil
}

// client has a process of its own load a server. That keeps the work of this
// process, such as its garbage collections, out of what is measured.
func client(ctx context.Context, running *peers.Running, peer peers.Peer, options load.Options) (load.Result, error) {
	var result load.Result
	self, err := os.Executable()
	if err != nil {
		return result, err
	}
	input, err := json.Marshal(job{
		Addr: running.Place.Addr(), Hosts: running.Hosts, Unknown: peer.Unknown,
		Options: options, Server: running.Pid(),
	})
	if err != nil {
		return result, err
	}
	cmd := exec.CommandContext(ctx, self, clientFlag)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("client: %w", err)
	}
	return result, json.Unmarshal(output, &result)
}
