package caddyiis_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestManagerCommand: the command prints an address that shows the page to one browser,
// and ends by an interrupt.
func TestManagerCommand(t *testing.T) {
	needs.Signals(t)
	server := ts.Start(t, iisConfig(fmt.Sprintf(`
		site 1 Bakery {
			server_bindings :%d:bakery.test
		}`, ts.FreePort(t)), ""))
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- caddyiis.RunCommand(in, io.Discard, "manager", "--address", server.AdminAddr(), "--read-only")
		in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://127.0.0.1:") {
		t.Fatalf("%q, %v", line, err)
	}
	open := func() (int, string) {
		t.Helper()
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Jar: jar}).Get(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := open(); status != http.StatusOK || !strings.Contains(body, "Bakery") || !strings.Contains(body, "read-only") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := open(); status != http.StatusForbidden || strings.Contains(body, "Bakery") {
		t.Errorf("once more: %d %s", status, body)
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(os.Interrupt)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}

	var errOut bytes.Buffer
	if got := caddyiis.RunCommand(io.Discard, &errOut, "manager", "--address", fmt.Sprintf("127.0.0.1:%d", ts.FreePort(t))); got != 1 || !strings.Contains(errOut.String(), "no admin endpoint answers") {
		t.Errorf("%d %s", got, errOut.String())
	}
}
