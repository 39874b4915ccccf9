package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/wholefile"
	"github.com/caddy-iis/caddy-iis/sites"
)

// SiteStore is what keeps sites: the running Caddy, or the file of a source while none
// runs.
type SiteStore interface {
	Export(ctx context.Context, source string, to io.Writer) error
	Backup(ctx context.Context, source string, to io.Writer) error
	ChangeSites(ctx context.Context, source string, changes []adminapi.Change) (adminapi.Written, error)
	Revisions(ctx context.Context, source, after string, limit int) (json.RawMessage, error)
	Revert(ctx context.Context, source string, revision uint64) (adminapi.Written, error)
}

// SitesFile is the file of the source bolt. It has one source, whose name does not matter.
type SitesFile struct {
	table sites.Table
	name  string
}

// fileTimeout is how long a command waits for another process that has a file open.
const fileTimeout = 5 * time.Second

// ReadSitesFile opens a file to look at it, also while Caddy has it open.
func ReadSitesFile(name string) (*SitesFile, error) {
	table, err := sites.ReadBolt(name)
	if err != nil {
		return nil, err
	}
	return &SitesFile{table, name}, nil
}

// OpenSitesFile opens a file to change it. Nobody else may have it open. One that is not
// there is made, if that is wanted, for the service also if root does it.
func OpenSitesFile(name string, create bool) (*SitesFile, error) {
	file, err := wholefile.Open(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		file, err = wholefile.Create(name)
	}
	if err != nil {
		return nil, err
	}
	table, err := sites.OpenBoltFile(file, fileTimeout)
	if errors.Is(err, sites.ErrInUse) {
		return nil, fmt.Errorf("%w: stop Caddy, or leave --file out to ask the one that runs", err)
	}
	if err != nil {
		return nil, err
	}
	return &SitesFile{table, name}, nil
}

// Close closes the file.
func (f *SitesFile) Close() error { return f.table.Close() }

// Export implements SiteStore.
func (f *SitesFile) Export(_ context.Context, _ string, to io.Writer) error {
	buffered := bufio.NewWriter(to)
	err := f.table.Rows(func(row sites.Row) error {
		_, err := buffered.Write(row.Line())
		return err
	})
	return errors.Join(err, buffered.Flush())
}

// Backup implements SiteStore. Who can read the file has the private keys that are in it.
func (f *SitesFile) Backup(_ context.Context, _ string, to io.Writer) error {
	backup, err := f.table.(sites.Backed).Backup(true)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, backup)
	return errors.Join(err, backup.Close())
}

// ChangeSites implements SiteStore. Documents are brought into form, and that is all:
// what they say is judged when Caddy starts.
func (f *SitesFile) ChangeSites(_ context.Context, _ string, changes []adminapi.Change) (adminapi.Written, error) {
	todo := sites.Transaction{By: offline()}
	var written adminapi.Written
	seen := make(map[uint32]bool, len(changes))
	for _, c := range changes {
		if seen[c.ID] {
			return written, fmt.Errorf("site %d is there twice in one transaction", c.ID)
		}
		seen[c.ID] = true
		document, err := jsondoc.Canonical(c.Site)
		if err != nil {
			return written, fmt.Errorf("site %d: %w", c.ID, err)
		}
		row, there, err := f.table.Row(c.ID)
		if err != nil {
			return written, err
		}
		if !there || !bytes.Equal(row.Document, document) {
			todo.Changes = append(todo.Changes, sites.Change{ID: c.ID, Document: document})
			written.Changed = append(written.Changed, c.ID)
		}
	}
	return written, f.write(todo)
}

func (f *SitesFile) write(todo sites.Transaction) error {
	if len(todo.Changes) == 0 {
		return nil
	}
	if _, err := f.table.Write(todo); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return nil
}

// Revisions implements SiteStore. Of certificates it tells that they have changed.
func (f *SitesFile) Revisions(_ context.Context, _, _ string, limit int) (json.RawMessage, error) {
	list, err := f.table.Log(0, limit)
	if err != nil {
		return nil, err
	}
	for _, rev := range list {
		for i := range rev.Changes {
			c := &rev.Changes[i]
			for _, document := range []*json.RawMessage{&c.Before, &c.After} {
				if c.Certificate != "" && *document != nil {
					*document = json.RawMessage("{}") // it may have a private key
				}
			}
		}
	}
	return json.Marshal(adminapi.Page[sites.Revision]{Items: list, Total: len(list)})
}

// Revert implements SiteStore.
func (f *SitesFile) Revert(_ context.Context, _ string, revision uint64) (adminapi.Written, error) {
	var written adminapi.Written
	list, err := f.table.Log(revision+1, 1)
	if err != nil {
		return written, err
	}
	if len(list) == 0 || list[0].Revision != revision {
		return written, fmt.Errorf("%s has no revision %d in its log", f.name, revision)
	}
	todo := sites.Transaction{By: offline()}
	for _, c := range list[0].Changes {
		if c.Certificate != "" {
			return written, fmt.Errorf("revision %d is about certificate %s, which is encrypted anew when it is taken back: start Caddy, and leave --file out", revision, c.Certificate)
		}
		row, there, err := f.table.Row(c.ID)
		if err != nil {
			return written, err
		}
		if there && !bytes.Equal(row.Document, c.Before) || !there && c.Before != nil {
			todo.Changes = append(todo.Changes, sites.Change{ID: c.ID, Document: c.Before})
			written.Changed = append(written.Changed, c.ID)
		}
	}
	return written, f.write(todo)
}

// offline is who writes without Caddy, in the log.
func offline() string {
	if account, err := user.Current(); err == nil {
		return "offline/" + account.Username
	}
	return "offline"
}

// Interface guards
var (
	_ SiteStore = (*SitesFile)(nil)
	_ SiteStore = (*adminapi.Client)(nil)
)
