// Command baseline is a bare server of crypto/tls and net/http that looks the
// certificate up by server name and the answer by Host, one map each: the
// practical limit for a server in Go.
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("baseline: ")
	addr := flag.String("addr", "127.0.0.1:9443", "address to listen on")
	hosts := flag.String("hosts", "hosts.tsv", "file with the sites")
	flag.Parse()
	if err := serve(*addr, *hosts); err != nil {
		log.Fatal(err)
	}
}

func serve(addr, hosts string) error {
	f, err := os.Open(hosts)
	if err != nil {
		return err
	}
	defer f.Close()
	set, err := sites.ReadHosts(f)
	if err != nil {
		return err
	}
	look, err := newLookups(set)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: look} //nolint:gosec // bare, without timeouts
	return server.Serve(tls.NewListener(listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: look.certificate,
	}))
}
