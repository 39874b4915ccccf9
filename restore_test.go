package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// program runs caddy as a process of its own, with folders of its own.
type program struct {
	t    *testing.T
	home string
	as   func(*exec.Cmd) // who runs it, if not nil
}

func (p *program) command(args ...string) *exec.Cmd {
	p.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	if p.as != nil {
		p.as(cmd)
	}
	cmd.Env = append(os.Environ(), caddyMain+"="+string(raw), "HOME="+p.home, "XDG_CONFIG_HOME="+p.home, "XDG_DATA_HOME="+p.home)
	return cmd
}

// run starts caddy run and waits until an address answers and Caddy has started; kill
// kills it.
func (p *program) run(url string, admin int, args ...string) (kill func()) {
	p.t.Helper()
	cmd := p.command(append([]string{"run"}, args...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	kill = func() { _ = cmd.Process.Kill(); <-exited }
	p.t.Cleanup(kill)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			p.t.Fatalf("caddy has ended:\n%s", &output)
		default:
		}
		if _, err := body(url); err == nil {
			// Sites serve a moment before. This answers when the load has ended.
			if _, err := body(fmt.Sprintf("http://127.0.0.1:%d/config/", admin)); err == nil {
				return kill
			}
		}
		if time.Now().After(deadline) {
			kill()
			p.t.Fatalf("%s does not answer:\n%s", url, &output)
		}
	}
}

func body(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

// TestRestoreAfterKill: Caddy is killed while its configuration changes, and what
// it saved is cut off. The copy of the iis app brings back what was served.
func TestRestoreAfterKill(t *testing.T) {
	p := &program{t: t, home: t.TempDir()}
	port, admin := ts.FreePort(t), ts.FreePort(t)
	site, api := fmt.Sprintf("http://127.0.0.1:%d/", port), fmt.Sprintf("http://127.0.0.1:%d", admin)
	file := filepath.Join(p.home, "Caddyfile")
	config := fmt.Sprintf("{\nadmin 127.0.0.1:%d\niis {\nsite 1 zero {\nserver_bindings :%d:\nrespond {iis.site.name}\n}\n}\n}\n", admin, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	saved, err := filepath.Abs(filepath.Join(p.home, "caddy", "autosave.json"))
	if err != nil {
		t.Fatal(err)
	}
	// restore after a kill at any moment leaves one whole configuration.
	restore := func(round string) {
		if out, err := p.command("iis", "restore").CombinedOutput(); err != nil && !strings.Contains(string(out), "--force replaces it") {
			t.Fatalf("%s: restore: %v\n%s", round, err, out)
		}
		if data, err := os.ReadFile(saved); err != nil || !json.Valid(data) {
			t.Fatalf("%s: after restore, %q is saved, %v", round, data, err)
		}
	}
	args := []string{"--config", file, "--adapter", "caddyfile"}
	for round, cut := range []func([]byte) []byte{
		func([]byte) []byte { return nil },
		func(whole []byte) []byte { return whole[:len(whole)/2] },
		func(whole []byte) []byte { return whole[:len(whole)-1] },
	} {
		kill := p.run(site, admin, args...)
		name := fmt.Sprintf("round%d", round)
		change(t, api, name)
		waitFor(t, "the copy", func() bool {
			data, err := os.ReadFile(filepath.Join(p.home, "caddy", "autosave.iis.json"))
			return err == nil && strings.Contains(string(data), name)
		})
		kill()
		whole, err := os.ReadFile(saved)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(saved, cut(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := p.command("iis", "restore").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "again") {
			t.Fatalf("restore: %v\n%s", err, out)
		}
		if got, err := os.ReadFile(saved); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("restored is %q, %v; want %q", got, err, whole)
		}
		args = []string{"--resume"}
		kill = p.run(site, admin, args...)
		if got, err := body(site); err != nil || got != name {
			t.Errorf("after the restore: %q, %v; want %q", got, err, name)
		}
		kill() // while it saves what it resumed with, perhaps
		restore(name)
	}
	// Killed at any moment of a change: after restore there is one of the
	// configurations, whole.
	for round := range 5 {
		kill := p.run(site, admin, "--resume")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 100 {
				if tryChange(api, fmt.Sprintf("kill%d-%d", round, i)) != nil {
					return
				}
			}
		}()
		time.Sleep(time.Duration(20+37*round) * time.Millisecond) // any moment is right
		kill()
		<-done
		restore(fmt.Sprintf("kill %d", round))
	}
	kill := p.run(site, admin, "--resume")
	if got, err := body(site); err != nil || !strings.HasPrefix(got, "kill") && got != "round2" {
		t.Errorf("at last: %q, %v", got, err)
	}
	kill()
}

func change(t *testing.T, api, name string) {
	t.Helper()
	if err := tryChange(api, name); err != nil {
		t.Fatal(err)
	}
}

// tryChange gives site 1 another name.
func tryChange(api, name string) error {
	req, err := http.NewRequest(http.MethodPatch, api+"/config/apps/iis/sites/1/name", strings.NewReader(fmt.Sprintf("%q", name)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}
