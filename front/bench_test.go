package front

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// BenchmarkRequest compares a request on a kept connection with plain net/http.
func BenchmarkRequest(b *testing.B) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	b.Run("net_http", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{Handler: answer}
		go srv.Serve(ln)
		defer srv.Close()
		benchmarkRequest(b, ln.Addr().String())
	})
	b.Run("front", func(b *testing.B) {
		m, port := newManager(b), freePort(b)
		s := newState("", plain(netip.Addr{}, port))
		s.Handler = answer
		install(b, m, s)
		benchmarkRequest(b, netip.AddrPortFrom(loopback, port).String())
	})
}

func benchmarkRequest(b *testing.B, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	request := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := r.Discard(len("hello")); err != nil {
			b.Fatal(err)
		}
	}
}
