//go:build linux

package caddyiis_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var (
	handoverRestarts    = flag.Int("handover.restarts", 4, "how often TestRestartRefusesNobody restarts Caddy")
	handoverSites       = flag.Int("handover.sites", 300, "with how many sites")
	handoverConnections = flag.Int64("handover.connections", 0, "for at least how many connections it goes on")
)

// manager does what systemd does for a service: it hands over the sockets of a socket
// unit, and those that the service has stored.
type manager struct {
	t      *testing.T
	dir    string
	notify *net.UnixConn
	unit   []*os.File

	keepsNothing bool // it has no file descriptor store

	mu     sync.Mutex
	names  []string // of stored sockets
	stored []*os.File
	ready  chan struct{}
	child  *exec.Cmd
}

func newManager(t *testing.T, unit ...*os.File) *manager {
	m := &manager{t: t, dir: t.TempDir(), unit: unit}
	var err error
	m.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(m.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	go m.listen()
	t.Cleanup(func() {
		m.notify.Close()
		if m.child != nil {
			_ = m.child.Process.Kill()
			_ = m.child.Wait()
		}
		for _, f := range append(m.unit, m.stored...) {
			f.Close()
		}
	})
	return m
}

// listen takes the messages of the service.
func (m *manager) listen() {
	message, rights := make([]byte, 4096), make([]byte, 256)
	for {
		n, on, _, _, err := m.notify.ReadMsgUnix(message, rights)
		if err != nil {
			return
		}
		fields := make(map[string]string)
		for line := range strings.Lines(string(message[:n])) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			fields[key] = value
		}
		m.mu.Lock()
		switch {
		case fields["FDSTORE"] == "1":
			controls, _ := unix.ParseSocketControlMessage(rights[:on])
			for i := range controls {
				fds, _ := unix.ParseUnixRights(&controls[i])
				for _, fd := range fds {
					if m.keepsNothing {
						unix.Close(fd)
						continue
					}
					m.names = append(m.names, fields["FDNAME"])
					m.stored = append(m.stored, os.NewFile(uintptr(fd), fields["FDNAME"]))
				}
			}
		case fields["FDSTOREREMOVE"] == "1":
			for i, name := range m.names {
				if name == fields["FDNAME"] {
					m.stored[i].Close()
					m.names = append(m.names[:i:i], m.names[i+1:]...)
					m.stored = append(m.stored[:i:i], m.stored[i+1:]...)
					break
				}
			}
		case fields["READY"] == "1" && m.ready != nil:
			close(m.ready)
			m.ready = nil
		}
		m.mu.Unlock()
	}
}

func (m *manager) storedNames() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.names, " ")
}

// launch starts Caddy with the sockets that are there for it, and returns what is
// closed when it is ready.
func (m *manager) launch(config string) <-chan struct{} {
	m.t.Helper()
	program, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	words := []string{"run", "--config", config}
	if filepath.Ext(config) != ".json" {
		words = append(words, "--adapter", "caddyfile")
	}
	args, err := json.Marshal(words)
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock() // until Caddy has its sockets: a message of the one before may end them
	defer m.mu.Unlock()
	files := append(append([]*os.File(nil), m.unit...), m.stored...)
	names := make([]string, 0, len(files))
	for range m.unit {
		names = append(names, "caddy.socket")
	}
	names = append(names, m.names...)
	m.ready = make(chan struct{})

	cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$; exec "$0"`, program)
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), caddyMain+"="+string(args), "HOME="+m.dir, "XDG_CONFIG_HOME="+m.dir, "XDG_DATA_HOME="+m.dir,
		"NOTIFY_SOCKET="+filepath.Join(m.dir, "notify"), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.child = cmd
	return m.ready
}

// start starts Caddy and waits until it is ready.
func (m *manager) start(config string) {
	m.t.Helper()
	select {
	case <-m.launch(config):
	case <-time.After(time.Minute):
		m.t.Fatalf("Caddy is not ready:\n%s", m.log())
	}
}

// stop ends Caddy as systemd does, and waits for it.
func (m *manager) stop() {
	m.t.Helper()
	if err := m.child.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	if err := m.child.Wait(); err != nil {
		m.t.Fatalf("Caddy ended with %v:\n%s", err, m.log())
	}
	m.child = nil
}

func (m *manager) log() string {
	raw, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return string(raw)
}

// handedOver are a listening TCP socket and a UDP socket for all addresses of a port.
func handedOver(t *testing.T, network string, port int) *os.File {
	t.Helper()
	var socket interface{ File() (*os.File, error) }
	if strings.HasPrefix(network, "udp") {
		conn, err := net.ListenPacket(network, fmt.Sprintf(":%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		socket = conn.(*net.UDPConn)
	} else {
		ln, err := net.Listen(network, fmt.Sprintf(":%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		socket = ln.(*net.TCPListener)
	}
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRestartRefusesNobody: with sockets that outlive the process, those of the socket
// unit and those of later bindings, a restart refuses no connection over TCP or QUIC,
// and requests in flight finish.
func TestRestartRefusesNobody(t *testing.T) {
	unitPort, laterPort, adminPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	m := newManager(t, handedOver(t, "tcp", unitPort), handedOver(t, "udp", unitPort))
	var sites strings.Builder
	for id := 3; id < *handoverSites+3; id++ {
		fmt.Fprintf(&sites, "site %d {\nserver_bindings :%d:%d.test\n}\n", id, laterPort, id)
	}
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, `{
		admin 127.0.0.1:%[4]d
		skip_install_trust
		iis {
			%[1]s
			site 1 {
				secure_bindings :%[2]d:
				certificate D
				respond /slow slow
				respond one
			}
			site 2 {
				server_bindings :%[3]d:two.test
				handle /slow {
					test_slow 1s
				}
				respond two
			}
			%[5]s
		}
	}`, certificates(t, "D"), unitPort, laterPort, adminPort, sites.String()))
	m.start(config)

	var asked, refused atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	ask := func(r ts.Request, body string) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			answer, err := ts.Do(r)
			asked.Add(1)
			if err != nil || answer.Status != http.StatusOK || answer.Body != body {
				refused.Add(1)
				t.Errorf("after %d connections: %v %v", asked.Load(), answer, err)
				return
			}
		}
	}
	for range 3 {
		clients.Go(func() { ask(ts.Request{Addr: at("127.0.0.1", laterPort), Plain: true, Host: "two.test"}, "two") })
		clients.Go(func() { ask(ts.Request{Addr: at("127.0.0.1", unitPort), SNI: "one.test"}, "one") })
	}
	clients.Go(func() {
		ask(ts.Request{Addr: at("127.0.0.1", unitPort), SNI: "one.test", Proto: "h3", Patient: true}, "one")
	})
	for i := 0; (i < *handoverRestarts || asked.Load() < *handoverConnections) && refused.Load() == 0; i++ {
		slow := make(chan error, 1)
		go func() {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", laterPort), Plain: true, Host: "two.test", Path: "/slow"})
			if err == nil && answer.Status != http.StatusOK {
				err = fmt.Errorf("%v", answer)
			}
			slow <- err
		}()
		time.Sleep(200 * time.Millisecond) // the slow request is in flight
		m.stop()
		m.start(config)
		if err := <-slow; err != nil {
			t.Errorf("a request in flight at restart %d: %v", i, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d connections over %d restarts with %d sites, %d refused", asked.Load(), *handoverRestarts, *handoverSites, refused.Load())

	// A socket that nobody needs any more is given up, so that others can have its port.
	want := fmt.Sprintf("caddy-iis_tcp__%d", laterPort)
	if got := m.storedNames(); got != want {
		t.Errorf("stored: %q, want %q", got, want)
	}
	raw, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	m.stop()
	replace(t, config, []byte(strings.ReplaceAll(string(raw), fmt.Sprint(laterPort), fmt.Sprint(ts.FreePort(t)))))
	m.start(config)
	waitFor(t, "the socket to be given up", func() bool { return !strings.Contains(m.storedNames(), want) })
	waitFor(t, "the port to be free", func() bool {
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", laterPort))
		if err == nil {
			ln.Close()
		}
		return err == nil
	})
	if log := m.log(); strings.Contains(log, "handed over to this process are for no binding") {
		t.Error("a warning about sockets that are all used")
	}
	m.stop()
}

// TestHandedOverSocketsThatDoNotFit: a socket for IPv4 alone is not one for all
// addresses, and one for no binding is said.
func TestHandedOverSocketsThatDoNotFit(t *testing.T) {
	ipv4Port, otherPort, port := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	m := newManager(t, handedOver(t, "tcp4", ipv4Port), handedOver(t, "tcp", otherPort))
	config := filepath.Join(m.dir, "Caddyfile")
	replace(t, config, fmt.Appendf(nil, "{\nadmin off\niis {\nsite 1 {\nserver_bindings :%d:\nrespond one\n}\n}\n}\n", port))
	m.start(config)
	for _, want := range []string{
		fmt.Sprintf("fd/3 0.0.0.0:%d (it is for one of IPv4 and IPv6: in a socket unit, name the port alone)", ipv4Port),
		fmt.Sprintf("fd/4 tcp :%d", otherPort),
	} {
		waitFor(t, want, func() bool { return strings.Contains(m.log(), want) })
	}
	exchange{name: "the binding", request: ts.Request{Addr: at("127.0.0.1", port), Plain: true}, body: "one"}.check(t)
	m.stop()
}
