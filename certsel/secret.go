package certsel

import (
	"context"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// secret is a password as the configuration has it. What stands behind its
// placeholders is asked for each time when a file is opened: a password file is
// rotated together with the file that it opens, in whatever order.
type secret struct {
	raw   string
	files []string // that its placeholders name
}

func newSecret(raw string) secret {
	s := secret{raw: raw}
	for _, match := range secretFile.FindAllStringSubmatch(raw, -1) {
		if !slices.Contains(s.files, match[1]) {
			s.files = append(s.files, match[1])
		}
	}
	return s
}

// resolve returns the password. It reads files on the workers of the reader, so
// that a dead file system holds nobody up beyond the context.
func (s secret) resolve(ctx context.Context, reader *files.Reader) (string, error) {
	if len(s.files) == 0 {
		return resolvePassword(caddy.NewReplacer(), s.raw)
	}
	password, err := files.Do(ctx, reader.Workers(), files.Place(s.files[0]), func() (string, error) {
		return resolvePassword(caddy.NewReplacer(), s.raw)
	})
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return password, nil
}
