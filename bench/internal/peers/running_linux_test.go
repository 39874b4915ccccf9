package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// serverFlag makes a process of this test a server: of the sites in a file,
// which it reads again when it gets a signal.
const serverFlag = "-peers-test-server"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == serverFlag {
		log.Fatal(serve(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func serve(addr, hosts string) error {
	var current atomic.Pointer[sites.Set]
	read := func() {
		f, err := os.Open(hosts)
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		set, err := sites.ReadHosts(f)
		if err != nil {
			log.Fatal(err)
		}
		current.Store(set)
	}
	read()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			read()
		}
	}()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		for _, site := range current.Load().Sites {
			if site.Host == r.Host {
				fmt.Fprint(w, site.Body())
			}
		}
	}
	return http.Serve(tls.NewListener(listener, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := current.Load().Default.Cert
		pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
		return &pair, err
	}}), http.HandlerFunc(answer))
}

// testPeer is that server as a peer.
func testPeer(args ...string) Peer {
	return Peer{Name: "test", configure: func(_ Programs, set *sites.Set, place sites.Place) (launch, error) {
		file := filepath.Join(place.Dir, "served.tsv")
		write := func(set *sites.Set) error { return WriteFile(file, set.WriteHosts) }
		if len(args) == 0 {
			args = []string{os.Args[0], serverFlag, place.Addr(), file}
		}
		return launch{args: args, change: rewrite(set, write, "HUP")}, write(set)
	}}
}

func generate(t *testing.T) *sites.Set {
	t.Helper()
	set, err := sites.Generate(t.TempDir(), sites.One, 3)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestStartAndChange(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	running, took, err := Start(ctx, testPeer(), Programs{}, generate(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if took <= 0 {
		t.Errorf("the start took %s", took)
	}
	if took, err = running.Change(ctx, "changed"); err != nil || took <= 0 {
		t.Errorf("the change took %s (%v)", took, err)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(running.Place.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is still there: %v", err)
	}
}

func TestServersThatDoNotStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _, err := Start(ctx, testPeer("sh", "-c", "echo no such option; exit 1"), Programs{}, generate(t), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "no such option") || ctx.Err() != nil {
		t.Errorf("error %v", err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelShort()
	_, _, err = Start(short, testPeer("sleep", "60"), Programs{}, generate(t), t.TempDir())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestConfigurations(t *testing.T) {
	set := generate(t)
	for _, peer := range All() {
		place := sites.Place{Port: 9443, Admin: 9019, Dir: t.TempDir()}
		launch, err := peer.configure(Programs{"caddy", "baseline", "nginx", "haproxy"}, set, place)
		if err != nil {
			t.Fatal(err)
		}
		if launch.change == nil != (peer.Name == Baseline) {
			t.Errorf("%s can change: %t", peer.Name, launch.change != nil)
		}
		for _, arg := range launch.args {
			if strings.HasPrefix(arg, place.Dir+"/") && !strings.HasSuffix(arg, ".log") {
				checkWritten(t, peer, arg)
			}
		}
	}
}

func checkWritten(t *testing.T, peer Peer, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Errorf("%s: %v", peer.Name, err)
		return
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || !strings.Contains(string(text), ":9443") && peer.Name != Baseline {
		t.Errorf("%s: %s (%v)", peer.Name, text, err)
	}
}

func TestChoose(t *testing.T) {
	if chosen, err := Choose([]string{HAProxy, IISSNI}); err != nil || len(chosen) != 2 || chosen[1].Name != IISSNI {
		t.Errorf("%v (%v)", chosen, err)
	}
	for _, name := range []string{"", "apache"} {
		if _, err := Choose([]string{name}); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	programs := Programs{Nginx: "nginx"}
	for name, want := range map[string]bool{Nginx: true, HAProxy: false, IIS: true} {
		if got := programs.Has(Peer{Name: name}); got != want {
			t.Errorf("%s is there: %t", name, got)
		}
	}
}
