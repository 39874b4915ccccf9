//go:build unix

package testpg

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
)

// Synchronous has each commit wait for the standby with this name, be there one or not. It
// starts the server again.
func (s *Server) Synchronous(standby string) {
	s.t.Helper()
	s.Exec(s.Connection("admin", "postgres"), fmt.Sprintf("alter system set synchronous_standby_names = '%s'", standby))
	s.Kill()
	s.Run()
}

// Standby runs something that keeps the log of the server, as a standby does. It ends with
// the test, or when the function is called that is returned.
func (s *Server) Standby(name string) (stop func()) {
	s.t.Helper()
	folder := filepath.Dir(s.data)
	cmd := s.command("pg_receivewal", "--synchronous", "-D", folder, "-d",
		fmt.Sprintf("host=127.0.0.1 port=%d user=admin application_name=%s", s.port, name))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { s.end(cmd, &said) })
	s.t.Cleanup(stop)
	return stop
}

// end ends a program. What it has said is told if the test has failed.
func (s *Server) end(cmd *exec.Cmd, said *bytes.Buffer) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if s.t.Failed() {
		s.t.Logf("%s: %s", cmd.Path, said)
	}
}
