//go:build linux

package caddyiis_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// bodyAt asks for a page, and waits long enough for a restart.
func bodyAt(addr string) (string, error) {
	answer, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "any.test"})
	if err != nil {
		return "", err
	}
	if answer.Status != http.StatusOK {
		return "", fmt.Errorf("%v", answer)
	}
	return answer.Body, nil
}

// waiting asks while nobody serves, and returns where the answer comes.
func waiting(addr string) <-chan string {
	answered := make(chan string, 1)
	go func() {
		body, err := bodyAt(addr)
		if err != nil {
			body = err.Error()
		}
		answered <- body
	}()
	return answered
}

// TestRestartWithOtherAddresses: from one address of a port to all, and back.
// Sockets that are kept are in the way of the new ones, and clients wait at them.
func TestRestartWithOtherAddresses(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t)
	config := filepath.Join(m.dir, "Caddyfile")
	write := func(host, body string) {
		replace(t, config, fmt.Appendf(nil, `{
			admin off
			skip_install_trust
			iis {
				%s
				%s
				site 1 {
					secure_bindings :%d:
					certificate D
					respond %s
				}
			}
		}`, certificates(t, "D"), host, port, body))
	}
	write("listen 127.0.0.1", "one")
	m.start(config)
	ask := func(proto string) (string, error) {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "a.test", Proto: proto})
		if err != nil {
			return "", err
		}
		return answer.Body, nil
	}
	for i, host := range []string{"", "listen 127.0.0.1", ""} {
		m.stop()
		body := fmt.Sprint("body", i)
		early := make(chan string, 2)
		for _, proto := range []string{"h1", "h3"} {
			go func() {
				body, err := ask(proto)
				early <- fmt.Sprint(body, err)
			}()
		}
		time.Sleep(300 * time.Millisecond) // the clients have begun
		write(host, body)
		m.start(config)
		for range 2 {
			if got := <-early; got != body+"<nil>" {
				t.Errorf("step %d: a client that came meanwhile got %s", i, got)
			}
		}
		for _, proto := range []string{"h1", "h2", "h3"} {
			if got, err := ask(proto); got != body {
				t.Errorf("step %d: %s: %q %v", i, proto, got, err)
			}
		}
	}
	m.stop()
	if t.Failed() {
		t.Log(m.log())
	}
}

// TestRestartGivesPortsToOrdinaryServers: ports that bindings had go to an ordinary
// server, and to the admin endpoint, over a restart; also if nothing else is left.
func TestRestartGivesPortsToOrdinaryServers(t *testing.T) {
	first, second, third := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	m := newManager(t)
	config := filepath.Join(m.dir, "Caddyfile")
	write := func(text string, args ...any) {
		replace(t, config, fmt.Appendf(nil, text, args...))
	}
	expect := func(port int, want string) {
		t.Helper()
		for range 20 {
			if got, err := bodyAt(at("127.0.0.1", port)); got != want {
				t.Fatalf("port %d: %q %v, want %s\n%s", port, got, err, want, m.log())
			}
		}
	}
	write("{\nadmin off\niis {\nsite 1 {\nserver_bindings :%d: :%d: :%d:\nrespond one\n}\n}\n}\n", first, second, third)
	m.start(config)
	expect(first, "one")
	m.stop()
	write("{\nadmin 127.0.0.1:%d\niis {\nsite 1 {\nserver_bindings :%d:\nrespond two\n}\n}\n}\nhttp://:%d {\nrespond ordinary\n}\n", third, first, second)
	m.start(config)
	expect(first, "two")
	expect(second, "ordinary")
	if resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/config/", third)); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the admin endpoint: %v %v", resp, err)
	}
	waitFor(t, "the socket to be given up", func() bool { return !strings.Contains(m.storedNames(), fmt.Sprint(third)) })
	m.stop()
	write("{\nadmin 127.0.0.1:%d\n}\nhttp://:%d {\nrespond alone\n}\n", third, first)
	m.start(config)
	expect(first, "alone")
	waitFor(t, "the socket to be given up", func() bool { return m.storedNames() == "" })
	m.stop()
}

// TestStartThatFailsKeepsSockets: a start that fails gives nothing up, so that the next
// one finds the clients who wait.
func TestStartThatFailsKeepsSockets(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t)
	good, bad := filepath.Join(m.dir, "good.json"), filepath.Join(m.dir, "bad.json")
	config := `{"admin": {"disabled": true}, "apps": {%s"iis": {"sites": {"1": {"server_bindings": [":%d:"], "routes": [{"handle": [{"handler": "static_response", "body": "one"}]}]}}}}}`
	replace(t, good, fmt.Appendf(nil, config, "", port))
	replace(t, bad, fmt.Appendf(nil, config, `"test_failing": {}, `, port))
	m.start(good)
	m.stop()
	client := waiting(at("127.0.0.1", port))
	for range 5 { // in which order apps start is left to chance
		m.launch(bad)
		if err := m.child.Wait(); err == nil {
			t.Fatalf("no error:\n%s", m.log())
		}
		m.child = nil
		if got, want := m.storedNames(), fmt.Sprintf("caddy-iis_tcp__%d", port); got != want {
			t.Fatalf("stored: %q, want %q\n%s", got, want, m.log())
		}
	}
	m.start(good)
	if got := <-client; got != "one" {
		t.Errorf("who waited got %s", got)
	}
	m.stop()
}

// TestManagerThatKeepsNothing: where nobody keeps sockets, as by a unit without a file
// descriptor store, who comes while requests in flight end is refused at once, so that
// a load balancer can go elsewhere.
func TestManagerThatKeepsNothing(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t)
	m.keepsNothing = true
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin off\niis {\nsite 1 {\nserver_bindings :%d:\nhandle /slow {\ntest_slow 3s\n}\nrespond one\n}\n}\n}\n", port))
	m.start(config)
	slow := make(chan error, 1)
	go func() {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: "a.test", Path: "/slow"})
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("%v", answer)
		}
		slow <- err
		close(slow)
	}()
	time.Sleep(200 * time.Millisecond) // the slow request is in flight
	if err := m.child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "connections to be refused", func() bool {
		conn, err := net.Dial("tcp", at("127.0.0.1", port))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-slow:
		t.Errorf("the request in flight had ended by then: %v", err)
	default:
	}
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if err := m.child.Wait(); err != nil {
		t.Error(err)
	}
	m.child = nil
}

// TestHandedOverSocketsInTheWay: what a socket unit has opened for IPv4 alone cannot
// serve all addresses, and nothing else can be bound beside it. The error says so.
func TestHandedOverSocketsInTheWay(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t, handedOver(t, "tcp4", port))
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin off\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", port))
	m.launch(config)
	if err := m.child.Wait(); err == nil {
		t.Error("no error")
	}
	m.child = nil
	want := fmt.Sprintf("fd/3 0.0.0.0:%d (it is for one of IPv4 and IPv6: in a socket unit, name the port alone)", port)
	if !strings.Contains(m.log(), want) {
		t.Errorf("no word of %s:\n%s", want, m.log())
	}
}

// TestSocketsAreNotForChildren: what was handed over, whatever it is, is closed in
// programs that Caddy starts.
func TestSocketsAreNotForChildren(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t, handedOver(t, "tcp", port))
	ln, err := net.Listen("unix", filepath.Join(m.dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	m.unit = append(m.unit, file)
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin off\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", port))
	m.start(config)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fdinfo", m.child.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", m.child.Process.Pid, entry.Name()))
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", m.child.Process.Pid, entry.Name()))
		var pos, flags int
		if _, err := fmt.Sscanf(string(raw), "pos: %d\nflags: %o", &pos, &flags); err != nil {
			continue // closed meanwhile
		}
		if strings.HasPrefix(link, "socket:") && flags&syscall.O_CLOEXEC == 0 {
			t.Errorf("fd %s, %s, would be handed to children", entry.Name(), link)
		}
	}
	m.stop()
}

// loadInto has a Caddy load a Caddyfile.
func loadInto(t *testing.T, admin int, caddyfile string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/load", admin), strings.NewReader(caddyfile))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}

// TestPortsAreGivenUpAtOnce: who has a port after bindings has all of its clients, also
// while the manager has not yet read that its socket is not needed any more.
func TestPortsAreGivenUpAtOnce(t *testing.T) {
	port, admin := ts.FreePort(t), ts.FreePort(t)
	m := newManager(t)
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin 127.0.0.1:%d\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", admin, port))
	m.start(config)
	waitFor(t, "the socket to be kept", func() bool { return m.storedNames() != "" })
	m.mu.Lock() // it is busy
	loadInto(t, admin, fmt.Sprintf("{\nadmin 127.0.0.1:%d\n}\nhttp://:%d {\nrespond ordinary\n}\n", admin, port))
	for i := range 30 {
		if got, err := bodyAt(at("127.0.0.1", port)); got != "ordinary" {
			t.Errorf("connection %d: %q %v", i, got, err)
			break
		}
	}
	m.mu.Unlock()
	waitFor(t, "the socket to be given up", func() bool { return m.storedNames() == "" })
	m.stop()
}

// TestManagerThatIsNotThere: that sockets are not kept is said once, however often
// configurations are loaded.
func TestManagerThatIsNotThere(t *testing.T) {
	port, admin := ts.FreePort(t), ts.FreePort(t)
	m := newManager(t)
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin 127.0.0.1:%d\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", admin, port))
	m.notify.Close() // and its file
	m.launch(config)
	waitFor(t, "the site", func() bool { _, err := bodyAt(at("127.0.0.1", port)); return err == nil })
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		loadInto(t, admin, string(raw))
	}
	if n := strings.Count(m.log(), "a socket is not kept for the next process"); n != 1 {
		t.Errorf("said %d times:\n%s", n, m.log())
	}
	m.stop()
}

// TestSocketOfAUnitIsNotUsedAnyMore: a load that takes the last binding of a socket unit
// away says that clients are not answered there; a later one can have the socket again.
func TestSocketOfAUnitIsNotUsedAnyMore(t *testing.T) {
	port, other, admin := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	m := newManager(t, handedOver(t, "tcp", port))
	site := func(port int) string {
		return fmt.Sprintf("{\nadmin 127.0.0.1:%d\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", admin, port)
	}
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, []byte(site(port)))
	m.start(config)
	exchange{name: "the socket of the unit", request: ts.Request{Addr: at("127.0.0.1", port), Plain: true}, body: "one"}.check(t)
	warning := fmt.Sprintf("fd/3 tcp :%d", port)
	if strings.Contains(m.log(), warning) {
		t.Error("a warning of a socket that is used")
	}
	loadInto(t, admin, site(other))
	waitFor(t, "a warning", func() bool { return strings.Contains(m.log(), warning) })
	client := waiting(at("127.0.0.1", port))
	loadInto(t, admin, site(port))
	if got := <-client; got != "one" {
		t.Errorf("who came meanwhile got %s", got)
	}
	m.stop()
}

// TestKilledWhileItEnds: a process that is killed while its last requests end leaves
// nothing on its sockets that keeps clients away from the next one.
func TestKilledWhileItEnds(t *testing.T) {
	port := ts.FreePort(t)
	m := newManager(t)
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, `{
		admin off
		skip_install_trust
		iis {
			%s
			site 1 {
				secure_bindings :%d:
				certificate D
				handle /slow {
					test_slow 1m
				}
				respond one
			}
		}
	}`, certificates(t, "D"), port))
	m.start(config)
	go func() {
		_, _ = ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "a.test", Path: "/slow"})
	}()
	time.Sleep(300 * time.Millisecond) // the slow request is in flight
	if err := m.child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end to begin", func() bool { return strings.Contains(m.log(), "byeee") })
	time.Sleep(500 * time.Millisecond) // new connections are held back
	if err := m.child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = m.child.Wait()
	m.start(config)
	for _, proto := range []string{"h3", "h2"} {
		if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), SNI: "a.test", Proto: proto}); err != nil || answer.Body != "one" {
			t.Errorf("%s: %v %v", proto, answer, err)
		}
	}
	m.stop()
}
