//go:build unix

// Package testpg runs a real PostgreSQL in a test: a cluster of its own in a scratch
// folder, on a port that the process has not had before (a Caddy keeps a copy of the
// sites by address), unprivileged, which ends with the test.
package testpg

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// Server is a PostgreSQL.
type Server struct {
	t      testing.TB
	bin    string // folder of the programs
	data   string
	port   int
	cmd    *exec.Cmd
	exited chan struct{}
}

// nobody is who runs the server where the test is root, as which it refuses to run.
const nobody = 65534

// Start makes a cluster and runs a server.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: needs.Postgres(t), port: testserver.FreePort(t)}
	folder, err := os.MkdirTemp("", "pg-") //nolint:usetesting // short, and readable for nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	s.data = filepath.Join(folder, "data")
	Give(t, folder)
	if out, err := s.command("initdb", "-D", s.data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// Give gives a folder to who runs servers.
func Give(t testing.TB, folder string) {
	t.Helper()
	if os.Getuid() == 0 {
		if err := os.Chown(folder, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = filepath.Dir(s.data)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// Run starts the server, which is not running, and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.data, "postmaster.pid"))
	s.cmd = s.command("postgres", "-D", s.data, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "shared_buffers=64MB", "-c", "max_connections=100")
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.data), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, fs.FileMode(0o600))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(exited)
	}(s.cmd)
	for deadline := time.Now().Add(60 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := pgx.Connect(ctx, s.Connection("admin", "postgres"))
		if err == nil {
			_ = conn.Close(ctx)
			cancel()
			return
		}
		cancel()
		select {
		case <-exited:
			text, _ := os.ReadFile(log.Name())
			s.t.Fatalf("the server has ended:\n%s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// Kill ends the server and all that it has started, as a loss of power would.
func (s *Server) Kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.exited
	// Backends are groups of their own.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !s.killChildren() {
			return
		}
	}
}

// killChildren kills what has its working folder in the cluster, and reports whether
// there was anything.
func (s *Server) killChildren() (found bool) {
	folders, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range folders {
		if target, err := os.Readlink(link); err != nil || target != s.data {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			found = true
		}
	}
	return found
}

// Connection is the connection string of a role and a database.
func (s *Server) Connection(role, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", role, s.port, database)
}

// Port is the port of the server.
func (s *Server) Port() int { return s.port }

// Database makes a database, and returns its connection string for the one who may do
// everything.
func (s *Server) Database(name string) string {
	s.t.Helper()
	s.Exec(s.Connection("admin", "postgres"), fmt.Sprintf("create database %q", name))
	return s.Connection("admin", name)
}

// Exec runs statements.
func (s *Server) Exec(connection, statements string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, connection)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statements); err != nil {
		s.t.Fatalf("%s: %v", statements, err)
	}
}
